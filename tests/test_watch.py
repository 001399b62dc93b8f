"""Folders that are followed: what happens to a file happens to its document, a moment later."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ingest import watch
from ingest.pipeline import IngestSummary, ingest
from ingest.storage.checks import problems
from ingest.storage.library import Library
from ingest.watch import Watcher
from tests.fakes import WordEmbedder
from tests.test_pipeline import note


class Follower:
    """A watcher in a thread, its lines, and a way to wait for one."""

    def __init__(self, library: Library, *paths: Path) -> None:
        self.lines: list[str] = []
        self.runs = 0
        self.stop = threading.Event()

        def once(present: Sequence[Path]) -> IngestSummary:
            summary = ingest(library, present, WordEmbedder)
            self.runs += 1
            return summary

        self.watcher = Watcher(library.folder, paths, once, self.lines.append, self.stop)
        self.thread = threading.Thread(target=self.watcher.run)
        self.thread.start()

    def wait(self, ready: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < end, self.lines
            time.sleep(0.05)

    def said(self, line: str) -> None:
        self.wait(lambda: any(line in known for known in self.lines))

    def end(self) -> None:
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as library:
        yield library


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(watch, "DEBOUNCE_MS", 150)
    monkeypatch.setattr(watch, "_LOOK_MS", 200)
    monkeypatch.setattr(watch, "_AGAIN_S", 0.1)
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text(note("甲"), "utf-8")
    return folder


def test_files_come_change_move_and_go(library: Library, folder: Path) -> None:
    follower = Follower(library, folder)
    try:
        follower.said("added: a.md")
        (folder / "b.md").write_text(note("乙"), "utf-8")
        follower.said("added: b.md")
        (folder / "b.md").write_text(note("新乙"), "utf-8")
        follower.said("updated: b.md")
        (folder / "b.md").rename(folder / "c.md")
        follower.said("renamed: c.md")
        (folder / "a.md").unlink()
        follower.said("removed: a.md")
        (folder / "empty.md").write_text("")
        follower.said("empty.md: ")
        (folder / "d.md").write_text(note("丁"), "utf-8")
        follower.said("added: d.md")
        assert sum("empty.md" in line for line in follower.lines) == 1  # told once
    finally:
        follower.end()
    assert follower.watcher.summary() == "2 added, 1 updated, 1 renamed, 1 removed".replace("2 added", "3 added")
    assert [d.name for d in library.documents()] == ["c.md", "d.md"]
    assert problems(library) == []


def test_a_folder_that_vanishes_keeps_its_documents_and_is_followed_again(library: Library, folder: Path) -> None:
    follower = Follower(library, folder)
    try:
        follower.said("added: a.md")
        away = folder.rename(folder.with_name("away"))
        follower.said("is gone")
        assert [d.name for d in library.documents()] == ["a.md"]
        away.rename(folder)
        follower.said("is back")
        (folder / "b.md").write_text(note("乙"), "utf-8")
        follower.said("added: b.md")
    finally:
        follower.end()
    assert [d.name for d in library.documents()] == ["a.md", "b.md"]


def test_it_waits_for_another_writer_and_says_so(library: Library, folder: Path) -> None:
    with Library.open(library.folder) as other, other.writer():
        follower = Follower(library, folder)
        follower.said("waiting: another ingest")
        assert follower.runs == 0
    try:
        follower.said("added: a.md")
        assert sum("waiting" in line for line in follower.lines) == 1
    finally:
        follower.end()


def test_many_changes_are_one_ingest_and_the_library_itself_is_none(folder: Path) -> None:
    with Library.open(folder / "library", create=True) as library:
        follower = Follower(library, folder)
        try:
            follower.said("added: a.md")
            for n in range(20):
                (folder / f"{n}.md").write_text(note(f"第{n}"), "utf-8")
            follower.said("added: 19.md")
            time.sleep(1)
            assert follower.runs <= 4
            runs = follower.runs
            (folder / ".hidden.md").write_text("x")
            time.sleep(1)
            assert follower.runs == runs
        finally:
            follower.end()


def test_ctrl_c_ends_the_command_with_a_summary(tmp_path: Path) -> None:
    """The command itself, in its own process, with the model replaced."""
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.md").write_text(note("甲"), "utf-8")
    # A shell may have started the tests with Ctrl-C ignored, which every process below inherits.
    code = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from tests.fakes import WordEmbedder
from ingest.models import embedding, model_files
from pathlib import Path
embedding.load_embedder = lambda *a: WordEmbedder()
model_files.embedding_model_folder = lambda *a: Path("/")
embedding.model_fingerprint = lambda *a: "words"
from web.cli import main
sys.exit(main(sys.argv[1:]))
"""
    command = [sys.executable, "-c", code, "ingest", "--watch", str(notes), "--library", str(tmp_path / "library")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "added: a.md\n"
            time.sleep(1)
            os.kill(process.pid, signal.SIGINT)
            out, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, error
    assert "stopped following: 1 added" in out
    assert "Traceback" not in error
