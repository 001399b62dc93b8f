"""PDF files -> Markdown, from their text layer.

PDFium (pypdfium2: wheels for every platform, Apache and BSD licences, fast) gives characters and their places; which of them make
lines, columns, tables, paragraphs and headings is decided in ``pdf_lines``, ``pdf_layout``, ``pdf_tables`` and ``pdf_flow``. Left
out: text that is invisible on a page whose other text is visible, and text outside the page.
"""

import ctypes
import re
import threading
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as api

from ingest.document import RawText
from ingest.errors import MianpuError
from ingest.readers.blocks import visible
from ingest.readers.pdf_flow import Flow, Statistics, body_size, heading_levels
from ingest.readers.pdf_furniture import running_lines
from ingest.readers.pdf_layout import reading_order
from ingest.readers.pdf_lines import Line
from ingest.readers.pdf_text import page_text

PAGE_LIMIT = 3_000
CHARACTER_LIMIT = 20_000_000

_LEADER = re.compile(r"(?:\.\s?|·\s?|…\s?){4,}\s*[\divxl]{1,4}\s*$")  # dots between a title and its page
_CONTENTS_LINES = 3

_LOCK = threading.Lock()  # PDFium is not thread safe
_NO_TITLE = re.compile(
    r"untitled|无标题|.*\.(?:docx?|pptx?|tex|dvi|pdf|html?|wps|indd|qxd)|slide 1|powerpoint presentation|document\d*", re.I
)
_WRITER = re.compile(r"^(?:microsoft (?:word|powerpoint) - |\(?anonymous\)?$|unknown$|administrator$|admin$|user$)", re.I)


def read_pdf(data: bytes) -> RawText:
    """The text of a PDF of at most ``PAGE_LIMIT`` pages and ``CHARACTER_LIMIT`` characters; ``pages`` are the offsets of its pages.

    Pages without text are named in the metadata under «pages_without_text» («3, 7-9»). Raises MianpuError for a damaged file, one
    with a password, and one that has no text at all.
    """
    with _LOCK:
        try:
            document = pdfium.PdfDocument(data)
        except pdfium.PdfiumError as error:
            raise _refusal(error.err_code) from None
        try:
            count = len(document)
            if count > PAGE_LIMIT:
                raise MianpuError(f"this PDF has {count:,} pages, the limit is {PAGE_LIMIT:,}: split it")
            read = _read_pages(document, count)
            metadata = _metadata(document)
        finally:
            document.close()
    pages, sizes, slanted = read
    empty = [n + 1 for n, (page, across) in enumerate(zip(pages, slanted, strict=True)) if not page and not across]
    if len(empty) == count:
        raise MianpuError(
            f"this PDF is a scan of {count} pages without text: recognise its text first (OCR, for example with ocrmypdf)"
        )
    if empty:
        metadata.append(("pages_without_text", _ranges(empty)))
    return _assemble(pages, sizes, slanted, metadata)


def _read_pages(document: Any, count: int) -> tuple[list[list[Line]], list[tuple[float, float]], list[tuple[str, ...]]]:
    pages: list[list[Line]] = []
    sizes: list[tuple[float, float]] = []
    slanted: list[tuple[str, ...]] = []
    total = 0
    for index in range(count):
        try:
            page = page_text(document, index)
        except pdfium.PdfiumError:  # one damaged page; it is named among those without text
            pages.append([])
            sizes.append((1.0, 1.0))
            slanted.append(())
            continue
        total += sum(len(fragment.text) for fragment in page.fragments)
        if total > CHARACTER_LIMIT:
            raise MianpuError(f"this PDF has more than {CHARACTER_LIMIT:,} characters: split it")
        lines = [line for line in reading_order(page) if line.cells or line.text.strip()]
        for line in lines:
            line.page = index
        pages.append(lines)
        sizes.append((page.width, page.height))
        slanted.append(page.slanted)
    return pages, sizes, slanted


def _assemble(
    pages: list[list[Line]], sizes: list[tuple[float, float]], slanted: list[tuple[str, ...]], metadata: list[tuple[str, str]]
) -> RawText:
    running = running_lines(pages, [height for _, height in sizes], body_size(pages))
    facts = Statistics(pages, sizes, running)
    leaders = {id(line) for page in pages for line in page if _LEADER.search(line.text)}
    flow = Flow(facts, heading_levels(pages, running, facts))
    for page, across in zip(pages, slanted, strict=True):
        notes = _footnotes([line for line in page if id(line) not in running], facts)
        for line in page:
            if id(line) in running:
                flow.aside(line.text.strip(), running[id(line)])
            elif id(line) in leaders and len(leaders) >= _CONTENTS_LINES:
                flow.aside(line.text.strip(), "contents")
            elif id(line) in notes:
                flow.aside(line.text.strip(), "")
            else:
                flow.take(line)
        for text in across:
            flow.aside(text, "watermark")
    flow.finish()
    length = flow.blocks.length
    offsets: list[int] = []
    following = length
    for index in range(len(pages) - 1, -1, -1):  # a page without text of its own begins where the next one does
        following = min(flow.starts.get(index, following), following)
        offsets.append(following)
    flow.blocks.pages = offsets[::-1]
    return flow.blocks.result("pdf", tuple(metadata))


def _footnotes(lines: list[Line], facts: Statistics) -> set[int]:
    """Lines in small type at the foot of a column: the sentence above them may go on in the next column."""
    found: set[int] = set()
    if facts.slides:
        return found
    ended: set[int] = set()
    for line in reversed(lines):
        if line.flow in ended:
            continue
        if line.cells or line.size > 0.92 * facts.body or any(piece.mono for piece in line.pieces):
            ended.add(line.flow)
        else:
            found.add(id(line))
    return found if len(found) < len(lines) else set()


def _refusal(code: int | None) -> MianpuError:
    if code == api.FPDF_ERR_PASSWORD:
        return MianpuError("this PDF is protected by a password: save a copy without one")
    if code == api.FPDF_ERR_SECURITY:
        return MianpuError("this PDF uses an encryption that cannot be read: print it to a new PDF")
    return MianpuError("this PDF is damaged: open it in a viewer and save or print it again")


def _metadata(document: Any) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    title, author = (" ".join(visible(_information(document, key)).split()) for key in ("Title", "Author"))
    if len(title) > 1 and not _NO_TITLE.fullmatch(title) and not _WRITER.match(title):
        pairs.append(("title", title))
    if author and not _WRITER.match(author):
        pairs.append(("author", author))
    date = re.match(r"D?:?(\d{4})(\d{2})(\d{2})", _information(document, "CreationDate"))
    if date and 1990 < int(date[1]) < 2100 and 1 <= int(date[2]) <= 12 and 1 <= int(date[3]) <= 31:
        pairs.append(("date", f"{date[1]}-{date[2]}-{date[3]}"))
    return pairs


def _information(document: Any, key: str) -> str:
    """A value of the document information; what is no UTF-16 in it becomes a replacement mark."""
    size = api.FPDF_GetMetaText(document, key.encode(), None, 0)
    buffer = ctypes.create_string_buffer(size)
    api.FPDF_GetMetaText(document, key.encode(), buffer, size)
    return buffer.raw.decode("utf-16-le", "replace").rstrip("\0")


def _ranges(numbers: list[int]) -> str:
    """Page numbers in short.

    >>> _ranges([3, 7, 8, 9])
    '3, 7-9'
    """
    out: list[list[int]] = []
    for number in numbers:
        if out and out[-1][-1] == number - 1:
            out[-1] = [out[-1][0], number]
        else:
            out.append([number])
    return ", ".join("-".join(map(str, run)) for run in out)
