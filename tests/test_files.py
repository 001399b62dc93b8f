"""Which files a folder holds, and what is said of those that are not read."""

import os
import socket
from pathlib import Path

import pytest

from ingest.errors import MianpuError, UsageError
from ingest.sources import files, opening
from ingest.sources.opening import FileReader, FoundFile


def names(found: files.FoundFiles) -> list[str]:
    return [file.name for file in found.files]


def test_unreadable_files_give_one_clear_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty.md"
    empty.write_bytes(b"\xef\xbb\xbf\n  \n")
    pipe = tmp_path / "pipe.md"
    os.mkfifo(pipe)
    other = tmp_path / "notes.docx"
    other.write_bytes(bytes(range(256)) * 8)
    for path, words in (
        (empty, "empty"),
        (pipe, "not a regular file"),
        (tmp_path / "none.md", "No such file"),
        (other, "its name says docx, its content does not"),
    ):
        with pytest.raises(MianpuError, match=words) as caught:
            files.read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_above_the_limit_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_BYTES", 100)
    path = tmp_path / "big.txt"
    path.write_bytes(b"x" * 100)
    assert files.read(path).text == "x" * 100
    path.write_bytes(b"x" * 101)
    with pytest.raises(MianpuError, match="larger than"):
        files.read(path)
    path.write_bytes(b"%PDF-1.7 " + b"x" * 101)
    assert len(opening.read_bytes(path)) == 110  # a document is mostly pictures and may be larger


def test_a_file_that_grows_while_it_is_read_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_BYTES", 100)
    path = tmp_path / "log.txt"
    path.write_bytes(b"x" * 101)
    monkeypatch.setattr(os, "fstat", lambda descriptor: os.stat_result((0,) * 10))
    with pytest.raises(MianpuError, match="grew while it was read"):
        files.read(path)


def test_a_file_is_hashed_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_CHUNK", 10)
    path = tmp_path / "a.md"
    path.write_bytes(bytes(100) + b"text " * 30_000)
    with FileReader() as reader:
        assert reader.hash(FoundFile(path, "a.md", None)) == opening.raw_hash(path.read_bytes())


def test_a_folder_is_walked_in_order(tmp_path: Path) -> None:
    for name in ("b.md", "a.txt", "sub/c.markdown", ".hidden.md", ".git/d.md", "README", "LICENSE", "run.py", "1.问题", "x.foo"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    (tmp_path / "figure.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "dead.md").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.md")
    found = files.find_files([tmp_path])
    assert names(found) == ["1.问题", "README", "a.txt", "b.md", "sub/c.markdown"]
    assert found.roots == (tmp_path,)
    assert {(Path(path).name, reason) for path, reason in found.skipped} == {
        ("figure.png", "a picture: pictures, sound and film are not read"),
        ("LICENSE", "source code or data: name the file itself to read it as text"),
        ("run.py", "source code or data: name the file itself to read it as text"),
        ("x.foo", "text under the suffix .foo: name the file itself to read it as text"),
        ("dead.md", "a link to nothing (No such file or directory): mend or remove it"),
        ("loop", "a link to a folder that is read already: nothing is missing"),
        ("pipe.md", "not a regular file but a FIFO: copy its content into one"),
    }
    assert found.failed == ()


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "note.md").write_text("text")
    (tmp_path / "a" / "b").symlink_to(tmp_path / "a")
    (tmp_path / "self.md").symlink_to(tmp_path / "self.md")
    found = files.find_files([tmp_path])
    assert names(found) == ["a/note.md"]
    assert [Path(path).name for path, _ in (*found.failed, *found.skipped)] == ["self.md", "b"]


def test_a_socket_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be long
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.md")
        assert files.find_files([tmp_path]).skipped[0][1].startswith("not a regular file but a socket")
        with pytest.raises(MianpuError, match="not a regular file"):
            files.read(tmp_path / "s.md")


def test_a_named_file_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    code = tmp_path / "attention.py"
    code.write_text("# 注意力\n# 的\n# 实现\nprint(1)\n", "utf-8")
    picture = tmp_path / "figure.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    found = files.find_files([code, picture])
    assert names(found) == ["attention.py"]
    assert found.failed == ((str(picture), "a picture: pictures, sound and film are not read"),)
    assert found.skipped == ()
    assert files.read(code).format == "text"  # its comments are no headings


def test_the_parts_of_a_saved_page_are_not_notes(tmp_path: Path) -> None:
    for name in ("页.html", "页_files/frame.html", "页_files/a.js", "other_files/b.html"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("<html><p>text</p></html>")
    found = files.find_files([tmp_path])
    assert names(found) == ["other_files/b.html", "页.html"]
    assert found.skipped == ((str(tmp_path / "页_files"), "the parts of the saved page 页.html"),)


def test_a_single_file_keeps_its_own_name_unless_its_folder_is_given_too(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    note = tmp_path / "sub" / "a.md"
    note.write_text("text")
    assert names(files.find_files([note])) == ["a.md"]
    for paths in ([note, tmp_path], [tmp_path, note]):
        assert names(files.find_files(paths)) == ["sub/a.md"]


def test_a_path_that_does_not_exist_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="check the path"):
        files.find_files([tmp_path / "nothing"])


@pytest.mark.parametrize("name", [b"\xff\xfe.md", b"two\nlines.md", b"bell\x07"])
def test_a_file_name_that_is_not_text_is_reported(tmp_path: Path, name: bytes) -> None:
    (tmp_path / os.fsdecode(name)).write_text("text")
    found = files.find_files([tmp_path])
    assert not found.files
    path, reason = found.failed[0]
    assert "rename it" in reason
    assert path.isprintable() and path.isascii()
