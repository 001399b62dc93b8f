"""What a folder may hold besides notes: each has a stated limit and a clear line, and the rest of the folder is still ingested.

Every case runs end to end: a folder with one sound note and the trouble beside it.
"""

import io
import os
import socket
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.pipeline import IngestSummary, ingest, parse_document
from ingest.sources import reading
from ingest.sources.files import read
from ingest.storage.checks import problems
from ingest.storage.library import Library
from tests.fakes import WordEmbedder
from tests.timing import in_step, processor_seconds

NOTE = "# 缓存\n\n## 缓存是什么？\n\n键与值留下来，解码时不再重算，这就是缓存。\n"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as library:
        yield library


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "sound.md").write_text(NOTE, "utf-8")
    return folder


def run(library: Library, folder: Path) -> IngestSummary:
    """Ingest, and again: the sound note is there, nothing is silent, and the second time says the same."""
    summary = ingest(library, [folder], WordEmbedder)
    assert "sound.md" in summary.added
    assert problems(library) == []
    for _, reason in (*summary.failed, *summary.skipped):
        assert ": " in reason and "\n" not in reason, reason
    again = ingest(library, [folder], WordEmbedder)
    assert set(again.unchanged) == set(summary.added)
    assert (set(again.failed), set(again.skipped)) == (set(summary.failed), set(summary.skipped))
    return summary


def reasons(summary: IngestSummary, folder: Path) -> dict[str, str]:
    return {path.removeprefix(f"{folder}/"): reason for path, reason in (*summary.failed, *summary.skipped)}


def large_file(path: Path, size: int) -> Path:
    """A file of letters as large as wanted that takes no room on disk behind its first block."""
    with path.open("wb") as file:
        file.write(b"text\n" * 800)
        file.truncate(size)
    return path


def test_a_text_of_500_mb_is_not_read(library: Library, folder: Path) -> None:
    large_file(folder / "huge.txt", 500 * 1024**2)
    with zipfile.ZipFile(folder / "huge.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("sound too.md", "# 注意力\n\n注意力的正文。")
        with archive.open("huge.md", "w") as member:
            for _ in range(60):
                member.write(os.urandom(1 << 15) * 32)
    started = time.perf_counter()
    summary = run(library, folder)
    assert time.perf_counter() - started < 20
    assert "huge.zip/sound too.md" in summary.added
    assert reasons(summary, folder) == {
        "huge.txt": "is larger than 50 MB: split it into smaller files",
        "huge.zip/huge.md": "is larger than 50 MB: split it into smaller files",
    }


def test_memory_does_not_grow_with_a_file_that_is_refused(tmp_path: Path) -> None:
    large_file(tmp_path / "huge.txt", 500 * 1024**2)
    (tmp_path / "large.pdf").write_bytes(b"%PDF-1.7\n" + bytes(100 * 1024**2))
    code = (
        "import resource, sys; from pathlib import Path; from ingest.sources.files import find_files; from ingest.sources.opening import FileReader\n"
        "from ingest.errors import MianpuError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for file in find_files([Path(sys.argv[1])]).files:\n"
        "    try: print(FileReader().hash(file))\n"
        "    except MianpuError as error: print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    *lines, grown = done.stdout.split("\n")[:-1]
    assert len(lines) == 2 and "larger than 50 MB" in lines[0]
    assert int(grown) < 30  # MB: both files are met piece by piece


def test_a_zip_bomb_is_refused_and_named(library: Library, folder: Path) -> None:
    zeros = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = b"".join(zeros.compress(bytes(1 << 20)) for _ in range(300)) + zeros.flush()
    name, size = b"bomb.txt", 300 << 20
    common = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, 0, len(body), size, len(name), 0)
    directory = b"PK\x01\x02\x14\x00" + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(directory), 30 + len(name) + len(body), 0)
    bomb = b"PK\x03\x04" + common + name + body + directory + end
    (folder / "bomb.zip").write_bytes(bomb)
    (folder / "bomb.docx").write_bytes(bomb)
    with zipfile.ZipFile(folder / "outer.zip", "w") as archive:
        archive.writestr("inner.zip", bomb)
    found = reasons(run(library, folder), folder)
    assert found.keys() == {"bomb.zip", "bomb.docx", "outer.zip/inner.zip"}
    assert all("which only a zip bomb does: it is not read" in reason for reason in found.values())


def test_a_path_outside_the_folder_in_an_archive_is_refused(library: Library, folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("../outside.md", NOTE)
        archive.writestr("/tmp/absolute.md", NOTE)
        archive.writestr("inside.md", "# 量化\n\n量化的正文。")
    summary = run(library, folder)
    assert summary.added == ("a.zip/inside.md", "sound.md")
    assert {reason for _, reason in summary.failed} == {"points outside the archive: it is not read"}
    assert not (tmp_path / "outside.md").exists() and not (folder / "inside.md").exists()


def test_loops_of_links_end(library: Library, folder: Path) -> None:
    (folder / "up").symlink_to(folder)
    (folder / "self.md").symlink_to(folder / "self.md")
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    summary = run(library, folder)
    assert summary.added == ("sound.md",)
    assert reasons(summary, folder).keys() == {"up", "self.md", "a", "b"}


def test_special_files_are_named_and_never_opened(library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "fifo.md")
    (folder / "device.md").symlink_to("/dev/zero")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.md")
        summary = run(library, folder)
    found = reasons(summary, folder)
    assert {name: reason.split(":")[0] for name, reason in found.items()} == {
        "fifo.md": "not a regular file but a FIFO",
        "device.md": "not a regular file but a device",
        "socket.md": "not a regular file but a socket",
    }


def test_an_unreadable_file_and_folder_are_named(library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "locked.md").write_text(NOTE)
    (folder / "locked").mkdir()
    (folder / "locked" / "a.md").write_text(NOTE)
    true_open, true_scan = os.open, os.scandir

    def allowed(path: object) -> bool:
        if "locked" in str(path):  # tests may run as root, whom no permission stops
            raise PermissionError(13, "Permission denied", path)
        return True

    monkeypatch.setattr(os, "open", lambda path, *rest: allowed(path) and true_open(path, *rest))
    monkeypatch.setattr(os, "scandir", lambda path: allowed(path) and true_scan(path))
    found = reasons(run(library, folder), folder)
    assert found == {
        "locked.md": "cannot be read (Permission denied): give yourself the right to read it",
        "locked": "cannot be read (Permission denied): give yourself the right to read it",
    }


def test_long_names_and_paths(library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ("名" * 84 + ".md")).write_text("# 长名\n\n正文一", "utf-8")  # 255 bytes, the most that a name on disk can have
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("名" * 99 + ".md", "# 更长的名\n\n正文二")  # 300 bytes
    monkeypatch.chdir(folder)
    for _ in range(25):  # 5,000 bytes of folders: no program can name what lies at their end
        os.mkdir("f" * 200)
        os.chdir("f" * 200)
    Path("deep.md").write_text(NOTE)
    summary = run(library, folder)
    assert set(summary.added) == {"sound.md", "名" * 84 + ".md", "a.zip/" + "名" * 99 + ".md"}
    assert [reason for _, reason in summary.failed] == ["cannot be read (File name too long): move it to a shorter path"]


def test_nul_bytes_and_binary_data(library: Library, folder: Path) -> None:
    (folder / "few.md").write_bytes("# 位置\n\n位置编码\x00的正文，\x00足够长。".encode())
    (folder / "many.md").write_bytes(bytes(5000))
    (folder / "binary.txt").write_bytes(bytes(range(256)) * 20)
    summary = run(library, folder)
    assert "few.md" in summary.added and "\ufffd" in library.document("few.md").text
    assert "\x00" not in library.document("few.md").text
    found = reasons(summary, folder)
    assert found.keys() == {"many.md", "binary.txt"}
    assert "empty" in found["many.md"] and "binary" in found["binary.txt"]


def test_a_file_of_more_than_a_million_lines_is_refused(library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "many.txt").write_text("缓存\n" * 1_000_001, "utf-8")
    (folder / "blank.txt").write_text("\n" * 5_000_000 + "缓存", "utf-8")
    started = time.perf_counter()
    assert reasons(run(library, folder), folder) == {
        "many.txt": "more than 1,000,000 lines: split it into smaller files",
        "blank.txt": "more than 1,000,000 lines: split it into smaller files",
    }
    assert time.perf_counter() - started < 120
    monkeypatch.setattr(reading, "MAX_LINES", 10)
    assert len(reading.parse(Path("a.txt"), b"line\n" * 9 + b"line").text.split("\n")) == 10


def test_a_text_of_many_lines_takes_time_in_step_with_its_length() -> None:
    def seconds(lines: int) -> float:
        data = "".join(f"第{i}行讲缓存与位置，损失为{i % 97}。\n" for i in range(lines)).encode()
        return processor_seconds(lambda: parse_document(Path("/a.txt"), "a.txt", data), rounds=1)

    seconds(100)  # tables are made
    assert in_step(seconds, 4_000, times=10, slack=4)  # a square would be ten


def test_a_page_nested_100_000_deep(library: Library, folder: Path) -> None:
    deep = "<div>" * 100_000 + "<p>深处的正文讲注意力与缓存。</p>" + "</div>" * 100_000
    (folder / "deep.html").write_text(f"<!doctype html><html><body>{deep}</body></html>", "utf-8")
    (folder / "open.html").write_text("<!doctype html><html><body>" + "<b><i><span>" * 40_000 + "正文讲位置与量化。", "utf-8")
    started = time.perf_counter()
    summary = run(library, folder)
    assert time.perf_counter() - started < 60
    for name in ("deep.html", "open.html"):
        if name in summary.added:
            assert "正文" in library.document(name).text
        else:
            assert name in reasons(summary, folder)


def test_a_pdf_with_a_password(library: Library, folder: Path) -> None:
    (folder / "locked.pdf").write_bytes(ENCRYPTED_PDF)
    assert "password" in reasons(run(library, folder), folder)["locked.pdf"]


def test_an_office_document_that_is_none(library: Library, folder: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr("word/document.xml", "no XML")
    (folder / "broken.docx").write_bytes(buffer.getvalue())
    (folder / "cut.docx").write_bytes(buffer.getvalue()[:-40])
    assert reasons(run(library, folder), folder).keys() == {"broken.docx", "cut.docx"}


# A page with the standard security handler (RC4, 40 bits) whose keys belong to no empty password.
ENCRYPTED_PDF = (
    b"%PDF-1.4\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n2 0 obj\n<</Type/Pages/Kids[3 0 R]/Count 1>>\nendobj\n"
    b"3 0 obj\n<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]>>\nendobj\n"
    b"4 0 obj\n<</Filter/Standard/V 1/R 2/P -4/O<" + b"11" * 32 + b">/U<" + b"22" * 32 + b">>>\nendobj\n"
    b"trailer\n<</Root 1 0 R/Encrypt 4 0 R/ID[<" + b"33" * 16 + b"><" + b"33" * 16 + b">]/Size 5>>\n%%EOF\n"
)


def test_the_summary_counts_what_was_not_read(library: Library, folder: Path) -> None:
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    (folder / "a.doc").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    (folder / "b.py").write_text("print(1)")
    (folder / "empty.md").write_text("")
    summary = run(library, folder)
    assert len(summary.skipped) == 3 and len(summary.failed) == 1
    with pytest.raises(Exception, match="an old Office or WPS document: save it as"):
        read(folder / "a.doc")
