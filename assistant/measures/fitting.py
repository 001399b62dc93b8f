"""Fitting the numbers of ``ranking.toml`` on a labelled file, and measuring them by cross-validation: `mianpu eval FILE --fit`."""

from collections.abc import Sequence
from statistics import mean

import numpy as np
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict

from assistant.measures.evaluation import RankedQuestion, auroc, expected_calibration_error, recall, reordered
from assistant.measures.labels import SpanFinder
from assistant.retrieval.ranking import FEATURES, shipped_ranking
from ingest.errors import UsageError

FOLDS = 10
_PENALTY = 0.01  # on the squared weights of the ranking
_Group = tuple[np.ndarray, np.ndarray]  # features (candidates, features), whether each answers (candidates,)


def fit_ranking(rows: Sequence[RankedQuestion], finder: SpanFinder) -> dict[str, object]:
    """The weights of the features: least mean -log of the softmax share of the passages that answer, no weight below zero (listwise
    softmax, Cao et al. 2007); what they reach elsewhere is measured on folds of questions they did not see."""
    kept = [(row, group) for row in rows if (group := _group(row, finder)) is not None]
    if len(kept) < FOLDS:
        raise UsageError(f"fitting the ranking needs at least {FOLDS} questions with an answer among the candidates")
    unseen: list[tuple[float, float]] = []
    for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(kept):
        weights = dict(zip(FEATURES, _fit([kept[i][1] for i in train]), strict=True))
        for i in test:
            row = kept[i][0]
            passages = reordered(row, weights)
            unseen.append((recall(row.question, passages[:1], finder), recall(row.question, passages[:5], finder)))
    share = len(kept) / max(1, sum(row.question.answerable for row in rows))
    return {
        "cross_validated": {
            "recall@1": round(share * mean(a for a, _ in unseen), 4),
            "recall@5": round(share * mean(b for _, b in unseen), 4),
        },
        "weights": {name: round(float(w), 3) for name, w in zip(FEATURES, _fit([group for _, group in kept]), strict=True)},
    }


def _group(row: RankedQuestion, finder: SpanFinder) -> _Group | None:
    if not row.question.answerable or row.found is None:
        return None
    golds = (*row.question.gold, *row.question.also_ok)
    answers = np.array([any(finder.hits(p, g) for g in golds) for p in row.found.candidates.passages])
    if not answers.any():
        return None
    return np.stack([row.found.features[name] for name in FEATURES], axis=1).astype(np.float64), answers


def _fit(groups: Sequence[_Group]) -> np.ndarray:
    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = 0.0, np.zeros(len(weights))
        for features, answers in groups:
            odds = np.exp((s := features @ weights) - s.max())
            share, right = odds / odds.sum(), odds * answers
            value -= float(np.log(right.sum() / odds.sum()))
            slope -= features.T @ (right / right.sum() - share)
        return (
            value / len(groups) + _PENALTY / 2 * float(weights @ weights),
            slope / len(groups) + _PENALTY * weights,
        )

    start = np.full(len(FEATURES), 0.1)
    weights: np.ndarray = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(FEATURES)).x
    return weights


def fit_answerable(rows: Sequence[RankedQuestion]) -> dict[str, object]:
    """Logistic regression over the features (L2, C = 1), both kinds of question weighing the same. What it would reach elsewhere is
    measured on folds it did not see, at the threshold chosen on the others: the highest that loses at most 2.5 % of the answerable.

    Returns the numbers for ``ranking.toml`` and the cross-validated measures. Raises UsageError with too few questions of a kind.
    """
    kept = [row for row in rows if row.features]
    labels = np.array([row.question.answerable for row in kept])
    if min(int(labels.sum()), int((~labels).sum())) < FOLDS:
        raise UsageError(f"fitting needs at least {FOLDS} answerable and {FOLDS} unanswerable questions")
    names = sorted(kept[0].features)
    values = np.array([[row.features[name] for name in names] for row in kept])
    model = LogisticRegression(C=1.0, max_iter=5000)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    chances = cross_val_predict(model, values, labels, cv=folds, method="predict_proba")[:, 1]
    lost, refused = [], []
    for train, test in folds.split(values, labels):
        threshold = _threshold(chances[train][labels[train]])
        lost += (chances[test][labels[test]] < threshold).tolist()
        refused += (chances[test][~labels[test]] < threshold).tolist()
    model.fit(values, labels)
    shipped = shipped_ranking().threshold
    return {
        "cross_validated": {
            "auroc": round(auroc(chances[labels].tolist(), chances[~labels].tolist()), 4),
            "ece": round(expected_calibration_error([(float(c), bool(y)) for c, y in zip(chances, labels, strict=True)]), 4),
            "lost_answerable": round(float(mean(lost)), 4),
            "refused_unanswerable": round(float(mean(refused)), 4),
            "lost_at_shipped_threshold": round(float((chances[labels] < shipped).mean()), 4),
            "refused_at_shipped_threshold": round(float((chances[~labels] < shipped).mean()), 4),
        },
        "threshold": round(_threshold(chances[labels]), 3),
        "intercept": round(float(model.intercept_[0]), 3),
        "features": {name: round(float(weight), 3) for name, weight in zip(names, model.coef_[0], strict=True)},
    }


def _threshold(chances: np.ndarray) -> float:
    return float(np.quantile(chances, 0.025))
