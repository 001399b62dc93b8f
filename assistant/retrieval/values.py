"""What a search gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest.document import Passage, QuestionAnswer
from kg.concepts import Concept


@dataclass(frozen=True, slots=True)
class Copy:
    """Where a passage stands once more: the document, its span there, and the page (0: the format has none)."""

    document: str
    start: int
    end: int
    line: int
    page: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """A ranked passage.

    ``score`` is the weighted sum of its features, ``scores`` the features (``ranking.FEATURES``) and ``gave`` what each added to
    the sum; ``odds`` (0..1) are the sum's beside the best hit's. ``pair`` is the pair whose question matched best, if any. Of
    copies of one passage the best ranked is the hit, and ``also`` names where the others stand. ``part``: of what was found it
    answers a part of the question best.
    """

    passage: Passage
    score: float
    scores: Mapping[str, float]
    cosine: float
    pair: QuestionAnswer | None = None
    also: tuple[Copy, ...] = ()
    odds: float = 1.0
    gave: Mapping[str, float] = field(default_factory=dict)
    part: bool = False


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found. ``answerable`` is the calibrated chance (0..1) that the hits hold the answer; ``answered`` says
    whether it reaches the threshold, ``sure`` whether it needs no warning. ``understood`` is the question with slips mended."""

    question: str
    hits: tuple[Hit, ...]
    answerable: float
    answered: bool
    nearest_concepts: tuple[Concept, ...] = ()
    features: Mapping[str, float] = field(default_factory=dict)
    sure: bool = True
    parts: tuple[str, ...] = ()
    understood: str = ""
