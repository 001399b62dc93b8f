"""The passages that may answer a question, with what each source says of each: vectors, words, stored questions, concepts."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from assistant.retrieval import late
from assistant.retrieval.language import Centres
from assistant.retrieval.question import Query
from ingest.document import Passage, QuestionAnswer
from ingest.storage.library import Library
from ingest.storage.vectors import Vectors
from kg.graph import ConceptGraph

CANDIDATES = 60
"""How many passages the vectors and the words give each; stored questions give half, the walk over concepts a third as many."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, or one part of it, as vectors: ``vector`` (d,), ``tokens`` (n, d) for late interaction (n may be 0)."""

    text: str
    vector: Vectors
    tokens: Vectors


@dataclass(frozen=True, slots=True)
class Candidates:
    """The candidate passages of one question; all arrays (n,) are aligned with ``ids``.

    ``raw`` holds the raw features by name (``ranking.FEATURES``), ``cosines`` those of the vectors as they are. ``parts`` has for
    each part of the question the sum of its dense and late features. ``mentions`` are the concepts of each passage, ``counts`` says
    in how many passages each named concept stands.
    """

    ids: tuple[int, ...]
    passages: tuple[Passage, ...]
    raw: Mapping[str, Vectors]
    cosines: Vectors
    parts: tuple[Vectors, ...]
    pairs: Mapping[int, QuestionAnswer]
    mentions: tuple[frozenset[str], ...]
    counts: Mapping[str, int]
    query: Query
    library_size: int


def gather(
    query: Query,
    asked: Sequence[Asked],
    library: Library,
    graph: ConceptGraph,
    centres: Centres,
    without: frozenset[int] = frozenset(),
) -> Candidates:
    """The candidates of a question. ``asked`` is the whole question and then its parts; passages in ``without`` are left out."""
    whole, *parts = asked
    walk = graph.walk
    counts = {key: int(walk.counts[walk.concepts[key]]) if key in walk.concepts else 0 for key in query.concepts}
    size = library.passage_count()
    idf = {key: math.log(1 + size / count) for key, count in counts.items() if count}
    walked = walk.scores(idf)
    found: dict[int, None] = {}
    for part in asked:
        share = CANDIDATES if part is whole else CANDIDATES // 3
        found |= dict.fromkeys(_different(library, partial(library.nearest_passages, part.vector), share, without))
    found |= dict.fromkeys(
        _different(library, lambda k: [(m.id, m.score) for m in library.match_fields(query.terms, k)], CANDIDATES, without)
    )
    near, pairs = _from_questions(library, whole.vector)
    found |= dict.fromkeys(i for i in near if i not in without)
    found |= dict.fromkeys(i for i in walk.nearest(walked, CANDIDATES // 3 + len(without)) if i not in without)
    passages = library.passages(list(found))
    ids = tuple(p.id for p in passages)
    stored = library.vectors_of(ids) if ids else np.zeros((0, len(whole.vector)), dtype=np.float32)
    meaning = centres.centred(np.stack([a.vector for a in asked]), [a.text for a in asked])
    own = centres.centred(stored, [p.text for p in passages]) @ meaning.T
    tokens = late.PassageTokens.of(library.codes_of(ids), ids)
    words = library.score_words(query.terms, ids)
    mentions = tuple(frozenset(keys) for keys in walk.concepts_of(ids))
    mass = sum(idf.values())
    raw = {
        "dense": own[:, 0],
        **late.columns(whole.tokens, tokens),
        "text": words["text"].astype(np.float32),
        "heading": words["heading"].astype(np.float32),
        "asked": words["question"].astype(np.float32),
        "question": np.array([near.get(i, 0.0) for i in ids], dtype=np.float32),
        "concept": np.array([sum(idf.get(k, 0.0) for k in keys) / mass if mass else 0.0 for keys in mentions], dtype=np.float32),
        "walk": walk.column(walked, ids),
        "length": np.log([10.0 + len(p.text) for p in passages]).astype(np.float32),
    }
    by_part = tuple(own[:, n] + late.columns(part.tokens, tokens)["focus"] for n, part in enumerate(parts, start=1))
    return Candidates(ids, tuple(passages), raw, stored @ whole.vector, by_part, pairs, mentions, counts, query, size)


def _different(library: Library, find: Callable[[int], list[tuple[int, float]]], wanted: int, without: frozenset[int]) -> list[int]:
    """As many of the best as it takes for ``wanted`` passages that are not copies of one another (at most 16 times as many)."""
    count = wanted + len(without)
    while True:
        found = find(count)
        kept = [i for i, _ in found if i not in without]
        different = len(set(library.groups(kept).values()))
        if len(found) < count or different >= wanted or count >= 16 * wanted:
            return kept
        count *= 2


def _from_questions(library: Library, vector: Vectors) -> tuple[dict[int, float], dict[int, QuestionAnswer]]:
    """Passages of the pairs whose question is near, with the cosine of the best such question."""
    near = library.nearest_questions(vector, CANDIDATES // 2)
    scores: dict[int, float] = {}
    best: dict[int, QuestionAnswer] = {}
    cosines = dict(near)
    for pair in library.pairs([i for i, _ in near]):
        for passage_id in library.passages_between(pair.document, pair.question_start, pair.answer_end):
            if cosines[pair.id] > scores.get(passage_id, -1.0):
                scores[passage_id], best[passage_id] = cosines[pair.id], pair
    return scores, best
