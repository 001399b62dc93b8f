import itertools
import math
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

from ingest.errors import UsageError
from ingest.storage.library import Library
from kg.concepts import Concept, Glossary
from kg.graph import THRESHOLD, ConceptGraph, association
from tests.small_library import GLOSSARY, parsed, publish, small_library

SELF, HEADS, ROPE, RAG, CACHE, LORA = "自注意力", "多头注意力", "旋转位置编码", "检索增强生成", "kv 缓存", "lora"

# Eight passages, written down with the concepts they mention:
PASSAGES = [
    "自注意力与多头注意力",  # 1  self heads
    "MHA 是几个自注意力,隔得远一些",  # 2  self heads
    "RoPE 用在自注意力里",  # 3  self rope
    "讲 KV cache 与 RoPE 的关系",  # 4  cache rope
    "KV 缓存省时间",  # 5  cache
    "LoRA 很省显存,LoRA 好用",  # 6  lora
    "没有概念的一段",  # 7
    "也没有",  # 8
]


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with small_library(tmp_path, parsed("notes.md", PASSAGES)) as made:
        yield made


@pytest.fixture
def graph(library: Library) -> ConceptGraph:
    return ConceptGraph.build(library, Glossary.parse(GLOSSARY))


def test_association_by_hand() -> None:
    assert association(8, 2, 2, 2) == pytest.approx((2.0, 4 / 9))
    # N=8, n=(3, 2), both in 1: PMI = log2(8/6); NPMI = that / log2(8); discount 1/2 * 2/3
    assert association(8, 3, 2, 1) == pytest.approx((math.log2(8 / 6), math.log2(8 / 6) / 3 / 3))
    assert association(16, 4, 4, 1)[0] == 0.0  # independent
    assert association(4, 4, 4, 4) == (0.0, 0.0)


def test_the_golden_graph(graph: ConceptGraph) -> None:
    assert dict(graph.graph.nodes(data="count")) == {SELF: 3, HEADS: 2, ROPE: 2, CACHE: 2, LORA: 2}
    expected = {}
    for (a, b), both in {(SELF, HEADS): 2, (SELF, ROPE): 1, (CACHE, ROPE): 1}.items():
        n = {SELF: 3, HEADS: 2, ROPE: 2, CACHE: 2}
        pmi = math.log2(8 * both / (n[a] * n[b]))
        npmi = pmi / math.log2(8 / both) * both / (both + 1) * min(n[a], n[b]) / (min(n[a], n[b]) + 1)
        if npmi >= THRESHOLD:
            expected[frozenset((a, b))] = (pmi, both)
    assert expected.keys() == {
        frozenset((SELF, HEADS)),
        frozenset((CACHE, ROPE)),
    }  # .42 bits in one passage are too little for an edge
    assert {frozenset((a, b)): (e["weight"], e["count"]) for a, b, e in graph.graph.edges(data=True)} == {
        k: (pytest.approx(p), n) for k, (p, n) in expected.items()
    }


def test_evidence_is_closest_first(graph: ConceptGraph, library: Library) -> None:
    ids = graph.graph.edges[SELF, HEADS]["passages"]
    assert [p.text for p in library.passages(ids)] == PASSAGES[:2]  # 4 characters apart, then 8


def test_counts_agree_with_brute_force(tmp_path: Path) -> None:
    chance = random.Random(7)
    names = [f"概念{c}" for c in "甲乙丙丁戊己"]
    glossary = Glossary.of([Concept(n, n, "", (), "k", "a", "d", "d") for n in names])
    texts = [",".join(chance.sample(names, chance.randint(0, 4))) or "空" for _ in range(60)]
    with small_library(tmp_path, parsed("a.md", texts)) as library:
        built = ConceptGraph.build(library, glossary)
    for a, b in itertools.combinations(names, 2):
        n_a, n_b, both = (sum(a in t for t in texts), sum(b in t for t in texts), sum(a in t and b in t for t in texts))
        p = both / len(texts)
        pmi = math.log2(p / (n_a / len(texts) * n_b / len(texts)))
        kept = pmi / -math.log2(p) * both / (both + 1) * min(n_a, n_b) / (min(n_a, n_b) + 1) >= THRESHOLD
        assert built.graph.has_edge(a, b) == kept
        if kept:
            assert built.graph.edges[a, b]["count"] == both
            assert built.graph.edges[a, b]["weight"] == pytest.approx(pmi)


def test_a_path_takes_the_strongest_evidence(tmp_path: Path) -> None:
    # self - lora once directly; self - heads and heads - lora three times each, in a library where all is rare
    texts = ["自注意力 LoRA"] + ["自注意力 MHA"] * 3 + ["MHA LoRA"] * 3 + ["RAG"] + ["空"] * 60
    with small_library(tmp_path, parsed("a.md", texts)) as library:
        built = ConceptGraph.build(library, Glossary.parse(GLOSSARY))
        steps = built.path("self attention", "低秩适配")
        assert [(s.a.key, s.b.key, [p.text for p in s.passages]) for s in steps] == [
            (SELF, HEADS, ["自注意力 MHA"] * 3),
            (HEADS, LORA, ["MHA LoRA"] * 3),
        ]
        # the same, by trying every simple path
        best = min(
            nx.all_simple_paths(built.graph, SELF, LORA),
            key=lambda keys: sum(built.graph.edges[e]["distance"] for e in itertools.pairwise(keys)),
        )
        assert best == [SELF, HEADS, LORA]


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (SELF, LORA, "nothing in the library links"),
        (LORA, SELF, "nothing in the library links"),
        (SELF, "RAG", "does not mention 检索增强生成"),
        (SELF, "self-attention", "same concept"),
        (SELF, "自注意", "did you mean .*自注意力"),
    ],
)
def test_there_is_no_path(graph: ConceptGraph, a: str, b: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        graph.path(a, b)


def test_below_the_threshold_a_shared_passage_still_links(graph: ConceptGraph) -> None:
    assert not nx.has_path(graph.graph, HEADS, CACHE)
    steps = graph.path(HEADS, CACHE)
    assert [(s.a.key, s.b.key, s.passages[0].text) for s in steps] == [
        (HEADS, SELF, PASSAGES[0]),
        (SELF, ROPE, PASSAGES[2]),
        (ROPE, CACHE, PASSAGES[3]),
    ]


def test_a_page(graph: ConceptGraph) -> None:
    page = graph.page("MHA")
    assert (page.concept.key, page.mentions) == (HEADS, 2)
    assert [p.text for p in page.passages] == PASSAGES[:2]
    assert [(n.concept.key, n.count) for n in page.neighbours] == [(SELF, 2)]
    assert graph.page("RAG").mentions == 0  # known, but not in these notes
    with pytest.raises(UsageError, match="did you mean"):
        graph.page("RoPEE")


def test_a_page_prefers_passages_below_a_heading_of_the_concept(tmp_path: Path) -> None:
    more = parsed("a.md", ["RoPE RoPE RoPE", "RoPE"])
    below = parsed("b.md", ["RoPE 的一段很长很长的说明"], headings=("位置", "旋转位置编码"))
    with small_library(tmp_path, more, below) as library:
        page = ConceptGraph.build(library, Glossary.parse(GLOSSARY)).page("RoPE")
    assert [p.text for p in page.passages] == ["RoPE 的一段很长很长的说明", "RoPE RoPE RoPE", "RoPE"]


def test_pairs_with_the_question_about_it_come_first(tmp_path: Path) -> None:
    pairs = [("怎样省时间?", "用 KV cache。"), ("KV 缓存是什么?", "留下键和值。"), ("RoPE 呢?", "")]
    with small_library(tmp_path, parsed("a.md", [], pairs)) as library:
        built = ConceptGraph.build(library, Glossary.parse(GLOSSARY))
        assert [q.question for q in built.page("KV cache").pairs] == ["KV 缓存是什么?", "怎样省时间?"]
        assert [q.question for q in built.page("RoPE").pairs] == ["RoPE 呢?"]


def test_concepts_in_use_and_passages_of(graph: ConceptGraph) -> None:
    assert [(c.key, n) for c, n in graph.concepts_in_use()] == [(SELF, 3), (CACHE, 2), (LORA, 2), (HEADS, 2), (ROPE, 2)]
    assert len(graph.passages_of(LORA)) == 1
    assert graph.passages_of(RAG) == []
    assert graph.concepts_of(graph.passages_of(HEADS)[1]) == [HEADS, SELF]


def test_nearest_concepts(graph: ConceptGraph) -> None:
    def near(question: str, k: int = 2) -> list[str]:
        return [c.key for c in graph.nearest_concepts(question, k)]

    assert near("RoPE 和 LoRA 有什么关系?") == [ROPE, LORA]  # named, in the order of the question
    assert near("为什么要冻结权重,只训练增量?", 1) == [LORA]  # by the words of the definition
    assert near("how are keys and values kept while decoding?", 1) == [CACHE]
    assert near("先检索外部文档再回答", 1) == [RAG]  # not in these notes, but nothing else fits
    assert near("今天天气怎么样") == []


def test_neighbourhood(tmp_path: Path) -> None:
    hub = "中心"
    names = [hub, *(f"近{i}" for i in range(6)), "远一", "远二"]
    glossary = Glossary.of([Concept(n, n, "", (), "k", "a", "d", "d") for n in names])
    # 近0 most often with the hub, 近5 least often; 远一 with 近0, 远二 with 近1
    texts = [t for i in range(6) for t in [f"中心 近{i}"] * (8 - i)] + ["近0 远一"] * 3 + ["近1 远二"] * 2 + ["空"] * 300
    with small_library(tmp_path, parsed("a.md", texts)) as library:
        built = ConceptGraph.build(library, glossary)
    small = built.neighbourhood(hub, limit=3)
    assert [(k, ring) for k, _, _, ring in small.nodes] == [(hub, 0), ("近0", 1), ("近1", 1), ("远一", 2)]
    assert {frozenset(e[:2]) for e in small.edges} == {frozenset(e) for e in [(hub, "近0"), (hub, "近1"), ("近0", "远一")]}
    everything = built.neighbourhood(hub, limit=20)
    assert [k for k, *_ in everything.nodes] == [hub, "近0", "近1", "近2", "近3", "近4", "近5", "远一", "远二"]
    assert all(isinstance(name, str) and count > 0 for _, name, count, _ in everything.nodes)
    assert len(built.neighbourhood(hub, limit=7).nodes) == 8  # room the second ring left is filled


def test_the_graph_belongs_to_a_generation(library: Library, graph: ConceptGraph) -> None:
    assert graph.generation == library.generation()
    publish(library, parsed("more.md", ["RAG 与 LoRA"]))
    assert graph.generation != library.generation()
    again = ConceptGraph.build(library, graph.glossary)
    assert again.page("RAG").mentions == 1
    publish(library, removed=["notes.md", "more.md"])
    empty = ConceptGraph.build(library, graph.glossary)
    assert (list(empty.graph), empty.concepts_in_use(), empty.neighbourhood(ROPE).nodes) == ([], [], [(ROPE, ROPE, 0, 0)])


def test_threads_may_share_it(graph: ConceptGraph) -> None:
    results: list[object] = []

    def read() -> None:
        results.append((graph.page(SELF), graph.nearest_concepts("冻结权重", 3)))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(r == results[0] for r in results)
