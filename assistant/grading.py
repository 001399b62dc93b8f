"""stub to be replaced"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyPoint:
    """One thing a full answer says, and how much it weighs against the others."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class MarkedPoint:
    """A key point with the verdict: ``similarity`` 0..1, ``matched`` the spans of the learner's answer that carry it."""

    point: KeyPoint
    hit: bool
    similarity: float
    matched: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Grade:
    """The mark for one answer: 0..100, the checklist behind it, and remarks in plain language."""

    score: float
    points: tuple[MarkedPoint, ...]
    remarks: tuple[str, ...] = ()
