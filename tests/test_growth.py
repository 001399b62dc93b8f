"""The measure of growth: its corpus is what it says, and a step costs what the one before did."""

from pathlib import Path

import numpy as np

from assistant.measures.growth import StandIn, measure_growth, write_corpus
from ingest.pipeline import ingest
from ingest.progress import no_progress
from ingest.storage.library import Library


def test_the_corpus_has_the_passages_it_says_and_no_copies(tmp_path: Path) -> None:
    write_corpus(tmp_path / "notes", 200)
    with Library.open(tmp_path / "library", create=True) as library:
        summary = ingest(library, [tmp_path / "notes"], StandIn)
        assert (summary.passages, summary.pairs) == (200, 200)
        assert library.read("SELECT count(*) FROM passages WHERE copy_of != id") == [(0,)]
        lengths = [len(p.text) for p in library.all_passages()]
        assert 260 <= np.median(lengths) <= 340


def test_the_stand_in_gives_unit_vectors_that_depend_on_the_text_alone() -> None:
    values = StandIn().encode_passages(["甲", "乙", "甲"])
    assert np.array_equal(values[0], values[2]) and not np.array_equal(values[0], values[1])
    assert np.allclose(np.linalg.norm(values, axis=1), 1.0, atol=1e-5)


def test_the_report_has_a_row_for_every_size() -> None:
    report = measure_growth(no_progress, (20, 60))
    assert list(report) == ["20 passages", "60 passages", "linear"]
    row = report["60 passages"]
    assert isinstance(row, dict)
    assert set(row) == {
        "ms_per_passage", "processor_ms", "read_ms", "clean_ms", "split_ms", "embed_ms", "write_ms", "again_s", "peak_mb", "disk_mb",
    }  # fmt: skip
