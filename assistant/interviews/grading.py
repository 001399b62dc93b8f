"""Marking a learner's answer against the key points of a reference: 0..100 with a checklist and reasons.

Each point gets a chance that the answer says it, from the evidence of ``assistant.interviews.marking`` and the fitted weights in
``grading.toml``. The score is the weighted share of the points. What the question already says earns nothing, nor does a text that
asks for marks: an answer is data. No language model takes part; the same answer always gets the same mark.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.interviews.marking import FEATURES, Evidence, Span, asks_for_marks, gather, parts
from assistant.interviews.matching import highlights, joined
from assistant.interviews.points import KeyPoint, key_points
from kg.concepts import Glossary

if TYPE_CHECKING:
    from ingest.models.embedding import Embedder

WEIGHTS_FILE = Path(__file__).with_name("grading.toml")
HIT = 0.5  # the least chance at which a point counts as said
_CONTRADICTED = 0.5  # a conflict as strong as this is told to the learner

__all__ = ["Grade", "KeyPoint", "MarkedPoint", "Weights", "grade", "key_points"]


@dataclass(frozen=True, slots=True)
class MarkedPoint:
    """A key point with the verdict. ``similarity`` is the chance (0..1) that the answer says it.

    ``matched``: the spans of the answer that carry it, to highlight (empty when nothing does). ``contradicted``: the answer says
    the opposite.
    """

    point: KeyPoint
    hit: bool
    similarity: float
    matched: tuple[Span, ...] = ()
    contradicted: bool = False


@dataclass(frozen=True, slots=True)
class Grade:
    """The mark for one answer: 0..100, the checklist behind it, and remarks in plain language."""

    score: float
    points: tuple[MarkedPoint, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Weights:
    """A logistic regression over ``marking.FEATURES``, and how a chance becomes credit: none below ``none``, all from ``full``."""

    values: Mapping[str, float]
    intercept: float
    none: float
    full: float

    def chance(self, evidence: Evidence) -> float:
        """The chance that the point is in the answer."""
        total = self.intercept + sum(self.values[n] * x for n, x in zip(FEATURES, evidence.numbers(), strict=True))
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, total))))

    def credit(self, chance: float) -> float:
        """The share of a point's weight that this chance earns."""
        return min(max((chance - self.none) / (self.full - self.none), 0.0), 1.0)


@lru_cache(maxsize=1)
def shipped_weights() -> Weights:
    """The weights of ``grading.toml``."""
    data = tomllib.loads(WEIGHTS_FILE.read_text(encoding="utf-8"))
    return Weights(data["weights"], data["intercept"], data["credit"]["none"], data["credit"]["full"])


def grade(
    answer: str,
    points: Sequence[KeyPoint],
    question: str,
    embedder: "Embedder",
    glossary: Glossary | None = None,
    language: str = "zh",
    weights: Weights | None = None,
) -> Grade:
    """Mark an answer. ``language`` ("zh" or "en") is that of the remarks; answer and points may be in either.

    Without points there is nothing to mark against: the score is 0 and the remark says so.
    """
    weights = weights or shipped_weights()
    statements = [(k, part) for k, point in enumerate(points) for part in parts(point.text)]
    groups = [k for k, _ in statements]
    evidence = gather(answer, [part for _, part in statements], question, embedder, glossary, groups) if points else []
    if not evidence:
        marked = tuple(MarkedPoint(point, False, 0.0) for point in points)
        return Grade(0.0, marked, _remarks(marked, answer, language))
    of_point: list[list[tuple[float, Evidence]]] = [[] for _ in points]
    for k, e in zip(groups, evidence, strict=True):
        of_point[k].append((weights.chance(e), e))
    marked = tuple(_mark(point, found, answer, glossary) for point, found in zip(points, of_point, strict=True))
    earned = sum(point.weight * _told([weights.credit(c) for c, _ in found]) for point, found in zip(points, of_point, strict=True))
    score = round(100 * earned / sum(point.weight for point in points), 1)
    return Grade(score, marked, _remarks(marked, answer, language))


def _told(values: Sequence[float]) -> float:
    """How much of a point is there, from its parts: the mean of the better half. Nobody recites every clause of a textbook."""
    better = sorted(values, reverse=True)[: (len(values) + 1) // 2]
    return sum(better) / len(better)


def _mark(point: KeyPoint, found: Sequence[tuple[float, Evidence]], answer: str, glossary: Glossary | None) -> MarkedPoint:
    chance = _told([c for c, _ in found])
    hit = chance >= HIT
    spans = [span for c, e in found if c >= HIT for span in highlights(answer, e.window, point.text, glossary)] if hit else []
    against = max(max(e.conflict, e.contrary) for _, e in found)
    return MarkedPoint(point, hit, round(chance, 3), joined(spans), not hit and against >= _CONTRADICTED)


_TEXTS = {
    "zh": {
        "nothing": "没有参考要点，无法评分。",
        "orders": "回答里有向评分者提要求的话，已当作普通文字，不计分。",
        "empty": "没有读到超出题目本身的内容。",
        "all": "{total} 个要点全部答到。",
        "some": "答到 {hits}/{total} 个要点。",
        "against": "这一点与参考答案相反，请核对：{point}",
        "missed": "最值得补上的是：{point}",
    },
    "en": {
        "nothing": "There are no reference points to mark against.",
        "orders": "The answer gives orders to whoever marks it; that was read as plain text and earns nothing.",
        "empty": "Nothing was found beyond what the question itself says.",
        "all": "All {total} points are covered.",
        "some": "{hits} of {total} points are covered.",
        "against": "This point was answered the other way round, please check: {point}",
        "missed": "Most worth adding: {point}",
    },
}


def _remarks(marked: Sequence[MarkedPoint], answer: str, language: str) -> tuple[str, ...]:
    texts = _TEXTS["en" if language == "en" else "zh"]
    if not marked:
        return (texts["nothing"],)
    hits = sum(m.hit for m in marked)
    remarks = [texts["orders"]] if asks_for_marks(answer) else []
    if not hits and not any(m.similarity for m in marked):
        remarks.append(texts["empty"])
    else:
        remarks.append(texts["all" if hits == len(marked) else "some"].format(hits=hits, total=len(marked)))
    remarks += [texts["against"].format(point=m.point.text) for m in marked if m.contradicted]
    missed = [m for m in marked if not m.hit and not m.contradicted]
    if missed:
        remarks.append(texts["missed"].format(point=max(missed, key=lambda m: m.point.weight).point.text))
    return tuple(remarks)
