"""The concept graph of a library: which concepts stand together, how strongly, and the passages that show it.

Two concepts co-occur in a passage that mentions both. With N passages, of which n(a) mention a and n(a, b) mention both, their
pointwise mutual information is (Church & Hanks 1990, "Word association norms, mutual information, and lexicography")

    PMI(a, b) = log2( P(a, b) / (P(a) P(b)) ) = log2( N n(a, b) / (n(a) n(b)) )        [bits]

PMI overrates what was seen once. So strength uses its normalised form NPMI = PMI / -log2 P(a, b), in [-1, 1] (Bouma 2009), times
the discount of Pantel & Lin 2002 for small counts, n/(n+1) * m/(m+1) with n = n(a, b) and m = min(n(a), n(b)). Pairs whose
discounted NPMI is below ``THRESHOLD`` have no edge. A worked example: N = 8, n(a) = n(b) = n(a, b) = 2 gives PMI = log2(8*2/4) = 2,
NPMI = 2 / log2(8/2) = 1, discount 2/3 * 2/3, so 0.444.
"""

import bisect
import json
import math
import re
import threading
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby, pairwise
from typing import Self

import networkx as nx

from ingest.document import Passage, QuestionAnswer
from ingest.errors import UsageError
from ingest.storage.fulltext import words
from ingest.storage.library import Library
from kg.concepts import Concept, Glossary, refresh_mentions
from kg.walk import ConceptWalk

THRESHOLD = 0.1
_WEAKEST = 0.02  # what a pair below the threshold counts at least, where only such pairs link two concepts
_EVIDENCE = 3  # passages shown for one step of a path
_PASSAGES = 40  # passages shown on a concept's page
_NEIGHBOURS = 24
# Words that ask; they say nothing about what is asked.
_ASKING = re.compile(
    r"什么是|是什么|为什么|怎么样|怎么|怎样|如何|哪些|哪个|什么|请问|解释一下|介绍一下|说一下|有没有|区别|[吗呢吧的了]"
    r"|\b(?:what|which|why|how|when|is|are|do|does|can|the|an?|of|to|in|on|for|and|or|with|between|explain|please)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A concept that stands together with another: PMI in bits, passages that mention both."""

    concept: Concept
    pmi: float
    count: int


@dataclass(frozen=True, slots=True)
class ConceptPage:
    """Everything the library has about a concept; ``mentions`` counts every occurrence, ``passages`` holds the telling ones."""

    concept: Concept
    passages: list[Passage]
    neighbours: list[Neighbour]
    pairs: list[QuestionAnswer]
    mentions: int


@dataclass(frozen=True, slots=True)
class PathStep:
    """One edge of a path, with the passages that mention both ends, closest together first."""

    a: Concept
    b: Concept
    passages: list[Passage]


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """A small picture around a concept. ``nodes``: (key, name, mentions, ring), ring 0 is the concept; ``edges``: (a, b, PMI)."""

    nodes: list[tuple[str, str, int, int]]
    edges: list[tuple[str, str, float]]


class ConceptGraph:
    """The graph of one generation of a library. It is derived: build it again when ``library.generation()`` has changed.

    ``graph`` is a networkx Graph. A node is a concept key with ``count`` (mentions) and ``passages`` (how many mention it).
    An edge has ``weight`` (PMI, bits), ``strength`` (discounted NPMI times log2(1 + count)), ``distance`` (its inverse),
    ``count`` and ``passages`` (ids, those that mention the two closest together first).
    """

    def __init__(
        self,
        library: Library,
        glossary: Glossary,
        graph: "nx.Graph[str]",
        together: "nx.Graph[str]",
        passages: Mapping[str, tuple[int, ...]],
        pairs: Mapping[str, tuple[int, ...]],
        generation: int,
    ) -> None:
        self.glossary = glossary
        self.graph = graph
        self.generation = generation
        self._library = library
        self._together = together  # like graph, with an edge for every pair that shares a passage
        self._passages = passages
        self._pairs = pairs
        self._words: _ConceptWords | None = None
        self._walk: ConceptWalk | None = None
        self._lock = threading.Lock()

    @classmethod
    def build(cls, library: Library, glossary: Glossary) -> Self:
        """Build the graph from the mentions in the library, looking for them first where that was not done."""
        while True:
            generation = library.generation()
            refresh_mentions(library, glossary)
            rows: list[tuple[int, str, int]] = library.read(
                "SELECT passage_id, concept, start FROM mentions ORDER BY passage_id, start"
            )
            total = library.passage_count()
            pairs = _pairs_of_concepts(library)
            if library.generation() == generation:  # else something was published between the reads
                break
        rows = [row for row in rows if row[1] in glossary.concepts]
        together, passages = _co_occurrence(rows, total)
        graph = together.copy()
        graph.remove_edges_from([(a, b) for a, b, npmi in together.edges(data="npmi") if npmi < THRESHOLD])
        return cls(library, glossary, graph, together, passages, pairs, generation)

    @property
    def walk(self) -> ConceptWalk:
        """Personalised PageRank over concepts and passages; prepared at its first use."""
        with self._lock:
            if self._walk is None:
                self._walk = ConceptWalk.over(self._passages)
            return self._walk

    def page(self, key: str) -> ConceptPage:
        """The page of a concept, by key, name or alias. Raises UsageError with the closest names when there is none.

        Passages come first whose headings name the concept, then those that mention it most for their length. Pairs come first
        whose question mentions it, then those whose answer does.
        """
        concept = self.glossary.require(key)
        return ConceptPage(
            concept,
            self._library.passages(self._telling_passages(concept.key)[:_PASSAGES]),
            self.neighbours(concept.key)[:_NEIGHBOURS],
            self._library.pairs(self._pairs.get(concept.key, ())),
            self._count(concept.key),
        )

    def neighbours(self, key: str) -> list[Neighbour]:
        """All neighbours of a concept, strongest first."""
        if key not in self.graph:
            return []
        edges = sorted(self.graph[key].items(), key=lambda item: (-item[1]["strength"], item[0]))
        return [Neighbour(self.glossary.concepts[other], edge["weight"], edge["count"]) for other, edge in edges]

    def path(self, a_key: str, b_key: str) -> list[PathStep]:
        """The chain of concepts from one to the other whose evidence is strongest, with the passages behind each step.

        Strongest: the smallest sum of 1 / (discounted NPMI * log2(1 + count)) (Dijkstra). Where the edges of the graph do not
        connect them, any shared passage links, weakly: a concept that is nearly everywhere has no edges, yet stands beside others.
        Raises UsageError when a name is unknown, when both are the same concept, and when no chain of passages links them.
        """
        a, b = self.glossary.require(a_key), self.glossary.require(b_key)
        if a == b:
            raise UsageError(f"{a_key} and {b_key} are the same concept ({a.name}): give two different ones")
        for concept in (a, b):
            if concept.key not in self.graph:
                raise UsageError(f"the library does not mention {concept.name}: ingest notes about it first")
        graph = self.graph if nx.has_path(self.graph, a.key, b.key) else self._together
        try:
            keys: list[str] = nx.dijkstra_path(graph, a.key, b.key, weight="distance")
        except nx.NetworkXNoPath:
            raise UsageError(f"nothing in the library links {a.name} and {b.name}: no chain of shared passages") from None
        steps = []
        for one, other in pairwise(keys):
            passages = self._library.passages(graph.edges[one, other]["passages"][:_EVIDENCE])
            steps.append(PathStep(self.glossary.concepts[one], self.glossary.concepts[other], passages))
        return steps

    def neighbourhood(self, key: str, limit: int = 16) -> Neighbourhood:
        """The concept, its strongest neighbours and some of theirs: at most ``limit`` nodes besides the centre."""
        centre = self.glossary.require(key)
        rings = {centre.key: 0}
        direct = [n.concept.key for n in self.neighbours(centre.key)]
        first = direct[: limit - limit // 3]
        beyond: dict[str, float] = {}
        for one in first:
            for other, edge in self.graph[one].items():
                if other != centre.key and other not in direct:
                    beyond[other] = max(beyond.get(other, 0.0), edge["strength"])
        second = sorted(beyond, key=lambda k: (-beyond[k], k))[: limit - len(first)]
        rings |= dict.fromkeys(first, 1) | dict.fromkeys(second, 2)
        rings |= dict.fromkeys(direct[len(first) :][: limit + 1 - len(rings)], 1)  # room that the second ring did not need
        nodes = [(k, self.glossary.concepts[k].name, self._count(k), ring) for k, ring in rings.items()]
        inside = self.graph.subgraph(rings)
        return Neighbourhood(nodes, [(a, b, edge["weight"]) for a, b, edge in inside.edges(data=True)])

    def concepts_in_use(self) -> list[tuple[Concept, int]]:
        """The concepts the library mentions, with the number of mentions, most mentioned first."""
        counted = [(self.glossary.concepts[k], int(n)) for k, n in self.graph.nodes(data="count")]
        return sorted(counted, key=lambda item: (-item[1], item[0].key))

    def nearest_concepts(self, question: str, k: int = 5) -> list[Concept]:
        """The concepts a question names, in its order; then those whose names and definitions share most words with it.

        Shared words are weighed by how few concepts have them (inverse document frequency); a concept that only the glossary
        knows counts half, for there is nothing to read about it. A question that shares nothing gives an empty list.
        """
        named = list(dict.fromkeys(mention.concept for mention in self.glossary.find(question)))
        if len(named) < k:
            with self._lock:
                if self._words is None:
                    self._words = _ConceptWords(self.glossary.concepts.values())
            scores = self._words.scores(_ASKING.sub(" ", question))
            weighed = {key: score * (1.0 if key in self.graph else 0.5) for key, score in scores.items() if key not in named}
            named += sorted(weighed, key=lambda key: (-weighed[key], key))
        return [self.glossary.concepts[key] for key in named[:k]]

    def passages_of(self, key: str) -> list[int]:
        """The ids of the passages that mention a concept, ascending."""
        return list(self._passages.get(key, ()))

    def concepts_of(self, passage_id: int) -> list[str]:
        """The keys of the concepts a passage mentions, in order of their first mention."""
        rows = self._library.read("SELECT concept FROM mentions WHERE passage_id = ? ORDER BY start", (passage_id,))
        return [k for k in dict.fromkeys(row[0] for row in rows) if k in self.glossary.concepts]

    def _count(self, key: str) -> int:
        return int(self.graph.nodes[key]["count"]) if key in self.graph else 0

    def _telling_passages(self, key: str) -> list[int]:
        rows = self._library.read(
            'SELECT p.id, p.headings, p."end" - p.start, count(*) FROM mentions m JOIN passages p ON p.id = m.passage_id'
            " WHERE m.concept = ? GROUP BY p.id",
            (key,),
        )
        under = {
            headings: any(m.concept == key for h in json.loads(headings)[-2:] for m in self.glossary.find(h))
            for headings in {row[1] for row in rows}
        }
        ranked = sorted((not under[headings], -count / math.sqrt(length + 100), i) for i, headings, length, count in rows)
        return [i for *_, i in ranked]


def _co_occurrence(rows: Iterable[tuple[int, str, int]], total: int) -> tuple["nx.Graph[str]", dict[str, tuple[int, ...]]]:
    """(passage, concept, start) rows and the number of passages -> a graph of all pairs, and the passages of each concept."""
    mentions: Counter[str] = Counter()
    passages: dict[str, list[int]] = defaultdict(list)
    # One number a place, the gap above the passage: a million passages have millions of them.
    shared: dict[tuple[str, str], array[int]] = defaultdict(lambda: array("q"))
    for passage, group in groupby(sorted(rows, key=lambda row: row[0]), key=lambda row: row[0]):
        present: dict[str, list[int]] = {}
        for _, concept, start in group:
            present.setdefault(concept, []).append(start)
        for concept, starts in present.items():
            mentions[concept] += len(starts)
            passages[concept].append(passage)
        for a, b in combinations(sorted(present), 2):
            shared[a, b].append(_gap(present[a], present[b]) << 40 | passage)
    graph: nx.Graph[str] = nx.Graph()
    for concept in sorted(passages):
        graph.add_node(concept, count=mentions[concept], passages=len(passages[concept]))
    for (a, b), places in shared.items():
        count = len(places)
        pmi, npmi = association(total, len(passages[a]), len(passages[b]), count)
        strength = max(npmi, _WEAKEST) * math.log2(1 + count)
        ids = tuple(place & (1 << 40) - 1 for place in sorted(places))
        graph.add_edge(a, b, weight=pmi, npmi=npmi, strength=strength, distance=1 / strength, count=count, passages=ids)
    return graph, {concept: tuple(ids) for concept, ids in passages.items()}


def association(total: int, n_a: int, n_b: int, n_ab: int) -> tuple[float, float]:
    """(PMI in bits, discounted NPMI) of two concepts in ``n_a`` and ``n_b`` of ``total`` passages, ``n_ab`` of them with both.

    A pair that is in every passage has P(a, b) = 1, where NPMI is 0/0: it tells nothing, and counts as 0.
    """
    pmi = math.log2(total * n_ab / (n_a * n_b))
    information = math.log2(total / n_ab)
    smaller = min(n_a, n_b)
    discount = n_ab / (n_ab + 1) * smaller / (smaller + 1)
    return pmi, pmi / information * discount if information > 0 else 0.0


def _gap(a: Sequence[int], b: Sequence[int]) -> int:
    """The least distance between a start in one ascending list and one in the other."""
    best = abs(a[0] - b[0])
    for start in a:
        i = bisect.bisect_left(b, start)
        best = min([best, *(abs(start - other) for other in b[max(i - 1, 0) : i + 1])])
    return best


def _pairs_of_concepts(library: Library) -> dict[str, tuple[int, ...]]:
    """Concept -> ids of its pairs: those whose question mentions it, then those whose answer does, each in reading order.

    Read from the mentions that are known already: looking for them again took most of the time of building.
    """
    rows = library.read(
        """SELECT m.concept, q.id, m."end" <= q.question_end AS asked FROM pairs q JOIN documents d ON d.id = q.document_id
        JOIN passages p ON p.document_id = q.document_id AND p.start < q.answer_end AND p."end" > q.question_start
        JOIN mentions m ON m.passage_id = p.id AND m.start >= q.question_start AND m."end" <= q.answer_end
        WHERE m."end" <= q.question_end OR m.start >= q.answer_start ORDER BY asked DESC, d.name, q.question_start"""
    )
    found: dict[str, dict[int, None]] = defaultdict(dict)
    for key, pair, _ in rows:
        found[key].setdefault(pair)
    return {key: tuple(ids) for key, ids in found.items()}


class _ConceptWords:
    """The words of every concept's names and definitions, weighed by inverse document frequency, for questions that name none."""

    def __init__(self, concepts: Iterable[Concept]) -> None:
        self._of: dict[str, dict[str, float]] = {}
        for concept in concepts:
            weights = dict.fromkeys(words(f"{concept.definition} {concept.definition_en}"), 1.0)
            weights |= dict.fromkeys(words(" ".join(concept.names)), 3.0)
            self._of[concept.key] = weights
        frequency = Counter(word for weights in self._of.values() for word in weights)
        self._idf = {word: math.log((1 + len(self._of)) / (1 + n)) for word, n in frequency.items()}

    def scores(self, text: str) -> dict[str, float]:
        """Concept key -> weight of the words it shares with the text, for those that share any."""
        asked = set(words(text))
        scores: dict[str, float] = {}
        for key, weights in self._of.items():
            score = sum(weight * self._idf[word] for word, weight in weights.items() if word in asked)
            if score > 0:
                scores[key] = score / math.sqrt(8 + len(weights))
        return scores
