"""Traditional and Simplified, full width and half width: what differs only in writing is one thing to every search."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.models.embedding import load_embedder
from ingest.storage.fulltext import words
from ingest.variants import simplified
from kg.concepts import Glossary

TRADITIONAL = "多頭注意力機制與鍵值快取佔用多少顯存？"
SIMPLIFIED = "多头注意力机制与键值快取占用多少显存？"


def test_characters_become_simplified_one_by_one() -> None:
    assert simplified(TRADITIONAL) == SIMPLIFIED
    assert simplified(SIMPLIFIED) == SIMPLIFIED


@given(st.text())
def test_offsets_hold(text: str) -> None:
    assert len(simplified(text)) == len(text)


def test_a_second_time_changes_nothing() -> None:
    once = simplified("".join(map(chr, range(0x3400, 0xA000))))
    assert simplified(once) == once


def test_the_full_text_index_knows_no_difference() -> None:
    assert words(TRADITIONAL) == words(SIMPLIFIED)
    assert words("ＫＶ　ｃａｃｈｅ（１６位）") == words("KV cache(16位)")


def test_concepts_are_found_in_either_script() -> None:
    glossary = Glossary.load()
    found = [(m.concept, m.start, m.end) for m in glossary.find(SIMPLIFIED)]
    assert found
    assert [(m.concept, m.start, m.end) for m in glossary.find(TRADITIONAL)] == found
    assert glossary.require("注意力機制") == glossary.require("注意力机制")


@pytest.mark.model
def test_vectors_know_no_difference() -> None:
    embedder = load_embedder()
    one, other = embedder.encode_questions([TRADITIONAL, SIMPLIFIED])
    assert np.array_equal(one, other)
