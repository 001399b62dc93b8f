"""A cut that a person restored stays restored, whatever happens to the file."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.cleaning.clean import clean, clean_again, raw_text
from ingest.cleaning.corrections import Corrections, corrections, corrections_of
from ingest.cleaning.restoring import cut_out, listed_cuts, recleaned, restore, undo
from ingest.document import Document
from ingest.errors import UsageError
from ingest.pipeline import ingest
from ingest.storage.checks import problems
from ingest.storage.library import Library
from tests.fakes import WordEmbedder
from tests.labelled_pages import pages
from web.cli import main

PAGE = (
    "缓存笔记\n\n阅读量 120\n\n键和值留在缓存里，解码时不再重算，每一步只算新的一个 token。\n\n推荐阅读\n\n位置编码小结\n\n"
    "想要更多资料，欢迎关注公众号，进群一起学习"
)


class Loader:
    def __init__(self) -> None:
        self.embedder = WordEmbedder()

    def __call__(self) -> WordEmbedder:
        return self.embedder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.txt").write_text(PAGE, "utf-8")
    (folder / "b.txt").write_text("另一篇\n\n量化之后显存变小，精度稍微下降，按通道量化更好。", "utf-8")
    return folder


@pytest.fixture
def library(tmp_path: Path, folder: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as library:
        ingest(library, [folder], Loader())
        yield library


def test_a_restored_cut_stands_in_the_text_again(library: Library) -> None:
    before = library.document("a.txt")
    assert [cut.reason for cut in listed_cuts(before)] == ["counters", "navigation", "promotion"]
    loader = Loader()
    correction = restore(library, "a.txt", 3, loader)
    after = library.document("a.txt")
    assert after.text == before.text + "\n\n想要更多资料，欢迎关注公众号，进群一起学习"
    assert raw_text(after.text, after.cuts) == PAGE
    assert correction.reason == "promotion" and corrections(library, "a.txt") == [correction]
    assert loader.embedder.encoded == [library.all_passages("a.txt")[0].embedding_text]
    assert problems(library) == []


def test_what_was_restored_outlives_ingest_renaming_and_editing(library: Library, folder: Path) -> None:
    restore(library, "a.txt", "欢迎关注公众号", Loader())
    (folder / "a.txt").rename(folder / "c.txt")
    assert ingest(library, [folder], Loader()).renamed == ("c.txt",)
    (folder / "c.txt").write_text(PAGE.replace("缓存笔记", "缓存的笔记"), "utf-8")
    assert ingest(library, [folder], Loader()).updated == ("c.txt",)
    text = library.document("c.txt").text
    assert text.startswith("缓存的笔记") and text.endswith("进群一起学习")
    assert "推荐阅读" not in text
    assert corrections_of(library, "a.txt").keep == frozenset()


def test_ingest_and_restoring_give_the_same_document(library: Library, folder: Path) -> None:
    restore(library, "a.txt", 2, Loader())
    cut_out(library, "a.txt", 0, 2, Loader())
    restored = library.document("a.txt")
    found = corrections_of(library, "a.txt")
    again = clean(PAGE, "text", keep=found.keep, drop=found.drop)
    assert (restored.text, restored.cuts) == (again.text, again.cuts)
    assert "推荐阅读\n\n位置编码小结" in restored.text and "缓存笔记" not in restored.text


def test_undo_gives_the_document_of_before(library: Library) -> None:
    before = library.document("a.txt")
    first = restore(library, "a.txt", 1, Loader())
    at = library.document("a.txt").text.index("键和值")
    second = cut_out(library, "a.txt", at, at + 2, Loader())
    assert "键和值" not in library.document("a.txt").text
    undo(library, second.id, Loader())
    undo(library, first.id, Loader())
    after = library.document("a.txt")
    assert (after.text, after.cuts) == (before.text, before.cuts)
    assert corrections(library) == []


def test_a_part_of_a_line_is_restored(library: Library, folder: Path) -> None:
    (folder / "d.md").write_text("# 图\n\n结构见下图。![结构](a.png)注意箭头，它指向缓存的下一层。", "utf-8")
    ingest(library, [folder], Loader())
    before = library.document("d.md")
    correction = restore(library, "d.md", 1, Loader())
    assert library.document("d.md").text.endswith("结构见下图。![结构](a.png)注意箭头，它指向缓存的下一层。")
    undo(library, correction.id, Loader())
    assert library.document("d.md").cuts == before.cuts


def test_pages_survive() -> None:
    raw = "页眉一\n第一页的正文在这里，说的是缓存。\n页眉二\n第二页的正文在这里，说的是位置。"
    furniture = [(0, 3, "navigation"), (raw.index("页眉二"), raw.index("页眉二") + 3, "navigation")]
    cleaned = clean(raw, "text", furniture)
    pages = (cleaned.offset(0), cleaned.offset(raw.index("页眉二")))
    document = Document("a.pdf", "/a.pdf", "甲", cleaned.text, "0", "pdf", "utf-8", cleaned.cuts, (), pages)
    assert document.page_at(cleaned.text.index("第二页")) == 2
    after = recleaned(document, Corrections(keep=frozenset(["页眉二"]))).document
    assert after.text == "第一页的正文在这里，说的是缓存。\n页眉二\n第二页的正文在这里，说的是位置。"
    assert [after.page_at(after.text.index(part)) for part in ("第一页", "页眉二", "第二页")] == [1, 2, 2]


def test_wrong_use(library: Library) -> None:
    with pytest.raises(UsageError, match="has 3 cuts"):
        restore(library, "a.txt", 4, Loader())
    with pytest.raises(UsageError, match="holds this text"):
        restore(library, "a.txt", "没有这句话", Loader())
    with pytest.raises(UsageError, match="has no span"):
        cut_out(library, "a.txt", 5, 5, Loader())
    with pytest.raises(UsageError, match="no correction 99"):
        undo(library, 99, Loader())
    assert corrections(library) == []


def test_cleaning_again_with_the_same_corrections_changes_nothing() -> None:
    for page in pages("cleaning_development.txt"):
        cleaned = clean(page.text, page.format)
        again = clean_again(raw_text(cleaned.text, cleaned.cuts), cleaned.cuts)
        assert (again.text, again.cuts) == (cleaned.text, cleaned.cuts), page.name


def test_a_short_line_is_kept_only_beside_others_of_its_block() -> None:
    raw = "标题写在这里\n\n赞同 12\n评论\n分享\n\n正文在这里，说的是缓存怎样变小，怎样变快。\n\n上一篇\n评论\n下一篇"
    kept = clean(raw, "text", keep=frozenset(["赞同 12\n评论\n分享"]))
    assert kept.text == "标题写在这里\n\n赞同 12\n评论\n分享\n\n正文在这里，说的是缓存怎样变小，怎样变快。"


def test_show_numbers_the_cuts_and_keep_names_wrong_ones(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(library.folder)
    correction = restore(library, "a.txt", 1, Loader())
    assert main(["show", "a.txt", "--library", folder]) == 0
    shown = capsys.readouterr().out
    assert "--- cut 1 (站内导航): 推荐阅读 位置编码小结" in shown
    assert "--- cut 2 (推广与引流): 想要更多资料" in shown
    assert f"--- restored (correction {correction.id}): 阅读量 120" in shown
    assert main(["show", "a.txt", "--json", "--library", folder]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [cut["number"] for cut in value["numbered_cuts"]] == [1, 2]
    assert [found["block"] for found in value["corrections"]] == ["阅读量 120"]
    assert main(["keep", "a.txt", "9", "--library", folder]) == 2
    assert "has 2 cuts" in capsys.readouterr().err
    assert main(["keep", "b.txt", str(correction.id), "--undo", "--library", folder]) == 2


@pytest.mark.parametrize("ending", ["", "\n", "\n\n"])
def test_undo_is_exact_for_every_cut_and_ending(tmp_path: Path, ending: str) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.txt").write_text(PAGE + ending, "utf-8")
    with Library.open(tmp_path / "library", create=True) as library:
        ingest(library, [notes], Loader())
        before = library.document("a.txt").text
        for number in range(1, len(listed_cuts(library.document("a.txt"))) + 1):
            correction = restore(library, "a.txt", number, Loader())
            assert library.document("a.txt").text != before
            undo(library, correction.id, Loader())
            assert library.document("a.txt").text == before
        assert problems(library) == []
