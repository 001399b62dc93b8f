"""A backup is the library of one moment in one file; a restore puts it in place whole or not at all."""

import json
import sqlite3
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.errors import LibraryBusy, MianpuError, UsageError
from ingest.storage.backup import backup, restore
from ingest.storage.checks import problems
from ingest.storage.library import Library
from tests.small_library import parsed, publish
from web.cli import main


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as library:
        publish(library, parsed("a.md", ["第一段。"], [("什么？", "某物。")]), parsed("b.md", ["第二段。"]))
        uploads = library.folder / "uploads"
        uploads.mkdir()
        (uploads / "a.md").write_text("原文", "utf-8")
        (uploads / "link.md").symlink_to("/etc/hostname")
        with library.transaction() as connection:
            connection.execute("UPDATE documents SET source = ? WHERE name = 'a.md'", (str(uploads / "a.md"),))
        yield library


def content(library: Library) -> list[object]:
    return [
        *library.read("SELECT id, name, text FROM documents"),
        *library.all_passages(),
        *library.all_pairs(),
        library.nearest_passages(library.vectors_of([1])[0], 9),
    ]


def test_there_and_back(library: Library, tmp_path: Path) -> None:
    file = tmp_path / "saved.zip"
    assert backup(library, file) == file.stat().st_size
    assert sorted(zipfile.ZipFile(file).namelist()) == ["library.db", "mianpu-backup.json", "uploads/a.md"]
    restore(file, tmp_path / "new" / "place")
    with Library.open(tmp_path / "new" / "place") as again:
        assert content(again) == content(library)
        assert problems(again) == []
        assert [d.source for d in again.documents()] == [str(tmp_path / "new" / "place" / "uploads" / "a.md"), "/notes/b.md"]
        assert (again.folder / "uploads" / "a.md").read_text("utf-8") == "原文"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_backup_replaces_nothing_unless_told(library: Library, tmp_path: Path) -> None:
    file = tmp_path / "saved.zip"
    file.write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        backup(library, file)
    assert file.read_text() == "mine"
    backup(library, file, force=True)
    assert zipfile.is_zipfile(file)
    with pytest.raises(UsageError, match="is not a folder"):
        backup(library, tmp_path / "no" / "saved.zip")


def test_a_backup_is_of_one_moment_while_others_write(library: Library, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            publish(library, parsed("c.md", [f"第{n}版的一段。", f"第{n}版的另一段。"]))
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for n in range(5):
            backup(library, tmp_path / f"{n}.zip")
            restore(tmp_path / f"{n}.zip", tmp_path / f"again-{n}")
            with Library.open(tmp_path / f"again-{n}") as again:
                assert problems(again) == []
    finally:
        stop.set()
        writer.join()


def test_a_full_disk_leaves_no_half_backup(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(MianpuError, match="No space left on device"):
            backup(library, tmp_path / "saved.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["library"]


def test_a_restore_replaces_nothing_unless_told_and_keeps_what_is_not_ours(library: Library, tmp_path: Path) -> None:
    file, other = tmp_path / "saved.zip", tmp_path / "other"
    backup(library, file)
    with Library.open(other, create=True) as old:
        publish(old, parsed("old.md", ["旧的。"]))
    with pytest.raises(UsageError, match="is not empty"):
        restore(file, other)
    with Library.open(other) as old, pytest.raises(LibraryBusy, match="open"):
        restore(file, other, force=True)
    with Library.open(other) as old:
        assert [d.name for d in old.documents()] == ["old.md"]
    assert restore(file, other, force=True) == []
    with Library.open(other) as again:
        assert [d.name for d in again.documents()] == ["a.md", "b.md"]
    (other / "thesis.txt").write_text("mine")
    (note,) = restore(file, other, force=True)
    kept = next(path for path in tmp_path.iterdir() if path.name.startswith("other.before-"))
    assert str(kept) in note and (kept / "thesis.txt").read_text() == "mine"
    stranger = tmp_path / "photos"
    stranger.mkdir()
    (stranger / "a.jpg").write_text("x")
    with pytest.raises(UsageError, match="no library"):
        restore(file, stranger, force=True)
    (tmp_path / "empty").mkdir()
    restore(file, tmp_path / "empty")


def test_a_damaged_library_can_be_replaced(library: Library, tmp_path: Path) -> None:
    backup(library, tmp_path / "saved.zip")
    other = tmp_path / "other"
    other.mkdir()
    (other / "library.db").write_bytes(b"no database at all, but long enough" * 99)
    restore(tmp_path / "saved.zip", other, force=True)
    with Library.open(other) as again:
        assert problems(again) == []


def rewritten(file: Path, **changes: bytes | None) -> Path:
    """The backup with entries replaced (None: left out); further names are added."""
    made = file.with_name("changed.zip")
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(made, "w") as target:
        entries = {name: source.read(name) for name in source.namelist()}
        for name, data in {**entries, **changes}.items():
            if data is not None:
                target.writestr(name, data)
    return made


def test_what_is_no_whole_backup_changes_nothing(library: Library, tmp_path: Path) -> None:
    file, target = tmp_path / "saved.zip", tmp_path / "target"
    backup(library, file)
    data = file.read_bytes()
    with sqlite3.connect(tmp_path / "broken.db") as broken:
        broken.deserialize(zipfile.ZipFile(file).read("library.db"))
        broken.execute("UPDATE passages SET line = 99")
        broken.commit()
        unsound = broken.serialize()
    broken.close()
    cut, flipped, text = tmp_path / "cut.zip", tmp_path / "flipped.zip", tmp_path / "text.zip"
    cut.write_bytes(data[: len(data) // 2])
    flipped.write_bytes(data[:400] + bytes([data[400] ^ 255]) + data[401:])
    text.write_text("not a zip")
    for bad, words in (
        (cut, "not a whole backup"),
        (flipped, "not a whole backup"),
        (text, "not a whole backup"),
        (tmp_path / "none.zip", "No such file"),
        (rewritten(file, **{"library.db": None}), "holds no library"),
    ):
        with pytest.raises(MianpuError, match=words):
            restore(bad, target)
    for changes, words in (
        ({"library.db": b"not a database" * 99}, "damaged"),
        ({"library.db": unsound}, "does not hold together"),
        ({"mianpu-backup.json": json.dumps({"format": 9}).encode()}, "newer Mianpu"),
        ({"mianpu-backup.json": b"{"}, "not a whole backup"),
        ({"uploads/../../evil": b"x"}, "does not belong"),
        ({"/etc/evil": b"x"}, "does not belong"),
        ({"other.txt": b"x"}, "does not belong"),
    ):
        with pytest.raises(MianpuError, match=words):
            restore(rewritten(file, **changes), target)
    assert not target.exists() and not (tmp_path / "evil").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_commands(library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, file = str(library.folder), str(tmp_path / "saved.zip")
    assert main(["export", "--library", folder]) == 2
    assert "--backup FILE" in capsys.readouterr().err
    assert main(["export", "--backup", file, "--library", folder]) == 0
    assert main(["export", "--backup", file, "--library", folder]) == 2
    assert main(["restore", file, "--library", str(tmp_path / "again")]) == 0
    assert "2 documents with 3 passages" in capsys.readouterr().out
    assert main(["restore", file, "--library", str(tmp_path / "again")]) == 2
    assert main(["restore", file, "--library", str(tmp_path / "again"), "--force", "--json"]) == 0
    assert main(["doctor", "--repair", "--library", str(tmp_path / "again")]) == 0
