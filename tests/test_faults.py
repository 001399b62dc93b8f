"""Death and a full disk at every point at which a library touches the disk, one after the other; and readers beside a writer."""

import errno
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ingest import pipeline
from ingest.errors import MianpuError
from ingest.pipeline import ingest
from ingest.storage import postings
from ingest.storage.checks import problems
from ingest.storage.library import Library
from tests.fakes import WordEmbedder
from tests.faults import watched
from tests.test_kill import content
from tests.test_pipeline import note


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "GROUP", 3)
    monkeypatch.setattr(pipeline, "BATCH", 4)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Notes of which a library (``base``) holds an earlier state: an ingest updates, renames, removes and adds."""
    notes = tmp_path / "notes"
    notes.mkdir()
    for topic in "甲乙丙丁":
        (notes / f"{topic}.md").write_text(note(topic), "utf-8")
    with Library.open(tmp_path / "base", create=True) as base:
        ingest(base, [notes], WordEmbedder)
    (notes / "甲.md").write_text(note("新甲"), "utf-8")
    (notes / "乙.md").unlink()
    (notes / "丙.md").rename(notes / "戊.md")
    (notes / "己.md").write_text(note("己", 3), "utf-8")
    return notes


def documents(library: Library) -> list[tuple[str, str]]:
    return [(d.name, d.raw_hash) for d in library.documents()]


def run(folder: Path, notes: Path) -> None:
    with Library.open(folder, create=True) as library:
        ingest(library, [notes], WordEmbedder)


def points_of(folder: Path, notes: Path) -> list[str]:
    seen: list[str] = []
    with watched(seen.append):
        run(folder, notes)
    return seen


def test_death_at_every_point(tmp_path: Path, notes: Path) -> None:
    shutil.copytree(tmp_path / "base", tmp_path / "counted")
    points = points_of(tmp_path / "counted", notes)
    assert len(points) > 60 and {name.split(" ", 1)[1] for name in points} >= {"COMMIT", "write", "fsync", "replace", "unlink"}
    with Library.open(tmp_path / "counted") as library:
        expected = content(library)
    for number, name in enumerate(points):
        folder = tmp_path / "killed"
        shutil.copytree(tmp_path / "base", folder)
        child = os.fork()
        if child == 0:  # pragma: no cover - it dies
            left = number

            def die(_: str) -> None:
                nonlocal left
                if left == 0:
                    os._exit(99)
                left -= 1

            try:
                with watched(die):
                    run(folder, notes)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 99, name
        where = f"death {name} (point {number})"
        with Library.open(folder) as library:
            assert problems(library) == [], where
            run_again = ingest(library, [notes], WordEmbedder)
            assert run_again.failed == ()
            assert problems(library) == [], where
            assert content(library) == expected, where
        assert len(list(folder.glob("vectors-*.faiss"))) == 1, where
        shutil.rmtree(folder)


def test_an_error_at_every_point_is_one_line_and_leaves_a_sound_library(tmp_path: Path, notes: Path) -> None:
    """The disk is full at one operation: of the vector file (ENOSPC), or of SQLite (SQLITE_FULL at a commit)."""
    shutil.copytree(tmp_path / "base", tmp_path / "counted")
    points = points_of(tmp_path / "counted", notes)
    with Library.open(tmp_path / "counted") as library:
        expected = content(library)
    for number, name in enumerate(points):
        if name.startswith("after") or name.endswith("unlink"):
            continue
        folder = tmp_path / "full"
        shutil.copytree(tmp_path / "base", folder)
        left = number

        def fail(what: str) -> None:
            nonlocal left
            left -= 1
            if left == -1:
                if what.endswith(("COMMIT", "IMMEDIATE")):
                    error = sqlite3.OperationalError("database or disk is full")
                    error.sqlite_errorcode = sqlite3.SQLITE_FULL
                    raise error
                raise OSError(errno.ENOSPC, "No space left on device")

        with watched(fail):
            try:
                run(folder, notes)
            except MianpuError as error:
                assert "the disk is full" in str(error) and "\n" not in str(error), name
        with Library.open(folder) as library:
            assert problems(library) == [], f"full {name} (point {number})"
            ingest(library, [notes], WordEmbedder)
            assert content(library) == expected, f"full {name} (point {number})"
        shutil.rmtree(folder)


def test_a_database_that_cannot_grow(tmp_path: Path, notes: Path) -> None:
    """SQLite itself says that the disk is full, at one page after the other."""
    with Library.open(tmp_path / "base") as library:
        pages = int(library.read("PRAGMA page_count")[0][0])
    for topic in "庚辛壬癸":
        (notes / f"{topic}.md").write_text(note(topic, 20), "utf-8")
    complaints = 0
    for more in range(0, 40, 3):
        folder = tmp_path / f"full-{more}"
        shutil.copytree(tmp_path / "base", folder)
        with Library.open(folder) as library:
            with library.transaction() as connection:
                connection.execute(f"PRAGMA max_page_count = {pages + more}")
            try:
                ingest(library, [notes], WordEmbedder)
            except MianpuError as error:
                assert "the disk is full" in str(error)
                complaints += 1
            assert problems(library) == []
            assert library.vector_file_problem() is None
        with Library.open(folder) as library:
            assert problems(library) == []
            ingest(library, [notes], WordEmbedder)
            assert problems(library) == []
    assert complaints >= 3


def mounted(folder: Path, size: str) -> bool:
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of a fixed size; the test is skipped where none may be mounted."""
    folder = tmp_path / "disk"
    if not mounted(folder, "600k"):
        pytest.skip("mounting a file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_really_full(disk: Path, tmp_path: Path, notes: Path) -> None:
    """A file takes ever more of the disk: the library stays what it was, and grows when there is room again."""
    with Library.open(tmp_path / "base") as library:
        before = documents(library)
    complaints = 0
    ballast = disk / "ballast"
    for kilobytes in (0, 40, 80, 120, 160, 200, 240, 280):
        shutil.rmtree(disk / "library", ignore_errors=True)
        ballast.unlink(missing_ok=True)
        shutil.copytree(tmp_path / "base", disk / "library")
        with suppress(OSError):  # no room is left at all: that is tested too
            ballast.write_bytes(bytes(kilobytes * 1024))
        try:
            run(disk / "library", notes)
        except MianpuError as error:
            assert "\n" not in str(error)
            complaints += 1
        ballast.unlink()
        with Library.open(disk / "library") as library:
            assert problems(library) == []
            assert len(documents(library)) >= len(before) - 1  # the one that was removed may be gone
            subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
            ingest(library, [notes], WordEmbedder)
            assert problems(library) == []
        subprocess.run(["mount", "-o", "remount,size=600k", str(disk)], check=False)
    assert complaints >= 2


def test_readers_see_whole_states_and_never_wait(tmp_path: Path, notes: Path) -> None:
    """While documents come and go, every snapshot agrees with itself, here and through another connection."""
    for topic in "庚辛壬癸":
        (notes / f"{topic}.md").write_text(note(topic, 4), "utf-8")
    wrong: list[str] = []
    seen: set[int] = set()
    stop = threading.Event()
    run(tmp_path / "library", notes)

    def read(library: Library) -> None:
        question = WordEmbedder().encode_questions(["缓存"])[0]
        while not stop.is_set():
            with library.snapshot():
                generation = library.generation()
                passages = {p.id for p in library.all_passages()}
                words = {i for i, _ in library.match_words("注意力 缓存", 999)}
                near = {i for i, _ in library.nearest_passages(question, 999)}
                groups = library.groups(sorted(passages))
                if not passages == words == near == groups.keys():
                    wrong.append(f"generation {generation}: {len(passages)} passages, {len(words)} words, {len(near)} vectors")
                if not set(groups.values()) <= passages:
                    wrong.append(f"generation {generation}: a group's first copy is gone")
                library.vectors_of(sorted(passages))
                seen.add(generation)

    with Library.open(tmp_path / "library") as library, Library.open(tmp_path / "library") as other:
        readers = [threading.Thread(target=read, args=(shared,)) for shared in (library, library, other)]
        for reader in readers:
            reader.start()
        for turn in range(6):
            (notes / "甲.md").write_text(note(f"甲{turn}"), "utf-8")
            (notes / "庚.md").unlink() if turn % 2 else (notes / "庚.md").write_text(note("庚", 4), "utf-8")
            ingest(library, [notes], WordEmbedder)
        stop.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    assert len(seen) > 3


def test_a_reader_does_not_wait_for_a_transaction(tmp_path: Path, notes: Path) -> None:
    run(tmp_path / "library", notes)
    with Library.open(tmp_path / "library") as library:
        found: list[int] = []
        with library.transaction() as connection:
            postings.clear(connection)
            reader = threading.Thread(target=lambda: found.append(len(library.match_words("缓存", 99))))
            reader.start()
            reader.join(5)
            assert not reader.is_alive() and found[0] > 0  # what was before, at once
            assert library.match_words("缓存", 99) == []  # the writer sees what it wrote
            connection.execute("ROLLBACK")
            connection.execute("BEGIN")
        with library.snapshot(), pytest.raises(RuntimeError, match="only reads"), library.transaction():
            pass
