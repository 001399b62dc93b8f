"""The passages that go to the reader: copies once, no two that say the same, every part of the question, as few as it takes."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from assistant.retrieval.values import Hit, SearchResult
from ingest.storage.vectors import Vectors

SAME_QUESTION = 0.7  # the feature «question» (a cosine of .96) from which on a stored question is this question
FALLS_BEHIND = 0.05  # the odds against the best passage below which one adds no facts


def once(order: Sequence[int], ids: Sequence[int], groups: Mapping[int, int]) -> list[int]:
    """The places in ``order`` without those whose passage is a copy of one that comes before it."""
    best: dict[int, int] = {}
    for i in order:
        best.setdefault(groups[ids[i]], i)
    return list(best.values())


def best_of_parts(order: Sequence[int], parts: Sequence[Vectors], k: int) -> frozenset[int]:
    """The place of the passage that matches each part of the question best, among the ``k`` the whole question ranks first.

    They are not moved up: over 130 questions of several parts that lost more of their answers than it found. They go to the reader.
    """
    near = list(order[:k])
    return frozenset(near[int(np.argmax([part[i] for i in near]))] for part in parts) if near else frozenset()


def select(result: SearchResult, token_count: Callable[[str], int], budget: int = 900, most: int = 3) -> tuple[Hit, ...]:
    """The hits whose passages go to the model: best first, at most ``most``, together at most ``budget`` tokens.

    The model reads some forty tokens a second here, so every passage costs seconds. A passage that falls far behind the best
    adds no facts, unless it answers a part of the question of its own; and where the question stands in the library nearly word
    for word, the passages of its answer are enough.
    """
    chosen: list[Hit] = []
    used = 0
    hits = _own_passages(result.hits) or result.hits
    for hit in sorted(hits, key=lambda hit: hit is not hits[0] and not hit.part):  # the best, then those of parts, then the rest
        if len(chosen) == most:
            break
        if chosen and hit.odds < FALLS_BEHIND and not hit.part:
            continue
        cost = token_count(hit.passage.embedding_text)
        if used + cost <= budget:
            chosen.append(hit)
            used += cost
    return tuple(chosen)


def _own_passages(hits: Sequence[Hit]) -> list[Hit]:
    """The hits that belong to the pair whose question is this question, when the best hit belongs to it."""
    own = hits[0] if hits else None
    if own is None or own.pair is None or own.scores["question"] < SAME_QUESTION:
        return []
    return [hit for hit in hits if hit.pair is not None and (hit.pair.id == own.pair.id or _same_pair(hit, own))]


def _same_pair(hit: Hit, own: Hit) -> bool:
    """Whether a hit stands for a copy of a passage of the best hit's own pair: the same question, in the same document."""
    assert hit.pair is not None and own.pair is not None
    return hit.pair.key == own.pair.key and own.passage.document in {copy.document for copy in hit.also}
