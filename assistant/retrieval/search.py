"""Question -> ranked passages, and a calibrated chance that they hold the answer.

question.py reads the question, candidates.py gathers what may answer it, ranking.py orders that, selection.py takes what is shown,
confidence.py says whether the answer is there. No generation, no second model: one forward pass of the embedding model over the
question, and arithmetic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assistant.retrieval.candidates import Asked, Candidates, gather
from assistant.retrieval.confidence import answerable_features, probability
from assistant.retrieval.language import Centres, language_centres
from assistant.retrieval.question import Query, understand
from assistant.retrieval.ranking import FEATURES, Ranking, scaled, shipped_ranking, totals
from assistant.retrieval.selection import best_of_parts, once
from assistant.retrieval.values import Copy, Hit, SearchResult
from ingest.errors import MianpuError
from ingest.models.embedding import Embedder, TokenEmbedder
from ingest.storage.library import Library
from ingest.storage.vectors import Vectors
from kg.graph import ConceptGraph


@dataclass(frozen=True, slots=True)
class Ranked:
    """The candidates of one question with their features on one scale, their sums, and their places best first.

    ``for_parts`` are the places of those that answer a part of the question best."""

    candidates: Candidates
    features: Mapping[str, Vectors]
    total: Vectors
    order: tuple[int, ...]
    chance: Mapping[str, float]
    for_parts: frozenset[int] = frozenset()


def search(
    question: str,
    library: Library,
    embedder: Embedder,
    graph: ConceptGraph,
    k: int = 10,
    ranking: Ranking | None = None,
    centres: Centres | None = None,
) -> SearchResult:
    """Rank passages for a question; the best ``k``, best first. Raises MianpuError when the vectors are another model's."""
    ranking = ranking or shipped_ranking()
    centres = centres or language_centres(library, embedder, graph.glossary)
    query, asked = _read(question, library, embedder, graph)
    with library.snapshot():
        ranked = _rank(query, asked, library, graph, k, ranking, centres)
        candidates, order = ranked.candidates, ranked.order
        copies = library.copies([candidates.ids[i] for i in order[:k]])
    best = max((float(ranked.total[i]) for i in order), default=0.0)
    weights = ranking.weights_for(candidates.query.english)
    hits = tuple(
        Hit(
            candidates.passages[i],
            float(ranked.total[i]),
            {name: float(ranked.features[name][i]) for name in FEATURES},
            float(candidates.cosines[i]),
            candidates.pairs.get(candidates.ids[i]),
            tuple(Copy(p.document, p.start, p.end, p.line, p.page) for p in copies[candidates.ids[i]]),
            float(np.exp(min(0.0, float(ranked.total[i]) - best))),
            {name: float(weights.get(name, 0.0) * ranked.features[name][i]) for name in FEATURES},
            i in ranked.for_parts,
        )
        for i in order[:k]
    )
    chance = probability(ranked.chance, ranking) if hits else 0.0
    nearest = tuple(graph.nearest_concepts(candidates.query.text, 6))
    answered = bool(hits) and chance >= ranking.threshold
    return SearchResult(
        question,
        hits,
        chance,
        answered,
        nearest,
        ranked.chance,
        chance >= ranking.sure,
        candidates.query.parts,
        candidates.query.text,
    )


def rank(
    question: str,
    library: Library,
    embedder: Embedder,
    graph: ConceptGraph,
    k: int,
    ranking: Ranking,
    centres: Centres | None = None,
    without: frozenset[int] = frozenset(),
) -> Ranked:
    """The candidates of a question in order; ``without`` are passages (ids) that are treated as if they were not there."""
    centres = centres or language_centres(library, embedder, graph.glossary)
    query, asked = _read(question, library, embedder, graph)
    with library.snapshot():
        return _rank(query, asked, library, graph, k, ranking, centres, without)


def _read(question: str, library: Library, embedder: Embedder, graph: ConceptGraph) -> tuple[Query, list[Asked]]:
    """The question as it is searched for, and its vectors."""
    known = library.meta("embedding_model")
    if known not in (None, embedder.fingerprint):
        raise MianpuError(f"the library was embedded with {known}: use that model, or ingest its documents again with this one")
    query = understand(question, library, graph)
    return query, _asked(query, embedder)


def _rank(
    query: Query,
    asked: Sequence[Asked],
    library: Library,
    graph: ConceptGraph,
    k: int,
    ranking: Ranking,
    centres: Centres,
    without: frozenset[int] = frozenset(),
) -> Ranked:
    candidates = gather(query, asked, library, graph, centres, without)
    features = scaled(candidates.raw)
    total = totals(features, ranking.weights_for(query.english))
    order = [int(i) for i in np.argsort(-total, kind="stable")]
    order = once(order, candidates.ids, library.groups(candidates.ids))
    for_parts = best_of_parts(order, candidates.parts, k)
    return Ranked(candidates, features, total, tuple(order), answerable_features(candidates, total, order), for_parts)


def _asked(query: Query, embedder: Embedder) -> list[Asked]:
    """The question and its parts as vectors, all in one batch."""
    texts = [query.text, *query.parts]
    if isinstance(embedder, TokenEmbedder):
        vectors, tokens = embedder.encode_questions_and_tokens(texts)
    else:
        vectors = embedder.encode_questions(texts)
        tokens = [np.zeros((0, vectors.shape[1]), dtype=np.float32)] * len(texts)
    return [Asked(*row) for row in zip(texts, vectors, tokens, strict=True)]
