"""Fitting the answerability model on a labelled file, and measuring it by cross-validation: `mianpu eval FILE --fit`."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from assistant.measures.evaluation import RankedQuestion, auroc, expected_calibration_error
from assistant.retrieval.search import shipped_ranking
from ingest.errors import UsageError

FOLDS = 10


def fit_answerable(rows: Sequence[RankedQuestion]) -> dict[str, object]:
    """Logistic regression over the features (L2, C = 1). What it would reach elsewhere is measured on folds it did not see.

    Returns the numbers for ``ranking.toml`` and the cross-validated measures. Raises UsageError with too few questions of a kind.
    """
    kept = [row for row in rows if row.features]
    labels = np.array([row.question.answerable for row in kept])
    if min(int(labels.sum()), int((~labels).sum())) < FOLDS:
        raise UsageError(f"fitting needs at least {FOLDS} answerable and {FOLDS} unanswerable questions")
    names = sorted(kept[0].features)
    values = np.array([[row.features[name] for name in names] for row in kept])
    model = LogisticRegression(C=1.0, max_iter=2000)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    chances = cross_val_predict(model, values, labels, cv=folds, method="predict_proba")[:, 1]
    model.fit(values, labels)
    threshold = shipped_ranking().threshold
    return {
        "cross_validated": {
            "auroc": round(auroc(chances[labels].tolist(), chances[~labels].tolist()), 4),
            "ece": round(expected_calibration_error([(float(c), bool(y)) for c, y in zip(chances, labels, strict=True)]), 4),
            "lost_answerable": round(float((chances[labels] < threshold).mean()), 4),
            "refused_unanswerable": round(float((chances[~labels] < threshold).mean()), 4),
        },
        "intercept": round(float(model.intercept_[0]), 3),
        "features": {name: round(float(weight), 3) for name, weight in zip(names, model.coef_[0], strict=True)},
    }
