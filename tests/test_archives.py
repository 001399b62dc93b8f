"""Zip archives are folders of documents, and never more than that."""

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.errors import MianpuError
from ingest.pipeline import IngestSummary, ingest
from ingest.sources import archives, opening
from ingest.sources.archives import Archive, check_container
from ingest.sources.files import find_files
from ingest.sources.opening import FileReader
from ingest.storage.checks import problems
from ingest.storage.library import Library
from tests.fakes import WordEmbedder


def zipped(members: dict[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def raw_zip(members: list[tuple[bytes, bytes]], flags: int = 0, extra: bytes = b"") -> bytes:
    """A zip archive of stored members under names that are given as bytes."""
    body, directory = b"", b""
    for name, data in members:
        at = len(body)
        common = struct.pack("<HHHHHIIIHH", 20, flags, 0, 0, 33, zlib.crc32(data), len(data), len(data), len(name), len(extra))
        body += b"PK\x03\x04" + common + name + extra + data
        directory += b"PK\x01\x02\x14\x00" + common + struct.pack("<HHHII", 0, 0, 0, 0, at) + name + extra
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + end


def note(topic: str) -> str:
    return f"# {topic}\n\n## {topic}是什么？\n\n{topic}的答案,讲的是注意力与缓存。\n"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as library:
        yield library


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "笔记.zip").write_bytes(zipped({"甲.md": note("甲题"), "下/乙.md": note("乙")}))
    return folder


def run(library: Library, *paths: Path) -> IngestSummary:
    summary = ingest(library, paths, WordEmbedder)
    assert problems(library) == []
    return summary


def names(library: Library) -> list[str]:
    return [document.name for document in library.documents()]


def shown(path: Path) -> tuple[list[str], dict[str, str]]:
    """Names of the members that are read, and the reasons of those that are not."""
    found = find_files([path])
    return [file.name for file in found.files], {name: reason for name, reason in (*found.failed, *found.skipped)}


# --- as folders -----------------------------------------------------------------------------------------------------


def test_the_members_of_an_archive_are_documents(library: Library, folder: Path) -> None:
    summary = run(library, folder)
    assert summary.added == ("笔记.zip/下/乙.md", "笔记.zip/甲.md") == tuple(sorted(names(library)))
    assert library.document("笔记.zip/甲.md").source == f"{folder}/笔记.zip/甲.md"
    assert library.document("笔记.zip/甲.md").text.startswith("# 甲")
    assert set(run(library, folder).unchanged) == set(names(library))
    assert not list(folder.glob("*.md"))  # nothing was unpacked to disk


def test_what_changed_in_an_archive_is_done_again(library: Library, folder: Path) -> None:
    run(library, folder)
    kept = [passage.id for passage in library.all_passages("笔记.zip/甲.md")]
    (folder / "笔记.zip").write_bytes(zipped({"甲.md": note("甲题"), "下/乙.md": note("新乙"), "丙.md": note("丙")}))
    summary = run(library, folder)
    assert (summary.added, summary.updated, summary.unchanged) == (("笔记.zip/丙.md",), ("笔记.zip/下/乙.md",), ("笔记.zip/甲.md",))
    assert [passage.id for passage in library.all_passages("笔记.zip/甲.md")] == kept
    (folder / "笔记.zip").write_bytes(zipped({"改名.md": note("甲题"), "下/乙.md": note("新乙")}))
    summary = run(library, folder)
    assert (summary.renamed, summary.removed) == (("笔记.zip/改名.md",), ("笔记.zip/丙.md",))
    assert [passage.id for passage in library.all_passages("笔记.zip/改名.md")] == kept


def test_an_archive_that_moved_keeps_its_documents(library: Library, folder: Path) -> None:
    run(library, folder)
    (folder / "旧").mkdir()
    (folder / "笔记.zip").rename(folder / "旧" / "all.zip")
    summary = run(library, folder)
    assert set(summary.renamed) == {"旧/all.zip/甲.md", "旧/all.zip/下/乙.md"} == set(names(library))
    assert not (summary.added or summary.removed or summary.embedded)


def test_an_archive_that_is_gone_takes_its_documents_with_it(library: Library, folder: Path) -> None:
    run(library, folder)
    (folder / "笔记.zip").unlink()
    (folder / "z.md").write_text(note("丁"), "utf-8")
    assert run(library, folder / "z.md").removed == ()
    assert set(run(library, folder).removed) == {"笔记.zip/甲.md", "笔记.zip/下/乙.md"}


def test_an_archive_that_was_unpacked_moves_its_documents(library: Library, folder: Path) -> None:
    run(library, folder)
    (folder / "笔记.zip").unlink()
    (folder / "笔记").mkdir()
    (folder / "笔记" / "甲.md").write_text(note("甲题"), "utf-8")
    (folder / "笔记" / "下").mkdir()
    (folder / "笔记" / "下" / "乙.md").write_text(note("改过的乙"), "utf-8")
    summary = run(library, folder)
    assert (set(summary.renamed), summary.updated, summary.added) == ({"笔记/甲.md", "笔记/下/乙.md"}, ("笔记/下/乙.md",), ())


def test_a_copy_beside_its_archive_is_a_duplicate(library: Library, folder: Path) -> None:
    run(library, folder)
    (folder / "甲.md").write_text(note("甲题"), "utf-8")
    assert run(library, folder).duplicates == ((str(folder / "甲.md"), "笔记.zip/甲.md"),)
    assert run(library, folder / "甲.md").duplicates == ((str(folder / "甲.md"), "笔记.zip/甲.md"),)


def test_a_named_archive_is_a_folder_too(library: Library, folder: Path) -> None:
    path = folder / "笔记.zip"
    assert run(library, path).added == ("笔记.zip/下/乙.md", "笔记.zip/甲.md")
    path.write_bytes(zipped({"甲.md": note("甲题")}))
    assert run(library, path).removed == ("笔记.zip/下/乙.md",)


def test_a_damaged_archive_keeps_its_documents(library: Library, folder: Path) -> None:
    run(library, folder)
    path = folder / "笔记.zip"
    path.write_bytes(path.read_bytes()[:-30])
    summary = run(library, folder)
    assert summary.failed[0][0] == str(path) and "damaged" in summary.failed[0][1]
    assert summary.removed == () and len(names(library)) == 2


def test_a_member_that_cannot_be_read_keeps_its_document(library: Library, folder: Path) -> None:
    run(library, folder)
    data = zipped({"甲.md": "x" * 1000, "下/乙.md": note("乙")}, zipfile.ZIP_STORED)
    (folder / "笔记.zip").write_bytes(data.replace(b"xx", b"yy", 1))  # its checksum is wrong now
    summary = run(library, folder)
    assert summary.failed == ((f"{folder}/笔记.zip/甲.md", summary.failed[0][1]),)
    assert "damaged in its archive" in summary.failed[0][1]
    assert library.document("笔记.zip/甲.md").title == "甲题"
    assert summary.unchanged == ("笔记.zip/下/乙.md",)


def test_one_archive_inside_an_archive_is_opened(library: Library, folder: Path) -> None:
    inner = zipped({"深/丙.md": note("丙"), "更深.zip": zipped({"丁.md": note("丁")})})
    (folder / "笔记.zip").write_bytes(zipped({"里.zip": inner, "甲.md": note("甲题")}))
    summary = run(library, folder)
    assert summary.added == ("笔记.zip/甲.md", "笔记.zip/里.zip/深/丙.md")
    assert summary.failed == (
        (
            f"{folder}/笔记.zip/里.zip/更深.zip",
            "an archive inside an archive inside an archive is not opened: unpack the outermost",
        ),
    )
    assert library.document("笔记.zip/里.zip/深/丙.md").text.startswith("# 丙")
    assert len(run(library, folder).unchanged) == 2
    (folder / "笔记.zip").write_bytes(zipped({"里.zip": zipped({"a.md": note("丙")}), "甲.md": note("甲题")}))
    assert run(library, folder).renamed == ("笔记.zip/里.zip/a.md",)


def test_hidden_members_and_those_of_macos_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({"n.md": "x", "__MACOSX/._n.md": "x", ".git/a.md": "x", "b/.DS_Store": "x", "b/__MACOSX/c.md": "x"}))
    assert shown(path) == (["a.zip/n.md"], {})


def test_what_no_reader_takes_is_named_inside_an_archive_too(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    page = "<html><p>x</p></html>"
    path.write_bytes(
        zipped({"p.png": b"\x89PNG\r\n\x1a\n", "m.py": "x=1", "页.html": page, "页_files/f.html": page, "页_files/g.js": "1"})
    )
    read, reasons = shown(path)
    assert read == ["a.zip/页.html"]
    assert reasons == {
        f"{path}/p.png": "a picture: pictures, sound and film are not read",
        f"{path}/m.py": "source code or data: name the file itself to read it as text",
        f"{path}/页_files": "the parts of the saved page 页.html",
    }


# --- names ----------------------------------------------------------------------------------------------------------

NAME = "面试题/注意力机制.md"


@pytest.mark.parametrize(
    ("name", "flags", "extra"),
    [
        (NAME.encode(), 0x800, b""),
        (NAME.encode(), 0, b""),  # macOS sets no flag
        (NAME.encode("gbk"), 0, b""),  # Windows in China
        (NAME.replace("/", "\\").encode("gbk"), 0, b""),
        (b"??.md", 0, struct.pack("<HHBI", 0x7075, 5 + len(NAME.encode()), 1, zlib.crc32(b"??.md")) + NAME.encode()),
    ],
)
def test_names_are_decoded_as_they_were_written(name: bytes, flags: int, extra: bytes) -> None:
    with Archive(io.BytesIO(raw_zip([(name, b"text")], flags, extra))) as archive:
        assert list(archive.members) == [NAME]
        assert archive.read(NAME) == b"text"


def test_other_encodings_of_names() -> None:
    names = ["位置編碼與注意力機制.md", "為什麼需要歸一化.md"]
    with Archive(io.BytesIO(raw_zip([(name.encode("big5"), b"text") for name in names]))) as archive:
        assert set(archive.members) == set(names)
    with Archive(io.BytesIO(raw_zip([("café.md".encode("cp437"), b"text")]))) as archive:
        assert set(archive.members) == {"café.md"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (b"../../etc/passwd.md", "points outside the archive"),
        (b"a/../../b.md", "points outside the archive"),
        (b"..\\b.md", "points outside the archive"),
        (b"/etc/passwd.md", "points outside the archive"),
        (b"C:\\notes\\a.md", "points outside the archive"),
        (b"two\nlines.md", "its name is not valid text"),
        (b"nul\x00.md", "its name is not valid text"),
        (b"a" * 5000 + b".md", "its path is longer than 4096 bytes"),
    ],
)
def test_paths_that_lead_elsewhere_are_refused_by_name(tmp_path: Path, name: bytes, words: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(raw_zip([(name, b"# text"), (b"good.md", b"# text")]))
    read, reasons = shown(path)
    assert read == ["a.zip/good.md"]
    assert len(reasons) == 1
    for who, reason in reasons.items():
        assert words in reason and who.strip("'").startswith(str(path)) and "\n" not in who


def test_a_name_of_300_bytes_and_a_long_path_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    name, deep = "长" * 100 + ".md", "/".join(["夹"] * 400) + "/a.md"
    path.write_bytes(zipped({name: note("甲题"), deep: note("乙")}))
    with Library.open(tmp_path / "library", create=True) as library:
        assert set(run(library, path).added) == {f"a.zip/{name}", f"a.zip/{deep}"}


def test_links_and_encrypted_members_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link.md")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("good.md", "# text")
        archive.writestr("packed.md", "# text", zipfile.ZIP_LZMA)
    assert shown(path) == (
        ["a.zip/good.md"],
        {
            f"{path}/link.md": "a link or special file: only regular files are read",
            f"{path}/packed.md": "compressed by another method than deflate: unpack it and ingest the folder",
        },
    )
    path.write_bytes(raw_zip([(b"secret.md", b"# text")], flags=1))
    assert shown(path) == ([], {f"{path}/secret.md": "encrypted: unpack the archive with its password and ingest the folder"})


def test_of_two_members_of_one_name_the_last_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(raw_zip([(b"a.md", b"first"), (b"./a.md", b"second")]))
    found = find_files([path])
    assert [reason for _, reason in found.failed] == ["stands in the archive twice: the last of them is read"]
    with FileReader() as reader:
        assert reader.read(found.files[0]) == b"second"


# --- limits ---------------------------------------------------------------------------------------------------------


def test_an_archive_may_not_hold_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    monkeypatch.setattr("ingest.sources.files.MAX_MEMBERS", 3)
    with pytest.raises(MianpuError, match="more than 3 files in one archive"):
        Archive(io.BytesIO(zipped({f"{n}.md": "x" for n in range(4)})), 3)
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({"a.zip": zipped({"1.md": "x", "2.md": "x"}), "b.zip": zipped({"3.md": "x"})}))
    read, reasons = shown(path)  # members of the archives inside count too
    assert read == [] or len(read) <= 3
    assert any("more than 3 files" in reason for reason in reasons.values())


def test_a_zip_bomb_is_refused_before_it_unpacks(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zipped({"a.txt": bytes(3_000_000)})
    assert len(bomb) < 10_000
    Archive(io.BytesIO(bomb))  # small enough to be harmless
    monkeypatch.setattr(archives, "RATIO_FROM", 1_000_000)
    with pytest.raises(MianpuError, match="times its size, which only a zip bomb does"):
        Archive(io.BytesIO(bomb))
    with pytest.raises(MianpuError, match=r"unpacks to 0\.0 GB, the limit is 2"):
        Archive(io.BytesIO(bomb), bytes_left=2_999_999)


def quoted_bomb(files: int) -> bytes:
    """Members that share one body, as in Fifield's bomb: the directory names the same local header again and again."""
    data = zlib.compress(bytes(100_000), 9)[2:-4]
    name = b"a.md"
    common = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, zlib.crc32(bytes(100_000)), len(data), 100_000, len(name), 0)
    body = b"PK\x03\x04" + common + name + data
    directory = b"".join(
        b"PK\x01\x02\x14\x00" + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + f"{n:04}".encode() for n in range(files)
    )
    return body + directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, files, files, len(directory), len(body), 0)


def test_a_bomb_of_overlapping_members_is_refused() -> None:
    with pytest.raises(MianpuError, match="overlap, which only a zip bomb does"):
        Archive(io.BytesIO(quoted_bomb(2)))
    assert list(Archive(io.BytesIO(quoted_bomb(1))).members) == ["0000"]


def test_a_member_gives_no_more_than_it_announces(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.md": "x" * 100_000}))
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, 10)  # the size in the directory is a lie
    with Archive(io.BytesIO(bytes(data))) as archive:
        assert archive.members == {"a.md": 10}
        with pytest.raises(MianpuError, match="damaged in its archive"):
            archive.read("a.md")


def test_a_huge_table_of_contents_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_DIRECTORY", 1000)
    with pytest.raises(MianpuError, match="table of contents is larger"):
        Archive(io.BytesIO(zipped({f"{n}.md": "x" for n in range(30)})))


def test_members_have_the_limits_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_BYTES", 1000)
    monkeypatch.setattr(opening, "MAX_NESTED_BYTES", 2000)
    path = tmp_path / "a.zip"
    inner = zipped({"c.md": bytes(range(97, 123)) * 100}, zipfile.ZIP_STORED)
    path.write_bytes(zipped({"a.md": "x" * 1001, "b.md": note("乙"), "c.zip": inner, "空.md": " \n"}))
    with Library.open(tmp_path / "library", create=True) as library:
        summary = run(library, path)
    assert summary.added == ("a.zip/b.md",)
    reasons = {name.rpartition("/")[2]: reason for name, reason in summary.failed}
    assert "larger than" in reasons["a.md"] and "empty" in reasons["空.md"] and "inside an archive" in reasons["c.zip"]


def test_an_office_document_may_not_be_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_XML", 1000)
    check_container(zipped({"word/document.xml": "x" * 1000, "word/media/a.png": bytes(5000)}))
    with pytest.raises(MianpuError, match="of text and structure in it"):
        check_container(zipped({"word/document.xml": "x" * 1001}))
    with pytest.raises(MianpuError, match="another method than deflate"):
        check_container(zipped({"word/document.xml": "x"}, zipfile.ZIP_BZIP2))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_archive_is_one_clear_line(data: st.DataObject) -> None:
    sound = zipped({"a.md": "# text\n" * 50, "下/b.md": "text", "c.zip": zipped({"d.md": "x"})})
    damaged = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    try:
        with Archive(io.BytesIO(bytes(damaged[: data.draw(st.integers(0, len(sound)))]))) as archive:
            for name in archive.members:
                archive.read(name)
    except MianpuError as error:
        assert "\n" not in str(error)
