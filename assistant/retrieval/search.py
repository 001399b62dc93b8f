"""Question -> ranked passages, and a calibrated chance that they hold the answer.

Four sources give candidates: vectors of the passages, vectors of the questions of question-answer pairs, full text (BM25), and
concepts named in the question. Each is brought to 0..1 within the question's own candidates and summed with fixed weights
(``ranking.toml``); the weighted sum of normalised scores beat reciprocal rank fusion in what was measured (README).
"""

import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files

import numpy as np

from assistant.retrieval.language import Centres, language_centres
from ingest.document import Passage, QuestionAnswer
from ingest.errors import MianpuError
from ingest.models.embedding import Embedder
from ingest.storage.fulltext import words
from ingest.storage.library import Library
from ingest.storage.vectors import Vectors
from kg.concepts import Concept
from kg.graph import ConceptGraph

SOURCES = ("dense", "bm25", "question", "concept")
CANDIDATES = 60
SAME_QUESTION = 0.7  # share of the source «question» (a cosine of .96) from which on a stored question is this question
_CHINESE = re.compile(r"[\u3400-\u9fff]")


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
    """A ranked passage. ``scores`` holds each source's own share, 0..1; ``pair`` the pair whose question matched best, if any.

    Of copies of one passage the best ranked is the hit, and ``also`` names where the others stand.
    """

    passage: Passage
    score: float
    scores: Mapping[str, float]
    cosine: float
    pair: QuestionAnswer | None = None
    also: tuple[Copy, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found. ``answerable`` is the calibrated chance (0..1) that the hits hold the answer; ``answered`` says
    whether it reaches the threshold."""

    question: str
    hits: tuple[Hit, ...]
    answerable: float
    answered: bool
    nearest_concepts: tuple[Concept, ...] = ()
    features: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The numbers of ``ranking.toml``: weights of the sources, and the logistic model of answerability with its threshold."""

    weights: Mapping[str, float]
    weights_english: Mapping[str, float]
    answerable: Mapping[str, float]
    intercept: float
    threshold: float


@lru_cache(maxsize=1)
def shipped_ranking() -> Ranking:
    """The ranking that comes with the program."""
    values = tomllib.loads(files("assistant.retrieval").joinpath("ranking.toml").read_text(encoding="utf-8"))
    answerable = dict(values["answerable"])
    features, intercept, threshold = (answerable[name] for name in ("features", "intercept", "threshold"))
    return Ranking(values["weights"], values["weights_english"], features, intercept, threshold)


@dataclass(frozen=True, slots=True)
class Candidates:
    """The candidate passages of one question with the raw score of every source (aligned with ``ids``; 0 where it has none).

    ``cosines`` compare the vectors as they are, ``centred`` without what only tells their language (language.py).
    ``named`` has, for each concept the question names, the passages that mention it; ``strangers`` the Latin words of a Chinese
    question that stand nowhere in the library (empty for an English question: its words need not stand there).
    """

    ids: tuple[int, ...]
    passages: tuple[Passage, ...]
    cosines: Vectors
    centred: Vectors
    bm25: Vectors
    question: Vectors
    concept: Vectors
    pairs: Mapping[int, QuestionAnswer]
    named: Mapping[str, frozenset[int]]
    strangers: tuple[str, ...]
    english: bool
    library_size: int


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
    known = library.meta("embedding_model")
    if known not in (None, embedder.fingerprint):
        raise MianpuError(f"the library was embedded with {known}: use that model, or ingest its documents again with this one")
    ranking = ranking or shipped_ranking()
    centres = centres or language_centres(library, embedder, graph.glossary)
    vector = embedder.encode_questions([question])[0]
    with library.snapshot():
        candidates = gather(question, vector, library, graph, centres)
        shares = normalised(candidates)
        weights = ranking.weights_english if candidates.english else ranking.weights
        total = sum((weights[name] * shares[name] for name in SOURCES), np.zeros(len(candidates.ids), dtype=np.float32))
        order = _once([int(i) for i in np.argsort(-total, kind="stable")], candidates.ids, library.groups(candidates.ids))
        copies = library.copies([candidates.ids[i] for i in order[:k]])
    hits = tuple(
        Hit(
            candidates.passages[i],
            float(total[i]),
            {name: float(shares[name][i]) for name in SOURCES},
            float(candidates.cosines[i]),
            candidates.pairs.get(candidates.ids[i]),
            tuple(Copy(p.document, p.start, p.end, p.line, p.page) for p in copies[candidates.ids[i]]),
        )
        for i in order[:k]
    )
    features = answerable_features(candidates, order)
    chance = probability(features, ranking) if hits else 0.0
    nearest = tuple(graph.nearest_concepts(question, 6))
    return SearchResult(question, hits, chance, bool(hits) and chance >= ranking.threshold, nearest, features)


def _once(order: Sequence[int], ids: Sequence[int], groups: Mapping[int, int]) -> list[int]:
    """The places in ``order`` without those whose passage is a copy of one that comes before it."""
    best: dict[int, int] = {}
    for i in order:
        best.setdefault(groups[ids[i]], i)
    return list(best.values())


def gather(question: str, vector: Vectors, library: Library, graph: ConceptGraph, centres: Centres) -> Candidates:
    """Candidates of every source, with every source's raw score for each of them. ``vector`` (d,) is the question's."""
    dense = dict(_different(library, lambda k: library.nearest_passages(vector, k)))
    lexical = dict(_different(library, lambda k: library.match_words(question, k)))
    asked, pairs = _from_questions(library, vector)
    named = {m.concept: frozenset(graph.passages_of(m.concept)) for m in graph.glossary.find(question)}
    size = library.passage_count()
    mentioned = _share_of_concepts(named, size)
    # A passage that only mentions a concept is no candidate: it must be near by vector, words or a question as well.
    passages = library.passages(list(dict.fromkeys([*dense, *lexical, *asked])))
    ids = tuple(p.id for p in passages)
    stored = library.vectors_of(ids) if ids else np.zeros((0, len(vector)), dtype=np.float32)
    meaning = centres.centred(vector.reshape(1, -1), [question])[0]
    english = not _CHINESE.search(question)
    latin = [] if english else [word for word in words(question) if word.isascii() and len(word) > 1]
    strangers = tuple(word for word, count in library.word_counts(latin).items() if not count)

    def column(scores: Mapping[int, float]) -> Vectors:
        return np.array([scores.get(i, 0.0) for i in ids], dtype=np.float32)

    return Candidates(
        ids,
        tuple(passages),
        stored @ vector,
        centres.centred(stored, [p.text for p in passages]) @ meaning,
        column(lexical),
        column(asked),
        column(mentioned),
        pairs,
        named,
        strangers,
        english,
        size,
    )


def _different(library: Library, find: Callable[[int], list[tuple[int, float]]]) -> list[tuple[int, float]]:
    """As many of the best as it takes for ``CANDIDATES`` passages that are not copies of one another (at most 16 times as many)."""
    count = CANDIDATES
    while True:
        found = find(count)
        different = len(set(library.groups([i for i, _ in found]).values()))
        if len(found) < count or different >= CANDIDATES or count >= 16 * CANDIDATES:
            return found
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


def _share_of_concepts(named: Mapping[str, frozenset[int]], size: int) -> dict[int, float]:
    """For each passage, the share of the named concepts it mentions; a concept counts by how rare it is in the library."""
    weights = {key: math.log(1 + size / len(ids)) for key, ids in named.items() if ids}
    mass = sum(weights.values())
    scores: dict[int, float] = {}
    for key, weight in weights.items():
        for passage_id in named[key]:
            scores[passage_id] = scores.get(passage_id, 0.0) + weight / mass
    return scores


def normalised(candidates: Candidates) -> dict[str, Vectors]:
    """Each source's scores brought to 0..1 over the candidates: cosines from the lowest to the highest, others by the highest.

    A question's cosine keeps its absolute size (from .86, the same field and no more, to 1): an exact question must count, a vague
    one must not.
    """
    bm25 = candidates.bm25 / candidates.bm25.max() if len(candidates.ids) and candidates.bm25.max() > 0 else candidates.bm25
    return {
        "dense": _spread(candidates.centred),
        "bm25": bm25,
        "question": np.clip((candidates.question - 0.86) / 0.14, 0.0, 1.0),
        "concept": candidates.concept,
    }


def _spread(values: Vectors) -> Vectors:
    if not len(values):
        return values
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high > low else np.ones_like(values)


def answerable_features(candidates: Candidates, order: Sequence[int]) -> dict[str, float]:
    """What tells an answerable question from another. The strongest sign of a missing answer is a concept the question names
    and the library (or the best five passages) does not mention; ``order`` holds the candidates best first.
    """
    if not candidates.ids:
        return {}
    cosines = np.sort(candidates.cosines)[::-1]
    best = {candidates.ids[i] for i in order[:5]}
    weights = {key: math.log(1 + candidates.library_size / max(1, len(ids))) for key, ids in candidates.named.items()}
    covered = sum(weight for key, weight in weights.items() if candidates.named[key] & best)
    return {
        "cosine": float((cosines[0] - 0.80) / 0.10),
        "centred": float(candidates.centred.max()),
        # how far the best stands above the field: an answer is near one passage, small talk is equally far from all
        "lead": float((cosines[0] - np.median(cosines)) / 0.10),
        "question": float(max(0.0, (candidates.question.max() - 0.86) / 0.14)),
        "names_concepts": float(bool(weights)),
        "concepts_covered": covered / sum(weights.values()) if weights else 0.5,
        "concepts_absent": float(sum(not ids for ids in candidates.named.values())),
        "words_absent": float(len(candidates.strangers)),
        "english": float(candidates.english),
    }


def probability(features: Mapping[str, float], ranking: Ranking) -> float:
    """The logistic model: 1 / (1 + exp(-(intercept + sum of weight x feature)))."""
    z = ranking.intercept + sum(weight * features.get(name, 0.0) for name, weight in ranking.answerable.items())
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, z))))


def select(result: SearchResult, token_count: Callable[[str], int], budget: int = 900, most: int = 3) -> tuple[Hit, ...]:
    """The hits whose passages go to the model: best first, at most ``most``, together at most ``budget`` tokens.

    The model reads some forty tokens a second here, so every passage costs seconds. A passage that falls far behind the best adds
    no facts, and where the question stands in the library nearly word for word, the passages of its answer are enough.
    """
    chosen: list[Hit] = []
    used = 0
    for hit in _own_passages(result.hits) or result.hits:
        if len(chosen) == most or (chosen and hit.score < 0.45 * chosen[0].score):
            break
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
