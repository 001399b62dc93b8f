"""What a question asks for, by rule."""

from pathlib import Path

import pytest

from assistant.retrieval.question import ALIAS_WEIGHT, distance, understand
from ingest.storage.library import Library
from kg.concepts import Glossary
from kg.graph import ConceptGraph
from tests.small_library import parsed, small_library


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return small_library(tmp_path, parsed("a.md", ["rmsnorm 不减均值。", "RoPE 写入位置。"]))


@pytest.fixture
def graph(library: Library) -> ConceptGraph:
    return ConceptGraph.build(library, Glossary.load())


@pytest.mark.parametrize(("a", "b", "edits"), [("rmsnrom", "rmsnorm", 1), ("lora", "lora", 0), ("bert", "gpt", 3), ("", "ab", 2)])
def test_the_distance_of_two_words(a: str, b: str, edits: int) -> None:
    assert distance(a, b) == distance(b, a) == edits


def test_a_slip_is_mended_by_the_words_of_the_library(library: Library, graph: ConceptGraph) -> None:
    query = understand("rmsnrom 比 LN 省在哪儿", library, graph)
    assert query.text == "rmsnorm 比 LN 省在哪儿" and query.mended == {"rmsnrom": "rmsnorm"}
    assert "rmsnorm" in query.terms and "rmsnrom" not in query.strangers


def test_a_word_that_is_like_none_stays(library: Library, graph: ConceptGraph) -> None:
    query = understand("zeppelin 是什么", library, graph)
    assert query.text == "zeppelin 是什么" and query.strangers == ("zeppelin",)


def test_other_names_of_a_concept_count_less_than_its_own_words(library: Library, graph: ConceptGraph) -> None:
    query = understand("旋转位置编码的外推", library, graph)
    assert query.terms["rope"] == ALIAS_WEIGHT and query.terms["外推"] == 1.0


def test_a_comparison_has_a_part_for_each_side(library: Library, graph: ConceptGraph) -> None:
    query = understand("LoRA 和 QLoRA 的区别", library, graph)
    assert len(query.parts) == 2
    assert "QLoRA" not in query.parts[0] and "LoRA" in query.parts[0] and "QLoRA" in query.parts[1]
    assert understand("LoRA 是什么", library, graph).parts == ()


def test_the_second_of_two_questions_keeps_the_subject(library: Library, graph: ConceptGraph) -> None:
    query = understand("LoRA 为什么有效？秩一般取多少", library, graph)
    assert query.parts == ("LoRA 为什么有效", "LoRA 秩一般取多少")
