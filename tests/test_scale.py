"""The generated libraries are libraries: their index is what an ingest would make of their texts; and the measure has every figure."""

from pathlib import Path

import pytest

from assistant.measures.scale import measure_scale
from assistant.measures.synthetic import Stock, fill
from ingest.progress import no_progress
from ingest.storage import postings
from ingest.storage.checks import problems
from ingest.storage.library import Library
from ingest.storage.rows import index_words
from kg.concepts import Glossary
from tests.fakes import WordEmbedder
from tests.small_library import GLOSSARY


@pytest.fixture(scope="module")
def stock() -> Stock:
    return Stock.of_starter_notes(WordEmbedder(), Glossary.parse(GLOSSARY), 300)


def test_the_index_is_that_of_an_ingest(tmp_path: Path, stock: Stock) -> None:
    """Words, lengths, mentions and vectors agree with the texts; only copies were not looked for."""
    glossary = Glossary.parse(GLOSSARY)
    with Library.open(tmp_path, create=True) as library:
        fill(library, stock, 95, WordEmbedder(), glossary, no_progress)
        assert library.passage_count() == 95 and len(library.documents()) == 10
        made = postings.prints(library.read)
        for document in library.documents():
            passages = library.all_passages(document.name)
            for passage, fields in zip(passages, index_words(passages, library.all_pairs(document.name)), strict=True):
                assert made[passage.id] == postings.print_of(fields)
        assert [line for line in problems(library) if "full text" in line or "vector" in line or "mention" in line] == []
        for passage in library.all_passages():
            rows = library.read('SELECT concept, start, "end" FROM mentions WHERE passage_id = ? ORDER BY start', (passage.id,))
            found = [(m.concept, passage.start + m.start, passage.start + m.end) for m in glossary.find(passage.text)]
            assert rows == found


def test_every_size_has_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stock: Stock) -> None:
    monkeypatch.setattr(Stock, "of_starter_notes", lambda *_: stock)
    report = measure_scale(tmp_path, (40, 60), WordEmbedder(), Glossary.parse(GLOSSARY), no_progress, 5)
    assert list(report) == ["40 passages", "60 passages"]
    row = report["60 passages"]
    assert isinstance(row, dict)
    assert set(row) == {"first", "vectors", "questions", "words", "search", "memory", "disk", "flat", "fts5", "fill"}
    assert row["flat"]["recall@10"] == 1.0 and row["search"]["p95_ms"] >= row["search"]["p50_ms"] > 0
