"""A library from an earlier Mianpu: the page embeds it again before it opens, and loses nothing."""

from pathlib import Path

import pytest

from ingest.pipeline import ingest
from ingest.progress import no_progress
from ingest.storage.library import Library
from tests.fakes import WordEmbedder
from web.server import renew_vectors


@pytest.fixture
def library(tmp_path: Path) -> Library:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.md").write_text("# 缓存\n\n缓存 显存。", encoding="utf-8")
    library = Library.open(tmp_path / "library", create=True)
    ingest(library, [notes], WordEmbedder)
    return library


def test_the_same_model_with_newer_codes_embeds_everything_again(library: Library) -> None:
    newer = WordEmbedder()
    newer.fingerprint = "words+t9"
    passages = [p.text for p in library.all_passages()]
    assert renew_vectors(library, newer, no_progress)
    assert library.meta("embedding_model") == "words+t9"
    assert [p.text for p in library.all_passages()] == passages and len(newer.encoded) >= len(passages)
    assert not library.unembedded()
    assert not renew_vectors(library, newer, no_progress)


def test_another_model_is_left_to_whoever_named_it(library: Library) -> None:
    other = WordEmbedder()
    other.fingerprint = "another@1"
    assert not renew_vectors(library, other, no_progress)
    assert library.meta("embedding_model") == "words" and not other.encoded
