"""EPUB books: the chapters of the spine in order, as Markdown. The contents page is furniture.

Nothing is unpacked to disk, and a member is read only up to a limit, whatever size it claims. XML is parsed without a network,
without a document type and without entities.
"""

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from lxml import etree

from ingest.document import RawText
from ingest.errors import MianpuError
from ingest.readers.html import decode_html, whole_page
from ingest.readers.html_tree import parse_html, tidy

MAX_MEMBERS = 20_000
MAX_MEMBER = 16 * 1024 * 1024
"""Bytes of one chapter, unpacked."""
MAX_TEXT = 64 * 1024 * 1024
"""Bytes of all chapters together, unpacked."""

_CONTAINER = "META-INF/container.xml"
_PAGES = frozenset(("application/xhtml+xml", "text/html", "text/x-oeb1-document", "application/xml"))
_DAMAGED = "the book (EPUB) is damaged: convert it again, or save its text as a .txt or .md file"


@dataclass(frozen=True, slots=True)
class _Chapter:
    path: str
    contents: bool


class _Book:
    """The members of the archive."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.infos = {info.filename: info for info in archive.infolist()}
        self.left = MAX_TEXT

    def read(self, path: str) -> bytes | None:
        """A member, None when there is none of that name."""
        info = self.infos.get(path)
        if info is None or info.is_dir():
            return None
        if info.flag_bits & 1:
            raise MianpuError("the book (EPUB) is locked with a password: unlock it, then ingest it again")
        limit = min(MAX_MEMBER, self.left)
        try:
            with self.archive.open(info) as member:
                data = member.read(limit + 1)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError):
            raise MianpuError(_DAMAGED) from None
        if len(data) > limit:
            raise MianpuError(
                f"the book (EPUB) unpacks to over {MAX_MEMBER // 2**20} MB a chapter or {MAX_TEXT // 2**20} MB in all: split it"
            )
        self.left -= len(data)
        return data

    def xml(self, path: str) -> etree._Element | None:
        """A member parsed as XML, None when it is absent or broken beyond repair."""
        data = self.read(path)
        if data is None:
            return None
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True)
        try:
            return etree.fromstring(data, parser)
        except (etree.XMLSyntaxError, ValueError):
            return None


def read_epub(data: bytes) -> RawText:
    """An .epub file. Raises MianpuError when it is locked, damaged, beyond the limits, or has no text."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, UnicodeError):
        raise MianpuError(_DAMAGED) from None
    with archive:
        if len(archive.infolist()) > MAX_MEMBERS:
            raise MianpuError(f"the book (EPUB) has more than {MAX_MEMBERS:,} files in it: split it")
        return _read(_Book(archive))


def _read(book: _Book) -> RawText:
    container = book.xml(_CONTAINER)
    roots = [] if container is None else [e.get("full-path", "") for e in _named(container, "rootfile")]
    package_path = next((path for path in roots if path in book.infos), "")
    package = book.xml(package_path) if package_path else None
    if package is None:
        raise MianpuError(
            _DAMAGED if _CONTAINER in book.infos else "this archive is no book (EPUB): unpack it and ingest the folder"
        )
    chapters = list(_spine(package, posixpath.dirname(package_path)))
    _refuse_locked(book, {chapter.path for chapter in chapters})
    parts: list[str] = []
    furniture: list[tuple[int, int, str]] = []
    encoding, length, missing = "", 0, 0
    for chapter in chapters:
        page = book.read(chapter.path)
        if page is None:
            missing += 1
            continue
        if not page.strip():
            continue
        text, found = decode_html(page)
        encoding = encoding or found
        text = whole_page(parse_html(text))
        if not text.strip():
            continue  # a cover, a picture
        if chapter.contents:
            furniture.append((length, length + len(text) - 1, "contents"))
        parts.append(text + "\n")
        length += len(text) + 1
    if missing:
        raise MianpuError(f"the book (EPUB) lacks {missing} of its {len(chapters)} chapters: download or convert it again")
    if not parts or len(furniture) == len(parts):
        raise MianpuError("the book (EPUB) holds no text, only pictures: there is nothing to ingest")
    return RawText("".join(parts).rstrip("\n") + "\n", encoding, "epub", _metadata(package), tuple(furniture))


def _named(root: etree._Element, name: str) -> Iterator[etree._Element]:
    """Elements below ``root`` of a local name, whatever their namespace."""
    return (e for e in root.iter() if isinstance(e.tag, str) and e.tag.rpartition("}")[2] == name)


def _spine(package: etree._Element, folder: str) -> Iterator[_Chapter]:
    items = {item.get("id", ""): item for item in _named(package, "item")}
    guide = {_resolve(folder, ref.get("href", "")) for ref in _named(package, "reference") if ref.get("type") == "toc"}
    seen: set[str] = set()
    for reference in _named(package, "itemref"):
        item = items.get(reference.get("idref", ""))
        if item is None or item.get("media-type", "").strip() not in _PAGES:
            continue
        path = _resolve(folder, item.get("href", ""))
        if path not in seen:
            seen.add(path)
            yield _Chapter(path, "nav" in item.get("properties", "").split() or path in guide)


def _resolve(folder: str, href: str) -> str:
    """The name of a member; one that leads out of the archive names nothing in it."""
    return posixpath.normpath(posixpath.join(folder, unquote(href.partition("#")[0])))


def _refuse_locked(book: _Book, chapters: set[str]) -> None:
    encryption = book.xml("META-INF/encryption.xml")
    for data in () if encryption is None else _named(encryption, "EncryptedData"):
        paths = {posixpath.normpath(unquote(e.get("URI", ""))) for e in _named(data, "CipherReference")}
        if paths & chapters:  # scrambled fonts are listed as well
            raise MianpuError("the book (EPUB) is locked by its seller (DRM): Mianpu cannot read it; ingest a copy without a lock")


def _metadata(package: etree._Element) -> tuple[tuple[str, str], ...]:
    found: dict[str, list[str]] = {"title": [], "creator": [], "date": []}
    for name, values in found.items():
        values += (text for e in _named(package, name) if (text := " ".join(tidy("".join(e.itertext())).split())))
    year = re.match(r"\d{4}(?:-\d\d(?:-\d\d)?)?", found["date"][0]) if found["date"] else None
    pairs = (
        ("title", found["title"][0] if found["title"] else ""),
        ("author", ", ".join(found["creator"][:10])),
        ("date", year[0] if year else ""),
    )
    return tuple((key, value) for key, value in pairs if value)
