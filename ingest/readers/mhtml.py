"""Pages that a browser saved as one file: MHTML, a mail message whose parts are the page and what it loads (RFC 2557).

Only the headers and the HTML are decoded; pictures are passed over by searching for the boundaries, so the time is that of reading.
"""

import binascii
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser

from ingest.document import RawText
from ingest.errors import MianpuError
from ingest.readers.html import decode_html, read_page
from ingest.readers.html_tree import parse_html

_MAX_PARTS = 10_000
_MAX_NESTED = 10
_MAX_HEADER = 64 * 1024
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class _Part:
    """A part that is no multipart: its headers, its body as transferred, and whether its end is there."""

    headers: Message
    body: bytes
    complete: bool

    @property
    def is_html(self) -> bool:
        return self.headers.get_content_type() in ("text/html", "application/xhtml+xml")


def read_mhtml(data: bytes) -> RawText:
    """A .mhtml or .mht file. Raises MianpuError when it holds no page, or ends before the page does."""
    headers, body = _split_headers(data)
    if not headers.keys():
        raise MianpuError("this is no saved page (MHTML): save the page again as «Webpage, Single File»")
    parts = list(_parts(headers, body))
    pages = [part for part in parts if part.is_html]
    if not pages:
        cut = any(not part.complete for part in parts) or not parts
        raise MianpuError(
            "the saved page is cut off before its text begins: save it again" if cut
            else "the file holds no web page, only what belongs to one: save the page again as «Webpage, Single File»"
        )  # fmt: skip
    root = _root(headers, pages)
    if not root.complete:
        raise MianpuError("the saved page is cut off in the middle of its text: save it again")
    address = _header(headers, "Snapshot-Content-Location") or _header(root.headers, "Content-Location")
    try:
        return _read(root, address)
    except MianpuError:
        # A page of frames has its text in one of them.
        framed = sorted((part for part in pages if part is not root and part.complete), key=lambda part: -len(part.body))
        for part in framed[:5]:
            try:
                return _read(part, address)
            except MianpuError:
                continue
        raise


def _read(part: _Part, address: str) -> RawText:
    charset = part.headers.get_content_charset() or ""
    text, encoding = decode_html(_decoded(part), charset)
    raw = read_page(parse_html(text), encoding, address)
    return RawText(raw.text, raw.encoding, "mhtml", raw.metadata, raw.furniture)


def _root(headers: Message, pages: list[_Part]) -> _Part:
    """The part that is the page: the one that the message names, the one at the page's address, the first."""
    start = headers.get_param("start")
    address = _header(headers, "Snapshot-Content-Location")
    for part in pages:
        if isinstance(start, str) and _header(part.headers, "Content-ID") == start.strip():
            return part
    return next((part for part in pages if address and _header(part.headers, "Content-Location") == address), pages[0])


def _parts(headers: Message, body: bytes) -> Iterator[_Part]:
    """The parts of a message in order; multiparts inside it are opened."""
    waiting: list[tuple[Message, bytes, bool, int]] = [(headers, body, True, 0)]
    count = 0
    while waiting and count < _MAX_PARTS:
        headers, body, complete, depth = waiting.pop()
        boundary = headers.get_param("boundary")
        if headers.get_content_maintype() != "multipart" or not isinstance(boundary, str) or not boundary.strip():
            count += 1
            yield _Part(headers, body, complete)
        elif depth < _MAX_NESTED:
            inner = [
                (*_split_headers(text), whole, depth + 1) for text, whole in _split_parts(body, boundary.encode("utf-8", "replace"))
            ]
            waiting.extend(reversed(inner))


def _split_parts(body: bytes, boundary: bytes) -> Iterator[tuple[bytes, bool]]:
    """What stands between the boundaries, and whether another boundary ends it."""
    marks = re.finditer(rb"(?:^|\r?\n)--" + re.escape(boundary.rstrip()) + rb"(--)?[ \t]*(?=\r?\n|$)(?:\r?\n)?", body)
    begin = -1
    for count, mark in enumerate(marks):
        if begin >= 0:
            yield body[begin : mark.start()], True
        begin = mark.end()
        if mark[1] or count > _MAX_PARTS:
            return
    if begin >= 0:
        yield body[begin:], False


def _split_headers(data: bytes) -> tuple[Message, bytes]:
    if data.startswith((b"\r\n", b"\n")):  # a part without headers
        return Message(), data
    end = _BLANK_LINE.search(data, 0, _MAX_HEADER)
    head = data[: end.start() if end else _MAX_HEADER].lstrip(b"\xef\xbb\xbf\r\n")
    return BytesHeaderParser().parsebytes(head), data[end.end() :] if end else b""


def _decoded(part: _Part) -> bytes:
    encoding = _header(part.headers, "Content-Transfer-Encoding").lower()
    if encoding == "quoted-printable":
        return binascii.a2b_qp(part.body)
    if encoding == "base64":
        try:
            text = re.sub(rb"[^A-Za-z0-9+/]", b"", part.body)
            return binascii.a2b_base64(text[: len(text) // 4 * 4] + (text[len(text) // 4 * 4 :] + b"==")[:4] * (len(text) % 4 > 1))
        except binascii.Error:
            raise MianpuError("the saved page is damaged (base64): save it again") from None
    return part.body


def _header(headers: Message, name: str) -> str:
    value = str(headers.get(name, ""))
    with suppress(MessageError, LookupError, UnicodeError, ValueError):
        value = str(make_header(decode_header(value)))
    return "".join(value.split())
