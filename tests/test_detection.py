"""A file is what its content says, whatever it is called."""

import base64
import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.document import RawText
from ingest.errors import MianpuError
from ingest.sources import files, reading
from ingest.sources.detection import Detected, detect, suffix_of
from ingest.sources.reading import detect_data


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "text")
    return buffer.getvalue()


HTML = b"\n<!-- saved -->\n<!DOCTYPE html>\n<html><body><p>text</p></body></html>"
FRAGMENT = b"<div><p>a</p><p>b</p><p>c</p><p>d</p></div>"
MHTML = b'From: <Saved by Blink>\r\nSubject: page\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related;\r\n\ttype="text/html"\r\n\r\n'
NOTEBOOK = json.dumps({"cells": [{"cell_type": "markdown", "source": ["# a"]}], "nbformat": 4}).encode()
EPUB = zipped("mimetype", "META-INF/container.xml", "OEBPS/a.xhtml")
DOCX = zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml")
DOCX_OTHER_PART = zipped("[Content_Types].xml", "word/document2.xml")
PPTX = zipped("[Content_Types].xml", "ppt/presentation.xml", "ppt/slides/slide1.xml")
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
GARBAGE = bytes(range(256)) * 8
TEXT = "注意力机制的正文。\n".encode()

CASES = [
    # the content decides, whatever the suffix
    *((HTML, name, "html") for name in ("a.txt", "a.md", "a", "a.html", "a.pdf", "a.doc", "a.png", "a.php")),
    *((HTML.decode().encode(codec), "a.txt", "html") for codec in ("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32")),
    *((MHTML, name, "mhtml") for name in ("a.txt", "a.mht", "a.html", "a")),
    *((PDF, name, "pdf") for name in ("a.txt", "a", "a.docx", "a.pdf", "a.html")),
    (GARBAGE[:100] + PDF, "a", "pdf"),
    *((DOCX, name, "docx") for name in ("a.txt", "a", "a.zip", "a.docx", "a.doc")),
    (DOCX_OTHER_PART, "a.docx", "docx"),
    *((PPTX, name, "pptx") for name in ("a.txt", "a", "a.pptx")),
    *((EPUB, name, "epub") for name in ("a.txt", "a", "a.epub", "a.zip")),
    (zipped("mimetype", "OEBPS/a.xhtml"), "a.epub", "epub"),
    *((NOTEBOOK, name, "ipynb") for name in ("a.txt", "a", "a.json", "a.ipynb")),
    *((zipped("a/note.md"), name, "zip") for name in ("a.txt", "a", "a.zip", "a.docx")),
    (zipped(), "a.zip", "zip"),
    # the suffix decides among kinds of text
    (TEXT, "a.txt", "text"),
    (TEXT, "a.md", "markdown"),
    (TEXT, "a.MD", "markdown"),
    (TEXT, "a.html", "html"),
    (TEXT, "a", "text"),
    (TEXT, "1.注意力", "text"),
    (TEXT, "v1.2", "text"),
    (TEXT, "a.pdf", "text"),
    (TEXT.decode().encode("gb18030"), "a", "text"),
    (TEXT.decode().encode("utf-16"), "a", "text"),
    (FRAGMENT, "a.txt", "html"),
    (FRAGMENT, "a", "html"),
    (FRAGMENT, "a.md", "markdown"),  # a README often begins with a centred <div>
    (b"<div align=center>logo</div>\n\n# Title\n", "README.md", "markdown"),
    (b"Talk about <html> and %PDF-1.7 in a note.\n", "a.txt", "text"),
    (b"Title: a note\nDate: today\n\ntext", "a.txt", "text"),
    (b'{"cells": 3}', "a.txt", "text"),
    # no notes
    (b"print(1)", "a.py", "plain"),
    (b'{"a": 1}', "a.json", "plain"),
    (TEXT, "LICENSE", "plain"),
    (TEXT, "a.bak", "plain"),
]


@pytest.mark.parametrize(("data", "name", "kind"), CASES)
def test_the_kind_of_a_file(data: bytes, name: str, kind: str) -> None:
    found = detect_data(data, name)
    assert found.kind == kind
    assert bool(found.reason) == (kind == "plain")


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"\x89PNG\r\n\x1a\n" + GARBAGE, "a.txt", "a picture"),
        (b"\xff\xd8\xff\xe0" + GARBAGE, "a", "a picture"),
        (b"RIFF\x00\x01\x02\x03WEBPVP8 " + GARBAGE, "a.jpg", "a picture"),
        (b"BM\x36\x00\x0c\x00\x00\x00\x00\x00" + GARBAGE, "a.md", "a picture"),
        (b"\x00\x00\x00\x18ftypheic" + GARBAGE, "a", "a picture"),
        (b"\x00\x00\x00\x20ftypisom" + GARBAGE, "a.mp4", "a film"),
        (b"ID3\x03" + GARBAGE, "a.mp3", "a sound file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + GARBAGE, "a.doc", "an old Office or WPS document: save it as .docx"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "a.docx", "with a password"),
        (b"{\\rtf1\\ansi text}", "a.doc", "an RTF document"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "a.xlsx", "a spreadsheet"),
        (zipped("mimetype", "content.xml"), "a.odt", "an OpenDocument"),
        (zipped("content.json", "metadata.json"), "a.xmind", "a mind map"),
        (b"Rar!\x1a\x07\x01\x00" + GARBAGE, "a.rar", "an archive of a kind that is not opened: unpack it"),
        (b"7z\xbc\xaf\x27\x1c" + GARBAGE, "a.zip", "an archive of a kind"),
        (bytes(257) + b"ustar\x0000", "a.tar", "an archive of a kind"),
        (b"\x1f\x8b\x08" + GARBAGE, "a.tar.gz", "an archive of a kind"),
        (bytes(60) + b"BOOKMOBI", "a.mobi", "an e-book of a kind"),
        (b"SQLite format 3\x00", "a.txt", "a database"),
        (b"MZ" + bytes(100) + b"PE\x00\x00", "a.exe", "a program"),
        (GARBAGE, "a.pdf", "its name says pdf, its content does not: it may be damaged"),
        (GARBAGE, "a.caj", "an e-book of a kind"),
        (GARBAGE, "a.xyz", "no reader for .xyz"),
        (GARBAGE, "a", "no reader for what is in it"),
    ],
)
def test_what_no_reader_takes_is_named_with_what_to_do(data: bytes, name: str, words: str) -> None:
    found = detect_data(data, name)
    assert found.kind == ""
    assert found.reason.startswith(words) or words in found.reason
    assert ": " in found.reason and "\n" not in found.reason


def test_binary_text_kinds_are_left_to_their_reader() -> None:
    assert detect(GARBAGE, "a.txt") == Detected("text")  # no guess here: the reader of text says what is wrong with it
    with pytest.raises(MianpuError, match="binary"):
        reading.parse(Path("a.txt"), GARBAGE)


def test_a_suffix_is_ascii_and_no_number() -> None:
    names = {
        "a.MD": "md",
        "a.7z": "7z",
        "a.tar.gz": "gz",
        "1.注意力": "",
        "v1.2": "",
        "notes.2024": "",
        ".md": "",
        "a.": "",
        "a b.c d": "",
    }
    assert {name: suffix_of(name) for name in names} == names


@given(st.binary(max_size=400), st.sampled_from(["a.txt", "a", "a.pdf", "a.docx", "a.xyz", "a.mht", "a.7z"]))
def test_anything_has_a_kind_or_a_reason(data: bytes, name: str) -> None:
    try:
        found = detect_data(data, name)
    except MianpuError as error:
        assert data.startswith(b"PK") and "damaged" in str(error)
    else:
        assert found.kind in {*reading.READERS, *reading.TEXT_READERS, "zip"} or (not found.kind and found.reason)


@pytest.mark.parametrize("kind", sorted(reading.READERS))
def test_a_kind_is_read_by_its_reader(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"html": HTML, "mhtml": MHTML, "pdf": PDF, "docx": DOCX, "pptx": PPTX, "ipynb": NOTEBOOK, "epub": EPUB}[kind]
    seen: list[bytes] = []

    def reader(given: bytes) -> RawText:
        seen.append(given)
        return RawText("text", "utf-8", kind)

    asked: list[str] = []

    def reader_of(wanted: str) -> reading.Reader:
        asked.append(wanted)
        return reader

    monkeypatch.setattr(reading, "reader_of", reader_of)
    path = tmp_path / "saved.txt"
    path.write_bytes(data)
    assert files.read(path).format == kind  # so a person sees that it is not what its suffix says
    assert (asked, seen) == ([kind], [data])


def test_every_reader_is_where_the_table_says() -> None:
    folder = Path(reading.__file__).parent / "readers"
    for place in reading.READERS.values():
        module, function = place.split(".")
        if (folder / f"{module}.py").exists():
            assert callable(reading.reader_of(next(kind for kind, where in reading.READERS.items() if where == place)))
        assert function.startswith("read_")


def test_a_reader_that_cannot_be_loaded_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(reading.READERS, "html", "nothing_there.read_html")
    with pytest.raises(MianpuError, match=r"a\.txt: what reads html cannot be loaded .*: install Mianpu again"):
        reading.parse(Path("a.txt"), HTML)


def test_a_reader_that_breaks_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def reader(data: bytes) -> RawText:
        raise KeyError("two\nlines")

    monkeypatch.setattr(reading, "reader_of", lambda kind: reader)
    with pytest.raises(MianpuError) as caught:
        reading.parse(Path("a.html"), HTML)
    assert str(caught.value).startswith("a.html: cannot be read as html (KeyError") and "\n" not in str(caught.value)


def test_text_in_base64_is_text() -> None:
    assert detect_data(base64.encodebytes(GARBAGE), "a.txt").kind == "text"
