"""Fitting the numbers of ``ranking.toml`` on a labelled file, and measuring them by cross-validation: `mianpu eval FILE --fit`."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold

from assistant.measures.evaluation import RankedQuestion, auroc, expected_calibration_error, recall, reordered
from assistant.measures.labels import SpanFinder
from assistant.retrieval.ranking import FEATURES, shipped_ranking
from ingest.errors import UsageError

FOLDS = 10
_PENALTY, _PENALTY_ENGLISH = 0.01, 0.03  # on the squared weights, and on how far the English ones lie from them
_LOST = 0.025  # share of the answerable that the threshold may lose
Floats = npt.NDArray[np.float64]
_Group = tuple[Floats, npt.NDArray[np.bool_]]  # features (candidates, features), whether each answers (candidates,)


def fit_ranking(rows: Sequence[RankedQuestion], finder: SpanFinder) -> dict[str, object]:
    """The weights of the features: least mean -log of the softmax share of the passages that answer, no weight below zero (listwise
    softmax, Cao et al. 2007); for English questions drawn towards those of all. What they reach elsewhere is measured on folds of
    questions they did not see. Raises UsageError with too few questions."""
    kept = [(row, group) for row in rows if (group := _group(row, finder)) is not None]
    if len(kept) < FOLDS:
        raise UsageError(f"fitting the ranking needs at least {FOLDS} questions with an answer among the candidates")
    unseen: list[tuple[float, float]] = []
    for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(kept):
        both = _fit_both([kept[i] for i in train])
        for i in test:
            row = kept[i][0]
            passages = reordered(row, both[_english(row)])
            unseen.append((recall(row.question, passages[:1], finder), recall(row.question, passages[:5], finder)))
    share = len(kept) / max(1, sum(row.question.answerable for row in rows))
    chinese, english = _fit_both(kept)
    return {
        "cross_validated": {
            "recall@1": round(share * mean(a for a, _ in unseen), 4),
            "recall@5": round(share * mean(b for _, b in unseen), 4),
        },
        "weights": chinese,
        "weights_english": english,
    }


def _fit_both(kept: Sequence[tuple[RankedQuestion, _Group]]) -> tuple[dict[str, float], dict[str, float]]:
    """The weights for all questions, and those for English ones."""
    zero = np.zeros(len(FEATURES))
    general = _fit([group for _, group in kept], zero, _PENALTY)
    english = [group for row, group in kept if _english(row)]
    special = _fit(english, general, _PENALTY_ENGLISH) if english else general
    return _named(general), _named(special)


def _named(weights: Floats) -> dict[str, float]:
    return {name: round(float(weight), 3) for name, weight in zip(FEATURES, weights, strict=True)}


def _english(row: RankedQuestion) -> bool:
    return row.found is not None and row.found.candidates.query.english


def _group(row: RankedQuestion, finder: SpanFinder) -> _Group | None:
    if not row.question.answerable or row.found is None:
        return None
    golds = (*row.question.gold, *row.question.also_ok)
    answers = np.array([any(finder.hits(p, g) for g in golds) for p in row.found.candidates.passages])
    if not answers.any():
        return None
    return np.stack([row.found.features[name] for name in FEATURES], axis=1).astype(np.float64), answers


def _fit(groups: Sequence[_Group], towards: Floats, penalty: float) -> Floats:
    def loss(weights: Floats) -> tuple[float, Floats]:
        value, slope, away = 0.0, np.zeros(len(weights)), weights - towards
        for features, answers in groups:
            sums = features @ weights
            odds = np.exp(sums - sums.max())
            share, right = odds / odds.sum(), odds * answers
            value -= float(np.log(right.sum() / odds.sum()))
            slope -= features.T @ (right / right.sum() - share)
        return value / len(groups) + penalty / 2 * float(away @ away), slope / len(groups) + penalty * away

    found = minimize(loss, towards, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(FEATURES))
    weights: Floats = found.x
    return weights


def fit_answerable(rows: Sequence[RankedQuestion]) -> dict[str, object]:
    """Logistic regressions over the features (L2, C = 1): one for the questions that name a concept, one for the others. What they
    would reach elsewhere is measured on folds they did not see, at the threshold chosen on the others: the highest that loses at
    most 2.5 % of the answerable.

    Returns the numbers for ``ranking.toml`` and the cross-validated measures. Raises UsageError with too few questions of a kind.
    """
    kept = [row for row in rows if row.features]
    labels = np.array([row.question.answerable for row in kept])
    named = np.array([bool(row.features["names_concepts"]) for row in kept])
    if min(int(labels.sum()), int((~labels).sum())) < FOLDS:
        raise UsageError(f"fitting needs at least {FOLDS} answerable and {FOLDS} unanswerable questions")
    names = sorted(set(kept[0].features) - {"names_concepts"})
    values = np.array([[row.features[name] for name in names] for row in kept])
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(values, labels))
    chances = np.zeros(len(kept))
    for train, test in folds:
        chances[test] = _chances(_models(values[train], labels[train], named[train]), values[test], named[test])
    lost, refused = [], []
    for train, test in folds:
        threshold = float(np.quantile(chances[train][labels[train]], _LOST))
        lost += (chances[test][labels[test]] < threshold).tolist()
        refused += (chances[test][~labels[test]] < threshold).tolist()
    models = _models(values, labels, named)
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
        "threshold": round(float(np.quantile(chances[labels], _LOST)), 3),
        **{
            kind: {
                "intercept": round(float(models[flag].intercept_[0]), 3),
                **{name: round(float(weight), 3) for name, weight in zip(names, models[flag].coef_[0], strict=True)},
            }
            for kind, flag in (("named", True), ("unnamed", False))
            if flag in models
        },
    }


def _models(values: Floats, labels: npt.NDArray[np.bool_], named: npt.NDArray[np.bool_]) -> dict[bool, Any]:
    """A model for each kind of question; one for both where a kind has not questions of both labels."""
    models = {}
    for flag in (True, False):
        mine = named == flag
        mine = mine if len(set(labels[mine])) == 2 else np.ones(len(labels), dtype=bool)
        models[flag] = LogisticRegression(C=1.0, max_iter=9000).fit(values[mine], labels[mine])
    return models


def _chances(models: Mapping[bool, Any], values: Floats, named: npt.NDArray[np.bool_]) -> Floats:
    both = {flag: model.predict_proba(values)[:, 1] for flag, model in models.items()}
    chances: Floats = np.where(named, both[True], both[False])
    return chances
