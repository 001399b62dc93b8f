"""What Word and PowerPoint files share: a package checked before a library opens it, its metadata, and building Markdown."""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import datetime

from lxml import etree

from ingest.document import RawText
from ingest.errors import MianpuError

MEMBER_LIMIT = 64 << 20  # bytes of one unpacked XML part; a book of 1,000 pages has about 20 MB
PACKAGE_LIMIT = 512 << 20  # bytes of everything unpacked, pictures included
MEMBER_COUNT = 20_000

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"

_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")
_HEADING_MARK = re.compile(r"^(?=#{1,6} )")
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
                    raise MianpuError(
                        f"this {kind} file unpacks to more than {PACKAGE_LIMIT >> 20} MB: split it or drop its pictures"
                    )


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


def visible(text: str) -> str:
    """Text without invisible characters; what is no character becomes a replacement mark."""
    return _CONTROL.sub("\ufffd", _INVISIBLE.sub("", text))


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


def styled(pieces: list[tuple[str, str]]) -> str:
    """Runs (text, mark) -> Markdown. Marks are «**», «*», «***», «`», «» or, for a formula, «$»; neighbours of one mark are joined.

    A formula takes the mark of the text around it when all of that has one mark.

    >>> styled([("重", "**"), ("点", "**"), (" 在此", "")])
    '**重点** 在此'
    """
    marks = {mark for text, mark in pieces if text.strip() and mark != "$"}
    around = marks.pop() if len(marks) == 1 and "`" not in marks else ""
    joined: list[tuple[str, str]] = []
    for text, mark in pieces:
        mark = around if mark == "$" else mark
        if joined and (joined[-1][1] == mark or (not text.strip() and mark != "`")):
            joined[-1] = (joined[-1][0] + text, joined[-1][1])
        elif text:
            joined.append((text, mark))
    out = []
    for text, mark in joined:
        core = text.strip()
        if not mark or not core or "\n" in core or (mark == "`" and "`" in core):
            out.append(text)
        else:
            at = text.index(core)
            out.append(text[:at] + mark + core + mark + text[at + len(core) :])
    return "".join(out)


def table_rows(rows: list[list[str]]) -> str:
    """Rows of cells -> a Markdown table, the first row its head; '' for a table without text."""
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if not rows:
        return ""
    width = max(len(row) for row in rows)
    lines = [
        "| " + " | ".join([" ".join(cell.replace("|", "\\|").split()) for cell in row] + [""] * (width - len(row))) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + " --- |" * width)
    return "\n".join(lines)


def fenced(code: str, language: str = "") -> str:
    """Code in a fence longer than any run of backquotes in it."""
    ticks = max([2, *(len(run) for run in re.findall(r"`+", code))]) + 1
    return f"{'`' * ticks}{language}\n{code}\n{'`' * ticks}"


class Blocks:
    """Markdown blocks put one after another, with the spans that are furniture and the offsets at which pages begin."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.length = 0
        self.furniture: list[tuple[int, int, str]] = []
        self.pages: list[int] = []
        self._last = ""

    def page(self) -> None:
        """The next block begins a new page."""
        self.pages.append(-1)

    def add(self, text: str, kind: str = "block", reason: str = "") -> None:
        """Append a block. Neighbouring blocks of kind «item» stand on consecutive lines, others have a blank line between them."""
        text = visible(text).rstrip()
        if not text.strip():
            return
        if self.parts:
            gap = "\n" if kind == self._last == "item" else "\n\n"
            self.parts.append(gap)
            self.length += len(gap)
        for i in range(len(self.pages) - 1, -1, -1):
            if self.pages[i] >= 0:
                break
            self.pages[i] = self.length
        if reason:
            self.furniture.append((self.length, self.length + len(text), reason))
        self.parts.append(text)
        self.length += len(text)
        self._last = kind

    def result(self, format: str, metadata: tuple[tuple[str, str], ...]) -> RawText:
        """The text of all blocks. A page without text begins where the next page begins, the last one at the end."""
        text = "".join(self.parts)
        pages = tuple(min(page, len(text)) if page >= 0 else len(text) for page in self.pages)
        return RawText(text, "utf-8", format, metadata, tuple(self.furniture), pages)


def plain_paragraph(text: str) -> str:
    """A paragraph whose first characters would read as a Markdown heading gets a backslash before them."""
    return _HEADING_MARK.sub(r"\\", text)
