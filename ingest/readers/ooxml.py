"""What Word and PowerPoint files share: a package checked before a library opens it, its metadata, its namespaces."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from datetime import datetime

from lxml import etree

from ingest.errors import MianpuError
from ingest.readers.blocks import visible

MEMBER_LIMIT = 64 << 20  # bytes of one unpacked XML part; a book of 1,000 pages has about 20 MB
PACKAGE_LIMIT = 512 << 20  # bytes of everything unpacked, pictures included
MEMBER_COUNT = 20_000

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"

_NO_AUTHORS = {"python-docx", "author", "administrator", "user", "unknown", "microsoft office user"}
_NO_TITLES = {"powerpoint presentation", "word document", "powerpoint 演示文稿", "untitled", "无标题"}


def check_package(data: bytes, kind: str) -> None:
    """Refuse what is no sound package before a library unpacks it. ``kind`` is «Word» or «PowerPoint»."""
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        if "EncryptedPackage".encode("utf-16-le") in data:
            raise MianpuError(f"this {kind} file is protected by a password: save it without one")
        suffix = ".docx" if kind == "Word" else ".pptx"
        raise MianpuError(f"this is a file of an old Office version (.doc, .ppt, .xls): open it and save it as {suffix}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            _unpack(package, kind)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        raise MianpuError(f"this {kind} file is damaged ({_short(error)}): open it in its program and save it again") from None


def _unpack(package: zipfile.ZipFile, kind: str) -> None:
    """Count the real size of every member, not the one its header claims, a megabyte at a time; a wrong checksum raises."""
    members = package.infolist()
    if len(members) > MEMBER_COUNT:
        raise MianpuError(f"this {kind} file holds more than {MEMBER_COUNT:,} parts: save it again from its program")
    if len({member.filename for member in members}) < len(members):
        raise zipfile.BadZipFile("a part stands in it twice")
    total = 0
    for member in members:
        size = 0
        with package.open(member) as part:
            while chunk := part.read(1 << 20):
                size += len(chunk)
                total += len(chunk)
                if size > MEMBER_LIMIT and member.filename.endswith((".xml", ".rels")):
                    raise MianpuError(f"a part of this {kind} file unpacks to more than {MEMBER_LIMIT >> 20} MB: split the file")
                if total > PACKAGE_LIMIT:
                    raise MianpuError(f"this {kind} file unpacks to more than {PACKAGE_LIMIT >> 20} MB: drop its pictures")


def damaged(kind: str, error: Exception) -> MianpuError:
    """The error for a package that its library cannot read."""
    return MianpuError(f"this is no readable {kind} file ({_short(error)}): open it in its program and save it again")


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n")[0][:120]


def core_metadata(title: str | None, author: str | None, created: datetime | None) -> tuple[tuple[str, str], ...]:
    """Title, author and date of a package, without what programs fill in by themselves."""
    pairs: list[tuple[str, str]] = []
    if title and visible(title).strip() and title.strip().lower() not in _NO_TITLES:
        pairs.append(("title", " ".join(visible(title).split())))
    if author and visible(author).strip() and author.strip().lower() not in _NO_AUTHORS:
        pairs.append(("author", " ".join(visible(author).split())))
    if created and created.year > 1990 and (created.year, created.month) != (2013, 12):  # 2013-12: python-docx's own template
        pairs.append(("date", created.date().isoformat()))
    return tuple(pairs)


def local(element: etree._Element) -> str:
    """The tag without its namespace; '' for comments and processing instructions."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def chosen(element: etree._Element) -> Iterator[etree._Element]:
    """The children of an element; of alternative contents only the first that is there, so that no text box comes twice."""
    for child in element:
        if child.tag == MC + "AlternateContent":
            best = child.find(MC + "Choice")
            best = child.find(MC + "Fallback") if best is None else best
            if best is not None:
                yield from chosen(best)
        elif isinstance(child.tag, str):
            yield child
