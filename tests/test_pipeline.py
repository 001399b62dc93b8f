"""An ingest does what changed and nothing else."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ingest import pipeline
from ingest.document import ParsedDocument
from ingest.errors import Interrupted, LibraryBusy, UsageError
from ingest.pipeline import IngestSummary, ingest
from ingest.storage.checks import problems
from ingest.storage.library import Library
from ingest.storage.vectors import Vectors
from tests.fakes import WordEmbedder
from tests.pdf_maker import column, make_pdf
from tests.test_readers_pdf import LEFT, RIGHT


class Loader:
    """Counts how often the model was loaded, and what it embedded."""

    def __init__(self, fingerprint: str = "words") -> None:
        self.loads = 0
        self.embedder = WordEmbedder()
        self.embedder.fingerprint = fingerprint

    def __call__(self) -> WordEmbedder:
        self.loads += 1
        return self.embedder


def note(topic: str, count: int = 2) -> str:
    parts = [f"### {topic}的第{i}个问题是什么？\n\n{topic}的第{i}个答案，讲的是注意力与缓存。\n" for i in range(1, count + 1)]
    return f"# {topic}\n\n" + "\n".join(parts)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as library:
        yield library


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.md").write_text(note("甲"), "utf-8")
    (folder / "b.txt").write_text(note("乙"), "utf-8")
    (folder / "sub" / "c.md").write_text(note("丙"), "utf-8")
    return folder


def names(library: Library) -> list[str]:
    return [document.name for document in library.documents()]


def run(library: Library, *paths: Path, loader: Loader | None = None) -> IngestSummary:
    summary = ingest(library, paths, loader or Loader())
    assert problems(library) == []
    return summary


def test_a_folder_is_ingested(library: Library, folder: Path) -> None:
    loader = Loader()
    summary = run(library, folder, loader=loader)
    assert summary.added == ("a.md", "b.txt", "sub/c.md") == tuple(names(library))
    assert (summary.passages, summary.pairs, summary.embedded) == (6, 6, 12)
    assert set(summary.seconds) == {"read", "clean", "split", "embed", "write", "total"}
    assert loader.loads == 1
    assert library.document("sub/c.md").title == "丙"
    assert library.document("a.md").source == str(folder / "a.md")


def test_what_did_not_change_is_not_touched(library: Library, folder: Path) -> None:
    run(library, folder)
    generation = library.generation()
    loader = Loader()
    summary = run(library, folder, loader=loader)
    assert summary.unchanged == ("a.md", "b.txt", "sub/c.md")
    assert not (summary.added or summary.updated or summary.renamed or summary.removed or summary.embedded)
    assert loader.loads == 0
    assert library.generation() == generation


def test_nothing_that_is_slow_to_load_is_imported_before_it_is_needed() -> None:
    code = "import sys, ingest.pipeline; sys.exit(bool({'torch', 'sentence_transformers', 'jieba'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False).returncode == 0


def test_only_new_texts_are_embedded(library: Library, folder: Path) -> None:
    run(library, folder)
    with (folder / "a.md").open("a", encoding="utf-8") as file:
        file.write("\n### 新的问题是什么？\n\n新的答案。\n")
    loader = Loader()
    summary = run(library, folder, loader=loader)
    assert summary.updated == ("a.md",)
    assert summary.unchanged == ("b.txt", "sub/c.md")
    assert sorted(loader.embedder.encoded) == sorted(["甲\n新的问题是什么？\n\n新的答案。", "新的问题是什么？"])


def test_another_version_of_the_pipeline_makes_every_document_again(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(library, folder)
    monkeypatch.setattr(pipeline, "PIPELINE", "next")
    loader = Loader()
    assert run(library, folder, loader=loader).updated == ("a.md", "b.txt", "sub/c.md")
    assert loader.loads == 0  # the texts are the same, so are their embeddings


def test_a_file_that_moved_keeps_its_passages(library: Library, folder: Path) -> None:
    run(library, folder)
    before = [p.id for p in library.all_passages("a.md")]
    (folder / "a.md").rename(folder / "sub" / "z.md")
    loader = Loader()
    summary = run(library, folder, loader=loader)
    assert (summary.renamed, summary.removed, summary.added, loader.loads) == (("sub/z.md",), (), (), 0)
    assert [p.id for p in library.all_passages("sub/z.md")] == before


def test_a_folder_that_moved_keeps_its_documents(library: Library, folder: Path) -> None:
    run(library, folder)
    moved = folder.rename(folder.with_name("elsewhere"))
    (moved / "b.txt").write_text(note("新乙"), "utf-8")
    summary = run(library, moved)
    assert names(library) == ["a.md", "b.txt", "sub/c.md"]
    assert (summary.renamed, summary.updated) == (("a.md", "b.txt", "sub/c.md"), ("b.txt",))
    assert library.document("a.md").source == str(moved / "a.md")


def test_files_may_swap_their_names(library: Library, folder: Path) -> None:
    run(library, folder)
    first, second = (folder / "a.md").read_bytes(), (folder / "b.txt").read_bytes()
    (folder / "a.md").write_bytes(second)
    (folder / "b.txt").write_bytes(first)
    summary = run(library, folder)
    assert summary.updated == ("a.md", "b.txt")
    assert (library.document("a.md").title, library.document("b.txt").title) == ("乙", "甲")
    (folder / "a.md").rename(folder / "new.md")
    (folder / "sub" / "c.md").rename(folder / "a.md")
    summary = run(library, folder)
    assert sorted(summary.updated + summary.renamed + summary.added) == ["a.md", "new.md"]
    assert (library.document("a.md").title, library.document("new.md").title) == ("丙", "乙")


def test_documents_of_a_folder_that_are_gone_are_removed(library: Library, folder: Path) -> None:
    run(library, folder)
    (folder / "a.md").unlink()
    summary = run(library, folder / "b.txt")
    assert (summary.removed, names(library)) == ((), ["a.md", "b.txt", "sub/c.md"])  # a single file removes nothing
    summary = run(library, folder / "sub")
    assert summary.removed == () and "a.md" in names(library)  # it did not lie below that folder
    summary = run(library, folder)
    assert summary.removed == ("a.md",)
    assert "a.md" not in names(library)


def test_a_file_that_cannot_be_read_is_reported_and_keeps_its_document(library: Library, folder: Path) -> None:
    run(library, folder)
    (folder / "a.md").write_bytes(b"\x00\x01\x02" * 500)
    (folder / "empty.md").write_text("")
    (folder / "only.md").write_text("点赞\n收藏\n添加红包\n")
    os.mkfifo(folder / "pipe.md")
    summary = run(library, folder)
    reasons = {Path(path).name: reason for path, reason in summary.failed}
    assert reasons.keys() == {"a.md", "empty.md", "only.md"}
    assert "binary" in reasons["a.md"] and "empty" in reasons["empty.md"] and "nothing is left" in reasons["only.md"]
    assert not any(str(folder) in reason for reason in reasons.values())
    assert [Path(path).name for path, _ in summary.skipped] == ["pipe.md"]
    assert summary.skipped[0][1].startswith("not a regular file but a FIFO")
    assert library.document("a.md").title == "甲"
    assert summary.added == summary.updated == ()


def test_the_same_content_twice_is_one_document(library: Library, folder: Path) -> None:
    (folder / "copy.md").write_bytes((folder / "a.md").read_bytes())
    summary = run(library, folder)
    assert summary.duplicates == ((str(folder / "copy.md"), "a.md"),)
    assert names(library) == ["a.md", "b.txt", "sub/c.md"]
    assert run(library, folder).duplicates == summary.duplicates
    (folder / "a.md").unlink()
    summary = run(library, folder)
    assert (summary.renamed, summary.duplicates) == (("copy.md",), ())


def test_copies_of_what_cannot_be_read_are_failures_too(library: Library, folder: Path) -> None:
    for name in ("x.md", "y.md"):
        (folder / name).write_bytes(b"\x00\x01\x02" * 500)
    summary = run(library, folder)
    assert summary.duplicates == ()
    reasons = {Path(path).name: reason for path, reason in summary.failed}
    assert "binary" in reasons["x.md"] and "x.md, which could not be read" in reasons["y.md"]


def test_a_copy_of_a_document_from_elsewhere_is_a_duplicate(library: Library, folder: Path, tmp_path: Path) -> None:
    run(library, folder)
    other = tmp_path / "other.md"
    other.write_bytes((folder / "a.md").read_bytes())
    assert run(library, other).duplicates == ((str(other), "a.md"),)
    assert names(library) == ["a.md", "b.txt", "sub/c.md"]


def test_a_document_that_becomes_a_copy_goes(library: Library, folder: Path) -> None:
    run(library, folder)
    (folder / "b.txt").write_bytes((folder / "a.md").read_bytes())
    summary = run(library, folder)
    assert summary.removed == ("b.txt",)
    assert summary.duplicates == ((str(folder / "b.txt"), "a.md"),)


def test_two_sources_of_one_name_get_their_folders_before_it(library: Library, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "more"
    other.mkdir()
    (other / "a.md").write_text(note("丁"), "utf-8")
    run(library, folder)
    assert run(library, other).added == ("more/a.md",)
    assert run(library, other, folder).unchanged == ("more/a.md", "a.md", "b.txt", "sub/c.md")
    single = tmp_path / "more2" / "a.md"
    single.parent.mkdir()
    single.write_text(note("戊"), "utf-8")
    assert run(library, single).added == ("more2/a.md",)
    (folder / "a.md").unlink()
    summary = run(library, folder, other)
    assert summary.removed == ("a.md",)
    assert "more/a.md" in names(library)


def test_a_single_file_takes_the_name_below_its_folder_when_that_is_ingested(library: Library, folder: Path) -> None:
    run(library, folder / "sub" / "c.md")
    assert names(library) == ["c.md"]
    loader = Loader()
    summary = run(library, folder / "sub" / "c.md", folder / "sub", loader=loader)
    assert summary.unchanged == ("c.md",) and loader.loads == 0
    summary = run(library, folder)
    assert (summary.renamed, summary.added) == (("sub/c.md",), ("a.md", "b.txt"))


def test_another_model_embeds_everything_again(library: Library, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.md"
    other.write_text(note("丁"), "utf-8")
    run(library, folder, other)
    loader = Loader("new")
    summary = ingest(library, [folder], loader, fingerprint="new")
    assert summary.unchanged == ("a.md", "b.txt", "sub/c.md")
    assert (summary.embedded, loader.loads) == (16, 1)  # also the document that was not named
    assert library.meta("embedding_model") == "new"
    assert problems(library) == []
    assert ingest(library, [folder], loader, fingerprint="new").embedded == 0


def test_a_model_change_that_was_interrupted_is_completed(library: Library, folder: Path) -> None:
    run(library, folder)
    library.use_embedder("words 2", WordEmbedder.dimension)
    assert problems(library) != []
    loader = Loader("words 2")
    assert run(library, folder, loader=loader).embedded == 12


class Stopping(WordEmbedder):
    """Asks to stop after a number of batches."""

    def __init__(self, stop: threading.Event, batches: int) -> None:
        super().__init__()
        self.stop, self.left = stop, batches

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        self.left -= 1
        if self.left == 0:
            self.stop.set()
        return super().encode_passages(texts)


def test_a_stop_keeps_what_was_done(library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "BATCH", 2)
    stop = threading.Event()
    with pytest.raises(Interrupted, match="run the same command") as caught:
        ingest(library, [folder], lambda: Stopping(stop, 2), stop=stop)
    assert "4 embeddings" in str(caught.value)
    assert problems(library) == []
    loader = Loader()
    assert run(library, folder, loader=loader).embedded == 8
    assert names(library) == ["a.md", "b.txt", "sub/c.md"]


def test_ctrl_c_is_one_clear_line(library: Library, folder: Path) -> None:
    def load() -> WordEmbedder:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="stopped"):
        ingest(library, [folder], load)
    with library.writer():
        pass  # the right to write was given back


def test_documents_are_published_in_groups(library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "GROUP", 3)
    run(library, folder)
    assert library.generation() == 3  # the model, two documents, the third


def test_progress_ends_at_its_total(library: Library, folder: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    ingest(library, [folder], Loader(), lambda stage, done, total: calls.append((stage, done, total)))
    last = {stage: (done, total) for stage, done, total in calls}
    assert last.pop("splitting")[1] == 3  # documents are counted only until something is embedded
    assert last == {"reading": (3, 3), "embedding": (12, 12)}
    calls.clear()
    (folder / "d.md").write_bytes((folder / "a.md").read_bytes() + b"\n")
    ingest(library, [folder], Loader(), lambda stage, done, total: calls.append((stage, done, total)))
    assert {stage: (done, total) for stage, done, total in calls} == {"reading": (4, 4), "splitting": (1, 1)}


def test_the_total_is_guessed_from_bytes_and_right_in_the_end(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "GROUP", 1)
    for topic in "丁戊己庚辛壬":
        (folder / f"{topic}.md").write_text(note(topic), "utf-8")
    calls: list[tuple[int, int]] = []
    ingest(library, [folder], Loader(), lambda stage, done, total: calls.append((done, total)) if stage == "embedding" else None)
    assert calls[-1] == (36, 36)
    assert calls == sorted(calls, key=lambda call: call[0])
    assert all(30 <= total <= 42 for _, total in calls)  # files of like size: the first guess is near already


def test_memory_holds_one_group_and_not_the_folder(library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents that were published are let go: of forty, no more than a group is ever alive."""
    monkeypatch.setattr(pipeline, "GROUP", 4)
    most = 0
    parse = pipeline.parse_document

    def alive() -> int:
        gc.collect()
        return sum(type(thing) is ParsedDocument for thing in gc.get_objects())

    before = alive()  # what other tests keep

    def watched(*arguments: Any) -> ParsedDocument:
        nonlocal most
        most = max(most, alive() - before)
        return parse(*arguments)

    monkeypatch.setattr(pipeline, "parse_document", watched)
    for n in range(40):
        (folder / f"{n:02}.md").write_text(note(f"第{n}篇"), "utf-8")
    assert len(run(library, folder).added) == 43
    assert 1 <= most <= 4  # a note has at least one passage, a group at most four notes


def test_wrong_paths_and_a_second_ingest_are_refused(library: Library, folder: Path) -> None:
    with pytest.raises(UsageError, match="check the path"):
        ingest(library, [folder / "nothing"], Loader())
    with Library.open(library.folder) as second, second.writer(), pytest.raises(LibraryBusy):
        ingest(library, [folder], Loader())


# --- lines that several documents have --------------------------------------------------------------------------------

SLOGAN = "苍山夜读 · 每天一点机器学习的光"


def write_page(folder: Path, n: int, footer: str = SLOGAN) -> None:
    bodies = ("注意力把每个位置与别的位置联系起来，权重由相似度决定，这是它的核心。", "量化把权重写成低位整数，显存因此小得多，精度略有损失。",
              "检索先找到资料，再让模型根据资料回答，幻觉因此少得多。", "采样温度越高，分布越平，输出的花样也就越多一些。")  # fmt: skip
    (folder / f"{n}.md").write_text(f"# 第{n}篇笔记\n\n{bodies[n % 4]}\n\n{bodies[n % 4][::-1]}\n\n{footer}\n", "utf-8")


def slogans(library: Library) -> list[str]:
    return [d.name for d in library.documents() if SLOGAN in library.document(d.name).text]


def test_a_line_of_three_documents_is_furniture_and_no_longer_when_one_goes(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    with Library.open(tmp_path / "library", create=True) as library:
        write_page(notes, 0)
        write_page(notes, 1)
        ingest(library, [notes], WordEmbedder)
        assert slogans(library) == ["0.md", "1.md"]
        write_page(notes, 2)
        ingest(library, [notes], WordEmbedder)
        assert slogans(library) == []
        assert {cut.reason for cut in library.document("0.md").cuts} >= {"repeated"}
        assert problems(library) == []
        write_page(notes, 3, "另一行结尾，与别的都不同")
        ingest(library, [notes], WordEmbedder)
        assert slogans(library) == []
        (notes / "1.md").unlink()
        ingest(library, [notes], WordEmbedder)
        assert slogans(library) == ["0.md", "2.md"]
        assert problems(library) == []


def test_the_order_of_ingest_does_not_matter_for_repetition(tmp_path: Path) -> None:
    texts = []
    for order in ([0, 1, 2], [2, 0, 1]):
        notes = tmp_path / f"notes{order[0]}"
        notes.mkdir()
        with Library.open(tmp_path / f"library{order[0]}", create=True) as library:
            for n in order:
                write_page(notes, n)
                ingest(library, [notes], WordEmbedder)
            texts.append({d.name: library.document(d.name).text for d in library.documents()})
    assert texts[0] == texts[1]


def test_a_file_with_scanned_pages_is_read_and_named(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "part.pdf").write_bytes(make_pdf([column(50, 100, LEFT), [], column(50, 100, RIGHT)]))
    with Library.open(tmp_path / "library", create=True) as library:
        summary = ingest(library, [notes], WordEmbedder)
        assert summary.added == ("part.pdf",)
        assert summary.incomplete == ((str(notes / "part.pdf"), summary.incomplete[0][1]),)
        assert summary.incomplete[0][1].startswith("pages 2 hold no text")
        assert [p.page for p in library.all_passages()][-1] in (1, 3)
