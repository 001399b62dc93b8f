"""Plain text and Markdown, and the encodings of both.

Line ends become ``\\n`` and characters that would make spans lie (NUL, lone surrogates, other control characters) are replaced,
so every later offset counts visible characters of one well-formed string.
"""

import re

from ingest.document import RawText
from ingest.errors import MianpuError

# The first bytes of files that are sometimes saved under a text suffix: naming the real kind tells the person what to do.
_MAGIC = (
    (b"%PDF-", "a PDF file"),
    (b"PK\x03\x04", "a ZIP archive or an Office document"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x7fELF", "a program"),
)
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32", "utf-32"),
    (b"\xff\xfe", "utf-16", "utf-16"),
    (b"\xfe\xff", "utf-16", "utf-16"),
)
_LINE_ENDS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")  # soft hyphen, zero width space, word joiner, stray byte order mark
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_MARKDOWN = re.compile(r"^(?:#{1,6} +\S|```|~~~)|\*\*[^*\n]+\*\*|\]\(https?:", re.MULTILINE)


def read_text(data: bytes) -> RawText:
    """A .txt file; one that is Markdown by its marks is read as Markdown."""
    text, encoding = decode(data)
    # Notes are often Markdown under a .txt suffix; a heading or a fence of one has at least a second mark somewhere.
    marks = sum(1 for _ in zip(range(3), _MARKDOWN.finditer(text), strict=False))
    return RawText(text, encoding, "markdown" if marks >= 3 else "text")


def read_markdown(data: bytes) -> RawText:
    """A Markdown file."""
    text, encoding = decode(data)
    return RawText(text, encoding, "markdown")


def read_plain(data: bytes) -> RawText:
    """Source code or data that the person named: its marks mean something else than those of Markdown."""
    text, encoding = decode(data)
    return RawText(text, encoding, "text")


def decode(data: bytes) -> tuple[str, str]:
    """Bytes -> (normalised text, name of the encoding).

    In this order: a byte order mark; UTF-16 without one; strict UTF-8; UTF-8 with a few damaged bytes (a page cut in the middle of
    a character); then GB18030, Big5 or Windows-1252, whichever gives common characters. Raises MianpuError when the bytes are not
    text.
    """
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            raise MianpuError(f"this is {kind}, not text: save its text as a .txt or .md file")
    text, encoding = _decode(data)
    text = _INVISIBLE.sub("", _LINE_ENDS.sub("\n", text))
    text, replaced = _CONTROL.subn("\ufffd", text)
    if replaced > 2 + len(text) // 100:
        raise MianpuError("this is binary data, not text: save its text as a .txt or .md file")
    if not text.strip():
        raise MianpuError("the file holds only white space: there is nothing to ingest")
    return text, encoding


def _decode(data: bytes) -> tuple[str, str]:
    for mark, codec, name in _BOMS:
        if data.startswith(mark):
            return data.decode(codec, "replace"), name
    for codec, zeros in (("utf-16-le", data[1::2]), ("utf-16-be", data[::2])):
        if len(data) % 2 == 0 and zeros.count(0) * 4 > len(zeros) and data.count(0) < len(zeros) * 1.1:
            return data.decode(codec, "replace"), "utf-16"  # every other byte of ASCII letters is zero
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    damaged = data.decode("utf-8", "replace")
    wide = sum(1 for _ in re.finditer("[^\x00-\x7f\ufffd]", damaged))
    if damaged.count("\ufffd") * 20 <= wide:
        return damaged, "utf-8"
    return _decode_legacy(data)


# Characters that make up nearly all running text: level 1 hanzi of GB 2312 (lead bytes B0-D7) or of Big5 (lead bytes A4-C6).
_COMMON = {"gb18030": range(0xB0, 0xD8), "big5": range(0xA4, 0xC7)}
_PUNCTUATION = {"gb18030": range(0xA1, 0xAA), "big5": range(0xA1, 0xA4)}


def _decode_legacy(data: bytes) -> tuple[str, str]:
    best = max(("gb18030", "big5"), key=lambda codec: _plausibility(data, codec))
    if _plausibility(data, best) >= 0.8:
        return data.decode(best, "replace"), best
    high = [byte for byte in data if byte >= 0x80]
    if len(high) * 10 <= len(data) and 0 not in data:  # a Western text with curly quotes and accents
        return data.decode("cp1252", "replace"), "windows-1252"
    raise MianpuError("its encoding is unknown, or it is binary data: save it as UTF-8 text")


def _plausibility(data: bytes, codec: str) -> float:
    """Share of the non-ASCII characters that are common in this encoding; 0 for a text that does not decode."""
    text = data[: 1 << 18].decode(codec, "replace")
    wide = [char for char in text if char > "\x7f"]
    if not wide or text.count("\ufffd") > 1 + len(wide) // 50:
        return 0.0
    common = 0
    for char in wide:
        lead = char.encode(codec, "replace")[0]
        common += lead in _COMMON[codec] or lead in _PUNCTUATION[codec]
    return common / len(wide)


def decode_name(data: bytes) -> str:
    """File names of unknown encoding, as zip archives hold them: UTF-8, else GBK or Big5, else the IBM PC's own."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    best = max(("gb18030", "big5"), key=lambda codec: _plausibility(data, codec))
    return data.decode(best if _plausibility(data, best) >= 0.5 else "cp437", "replace")
