"""The chance that the passages found hold the answer: a logistic model over what the best of them show.

There are two models. Where a question names a concept of the field, what counts is whether the passages speak of the concepts
together; where it names none, its words and tokens must stand out somewhere. One model for both did worse on either.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from assistant.retrieval.candidates import Candidates
from assistant.retrieval.ranking import Ranking
from ingest.storage.vectors import Vectors

_BEST = 5


def answerable_features(candidates: Candidates, total: Vectors, order: Sequence[int]) -> dict[str, float]:
    """What tells an answerable question from another; ``total`` (n,) are the candidates' sums, ``order`` holds them best first.

    The strongest signs of a missing answer: no passage matches the question's own words and tokens, and a concept the question
    names is mentioned in none of the best passages, or nowhere.
    """
    if not candidates.ids or not order:
        return {}
    raw, query = candidates.raw, candidates.query
    first, best = order[0], list(order[:_BEST])
    cosines = np.sort(candidates.cosines)[::-1]
    mentioned = frozenset().union(*(candidates.mentions[i] for i in best))
    weights = {key: math.log(1 + candidates.library_size / max(1, count)) for key, count in candidates.counts.items()}
    covered = sum(weight for key, weight in weights.items() if key in mentioned)
    own = sum(weight for key, weight in weights.items() if key in candidates.mentions[first])
    mass = sum(weights.values())
    field = np.sort(total)[::-1]
    return {
        "cosine": float((cosines[0] - 0.80) / 0.10),
        "centred": float(raw["dense"].max()),
        # how far the best stands above the field: an answer is near one passage, small talk is equally far from all
        "lead": float((cosines[0] - np.median(cosines)) / 0.10),
        "late": float(raw["late"][best].max()) * 5,
        "focus": float(raw["focus"][best].max()) * 5,
        "window": float(raw["window"][best].max()) * 5,
        "late_lead": float(raw["focus"].max() - np.median(raw["focus"])) * 10,
        "margin": float(field[0] - field[1]) / 3 if len(field) > 1 else 0.0,
        "words": float(raw["text"][best].max()) / max(1.0, _most(candidates)),
        "question": float(max(0.0, (raw["question"].max() - 0.86) / 0.14)),
        "names_concepts": float(bool(weights)),
        "concepts_covered": covered / mass if mass else 0.5,
        "concepts_together": own / mass if mass else 0.5,
        "concepts_absent": float(sum(not count for count in candidates.counts.values())),
        "words_absent": float(len(query.strangers)),
        "english": float(query.english),
    }


def _most(candidates: Candidates) -> float:
    """About the BM25 score of a passage with every word of the question: their weights, each of a rare word's worth."""
    return math.log(1 + candidates.library_size) * sum(weight for weight in candidates.query.terms.values() if weight >= 1)


def probability(features: Mapping[str, float], ranking: Ranking) -> float:
    """The logistic model: 1 / (1 + exp(-(intercept + sum of weight x feature)))."""
    model = ranking.named if features.get("names_concepts") else ranking.unnamed
    z = sum(weight * (1.0 if name == "intercept" else features.get(name, 0.0)) for name, weight in model.items())
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, z))))
