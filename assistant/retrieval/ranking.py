"""The order of the candidates: named features, each brought to one scale, and their weighted sum (``ranking.toml``).

The weights are fitted by ``mianpu eval FILE --fit``, as the chance that softmax of the sums gives to passages that answer, with no
weight below zero: more of a feature never ranks a passage lower, and each one's part in a result can be shown.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from ingest.storage.vectors import Vectors

FEATURES = ("dense", "late", "focus", "window", "text", "heading", "asked", "question", "concept", "walk", "length")
"""dense: cosine of the passage's vector, its language taken out. late, focus, window: late interaction (late.py). text, heading,
asked: BM25 over the text, the headings, the questions the passage answers. question: cosine with the nearest such question.
concept: share of the named concepts it mentions. walk: personalised PageRank from them. length: logarithm of its length."""
_COSINES = ("dense", "late", "focus", "window")


@dataclass(frozen=True, slots=True)
class Ranking:
    """The numbers of ``ranking.toml``: weights of the features, and the logistic models of answerability with their thresholds.

    ``named`` is the model for questions that name a known concept, ``unnamed`` for others: weights of features and an intercept.
    Below ``threshold`` a question is not answered, between it and ``sure`` with a warning.
    """

    weights: Mapping[str, float]
    weights_english: Mapping[str, float]
    named: Mapping[str, float]
    unnamed: Mapping[str, float]
    threshold: float
    sure: float = 1.0

    def weights_for(self, english: bool) -> Mapping[str, float]:
        """The weights for a question in English, or in Chinese."""
        return self.weights_english if english else self.weights


@lru_cache(maxsize=1)
def shipped_ranking() -> Ranking:
    """The ranking that comes with the program."""
    values = tomllib.loads(files("assistant.retrieval").joinpath("ranking.toml").read_text(encoding="utf-8"))
    chance = values["answerable"]
    return Ranking(
        values["weights"], values["weights_english"], chance["named"], chance["unnamed"], chance["threshold"], chance["sure"]
    )


def scaled(raw: Mapping[str, Vectors]) -> dict[str, Vectors]:
    """The features (n,) of one question's candidates on one scale.

    Cosines become tenths below the best (0 and less): their level differs from question to question and tells nothing of the order.
    BM25 and the walk are shares of the best candidate's. The question's cosine keeps its size (from .86, the same field and no
    more, to 1): an exact question must count, a vague one must not.
    """
    out = {}
    for name in FEATURES:
        column = np.asarray(raw[name], dtype=np.float32)
        if not len(column):
            out[name] = column
        elif name in _COSINES:
            out[name] = (column - column.max()) * 10
        elif name == "question":
            out[name] = np.clip((column - 0.86) / 0.14, 0.0, 1.0)
        elif name in ("text", "heading", "asked", "walk"):
            out[name] = column / column.max() if column.max() > 0 else column
        else:
            out[name] = column
    return out


def totals(features: Mapping[str, Vectors], weights: Mapping[str, float]) -> Vectors:
    """The weighted sum (n,) of the features that have a weight."""
    total = np.zeros(len(features["dense"]), dtype=np.float32)
    for name in FEATURES:
        total += np.float32(weights.get(name, 0.0)) * features[name]
    return total
