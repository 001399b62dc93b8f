"""Ranking with vectors, words and concepts that can be worked out by hand."""

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from assistant.retrieval.candidates import Candidates
from assistant.retrieval.confidence import answerable_features, probability
from assistant.retrieval.question import Query
from assistant.retrieval.ranking import FEATURES, Ranking, scaled, shipped_ranking, totals
from assistant.retrieval.search import search
from assistant.retrieval.selection import best_of_parts, select
from ingest.document import Passage
from ingest.storage.bm25 import WordMatch
from ingest.storage.library import Library, passage_hash, question_hash
from kg.concepts import Glossary
from kg.graph import ConceptGraph
from tests.fakes import WordEmbedder
from tests.small_library import GLOSSARY, parsed

CACHE = "缓存把键和值留下,显存随长度增长。"
NORM = "归一化让训练稳定。"
PLACE = "位置信息要写进输入。"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    embedder = WordEmbedder()
    documents = [
        parsed("cache.md", [CACHE]),
        parsed("norm.md", [NORM]),
        parsed("place.md", [PLACE], [("RoPE 怎样写入位置？", "把查询和键旋转一个角度。")]),
    ]
    library = Library.open(tmp_path, create=True)
    library.use_embedder(embedder.fingerprint, embedder.dimension)
    for document in documents:
        texts = [p.embedding_text for p in document.passages]
        library.put_embeddings([passage_hash(t) for t in texts], embedder.encode_passages(texts))
        questions = [q.question for q in document.pairs]
        library.put_embeddings([question_hash(q) for q in questions], embedder.encode_questions(questions))
    library.publish(documents, "test")
    return library


@pytest.fixture
def graph(library: Library) -> ConceptGraph:
    return ConceptGraph.build(library, Glossary.parse(GLOSSARY))


def test_the_passage_about_the_question_comes_first(library: Library, graph: ConceptGraph) -> None:
    result = search("缓存占多少显存", library, WordEmbedder(), graph, k=3)
    assert result.hits[0].passage.text == CACHE
    assert result.hits[0].scores["dense"] == 0.0 and all(hit.scores["dense"] <= 0 for hit in result.hits)
    assert [hit.score for hit in result.hits] == sorted((hit.score for hit in result.hits), reverse=True)


def test_a_pair_lends_its_question_to_the_passage_that_answers_it(library: Library, graph: ConceptGraph) -> None:
    result = search("RoPE 怎样写入位置？", library, WordEmbedder(), graph, k=3)
    best = result.hits[0]
    assert best.pair is not None and best.pair.answer == "把查询和键旋转一个角度。"
    assert best.scores["question"] == pytest.approx(1.0, abs=1e-5)
    assert best.scores["concept"] == 1.0  # RoPE is named, and mentioned there


def test_a_question_about_something_else_is_less_answerable(library: Library, graph: ConceptGraph) -> None:
    known = search("缓存占多少显存", library, WordEmbedder(), graph)
    other = search("上海明天下雨吗", library, WordEmbedder(), graph)
    assert known.answerable > other.answerable
    assert not other.answered


def test_an_empty_library_answers_nothing(tmp_path: Path) -> None:
    with Library.open(tmp_path / "empty", create=True) as library:
        result = search("缓存", library, WordEmbedder(), ConceptGraph.build(library, Glossary.parse(GLOSSARY)))
    assert result.hits == () and not result.answered


def test_syntax_in_a_question_is_only_text(library: Library, graph: ConceptGraph) -> None:
    assert search('" OR NEAR( * : ^ 缓存', library, WordEmbedder(), graph).hits
    assert search("？！", library, WordEmbedder(), graph) is not None


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def raw(**given: np.ndarray) -> dict[str, np.ndarray]:
    return {name: given.get(name, column(0.0, 0.0)) for name in FEATURES}


def candidates() -> Candidates:
    found = raw(dense=column(0.6, 0.4), text=column(2.0, 4.0), question=column(0.93, 0.5), concept=column(0.0, 1.0))
    query = Query("alpha", {"alpha": 1.0}, ("moe", "rope"), (), ("alpha",), {}, False)
    mentions = (frozenset[str](), frozenset({"rope"}))
    passages = (Passage("d", 0, 1, "a"), Passage("d", 1, 2, "b"))
    return Candidates((1, 2), passages, found, column(0.9, 0.8), (), {}, mentions, {"moe": 0, "rope": 1}, query, 2)


def test_features_are_brought_to_one_scale() -> None:
    features = scaled(candidates().raw)
    assert features["dense"].tolist() == pytest.approx([0.0, -2.0])  # tenths below the best
    assert features["text"].tolist() == [0.5, 1.0]
    assert features["question"].tolist() == pytest.approx([0.5, 0.0])
    assert features["concept"].tolist() == [0.0, 1.0]
    assert features["walk"].tolist() == [0.0, 0.0]


def test_the_sum_is_weighed_and_a_feature_without_a_weight_counts_nothing() -> None:
    features = scaled(candidates().raw)
    assert totals(features, {"dense": 1.0, "text": 4.0}).tolist() == pytest.approx([2.0, 2.0])


def test_features_count_what_the_library_lacks() -> None:
    features = answerable_features(candidates(), column(1.0, 0.7), [0, 1])
    assert features["cosine"] == pytest.approx(1.0)
    assert features["lead"] == pytest.approx(0.5)  # .90 over a median of .85
    assert features["margin"] == pytest.approx(0.1)  # (1 - .7) / 3
    assert features["concepts_absent"] == 1.0 and features["words_absent"] == 1.0
    # MoE weighs ln(1 + 2 / 1) as does RoPE: one stands nowhere, the other in the second passage and not in the first.
    assert features["concepts_covered"] == pytest.approx(0.5)
    assert features["concepts_together"] == 0.0


def test_probability_is_the_logistic_of_the_weighted_sum_of_its_kind() -> None:
    ranking = Ranking({}, {}, {"cosine": 2.0, "intercept": -1.0}, {"cosine": 0.0, "intercept": 1.0}, 0.5)
    assert probability({"cosine": 0.5, "names_concepts": 1.0}, ranking) == 0.5
    assert probability({"cosine": 1.0, "names_concepts": 1.0}, ranking) == pytest.approx(1 / (1 + np.exp(-1.0)))
    assert probability({"cosine": 9.0, "names_concepts": 0.0}, ranking) == pytest.approx(1 / (1 + np.exp(-1.0)))


def test_the_best_passage_of_a_part_is_looked_for_among_the_first() -> None:
    parts = (column(0.1, 0.9, 0.0), column(0.8, 0.2, 0.9))
    assert best_of_parts([0, 1, 2], parts, 3) == {1, 2}
    assert best_of_parts([0, 1, 2], parts, 2) == {0, 1}
    assert best_of_parts([], parts, 2) == frozenset()


def test_what_each_feature_gave_adds_up_to_the_score(library: Library, graph: ConceptGraph) -> None:
    for hit in search("RoPE 怎样写入位置？", library, WordEmbedder(), graph).hits:
        assert sum(hit.gave.values()) == pytest.approx(hit.score, abs=1e-4)
        assert 0 < hit.odds <= 1


def test_the_selection_keeps_to_its_budget(library: Library, graph: ConceptGraph) -> None:
    result = search("缓存 显存 归一化 训练", library, WordEmbedder(), graph)
    assert 1 <= len(select(result, len, budget=900)) <= 3
    chosen = select(result, len, budget=len(result.hits[0].passage.embedding_text))
    assert [hit.passage.id for hit in chosen] == [result.hits[0].passage.id]
    assert select(result, lambda text: 1000, budget=900) == ()


def test_a_stored_question_needs_only_its_own_passages(library: Library, graph: ConceptGraph) -> None:
    result = search("RoPE 怎样写入位置？", library, WordEmbedder(), graph)
    (chosen,) = select(result, len)
    assert chosen.pair is not None and chosen.pair.question == "RoPE 怎样写入位置？"


def test_the_shipped_numbers_are_complete() -> None:
    ranking = shipped_ranking()
    assert set(ranking.weights) == set(ranking.weights_english) == set(FEATURES)
    assert all(weight >= 0 for weight in (*ranking.weights.values(), *ranking.weights_english.values()))
    assert set(ranking.named) == set(ranking.unnamed)
    assert 0 < ranking.threshold < ranking.sure < 1


COPIED = "缓存把算过的键和值留下，显存随着长度增长，所以长文本的推理总是先被显存卡住，批量也就开不大；量化缓存是常见的办法之一。"


def with_copies(library: Library, count: int) -> None:
    embedder = WordEmbedder()
    documents = [parsed(f"copy{n:02}.md", [COPIED if n else COPIED.replace("，", ", ")]) for n in range(count)]
    texts = [p.embedding_text for d in documents for p in d.passages]
    library.put_embeddings([passage_hash(t) for t in texts], embedder.encode_passages(texts))
    library.publish(documents, "test")


def test_copies_are_one_hit_that_names_every_source(library: Library, graph: ConceptGraph) -> None:
    with_copies(library, 3)
    result = search("缓存占多少显存", library, WordEmbedder(), graph)
    shown = [hit for hit in result.hits if hit.passage.document.startswith("copy")]
    assert len(shown) == 1
    assert {shown[0].passage.document, *(copy.document for copy in shown[0].also)} == {"copy00.md", "copy01.md", "copy02.md"}
    for copy in shown[0].also:
        assert library.document(copy.document).text[copy.start : copy.end].startswith("缓存把算过的")
    others = [hit for hit in result.hits if hit is not shown[0]]
    assert len(others) == 4 and all(hit.also == () for hit in others)


def test_many_copies_do_not_push_the_rest_out(library: Library, graph: ConceptGraph) -> None:
    with_copies(library, 90)
    hits = search("缓存 显存", library, WordEmbedder(), graph, k=5).hits
    assert [hit.passage.document[:4] for hit in hits if hit.also] == ["copy"] and len(hits[0].also or hits[1].also) == 89
    assert len(hits) == 5  # the group once, and the four other passages


def test_a_search_is_of_one_moment(library: Library, graph: ConceptGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document goes while a search is under way: the search still sees all of it, the next one nothing."""
    match = Library.match_fields

    def remove_first(self: Library, terms: Mapping[str, float], k: int) -> list[WordMatch]:
        worker = threading.Thread(target=lambda: library.publish([], "test", removed=["cache.md"]))
        worker.start()
        worker.join(0.5)
        return match(self, terms, k)

    with monkeypatch.context() as patched:
        patched.setattr(Library, "match_fields", remove_first)
        assert search("缓存占多少显存", library, WordEmbedder(), graph).hits[0].passage.text == CACHE
    assert CACHE not in [hit.passage.text for hit in search("缓存占多少显存", library, WordEmbedder(), graph).hits]
