"""What a file is, by its content; its suffix decides only among kinds of text.

A page saved as ``.txt``, a Word file without a suffix or a login page saved as ``paper.pdf`` is read as what it is. Looking takes
the first bytes of the file, and for a zip container the names of its members. Suffixes and first bytes stand in ``kinds.toml``.
"""

import codecs
import re
import tomllib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import PurePosixPath

from ingest.errors import MianpuError
from ingest.readers.text import decode

HEAD = 1 << 16
"""Bytes from the beginning of a file that :func:`detect` wants to see."""
_TEXT_KINDS = ("text", "markdown", "html")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_SPACE = re.compile(r"(?:\s|<!--.{0,20000}?-->|<\?.{0,500}?\?>)*", re.DOTALL)
_PAGE = re.compile(r"<!doctype\s+html|<html[\s>]|<head[\s>]|<body[\s>]", re.I)
_FRAGMENT = re.compile(r"<(?:meta|title|script|style|link|div|article|section|main|table|p|h[1-6]|ul|ol)[\s>]", re.I)
_BLOCK_END = re.compile(r"</(?:div|p|article|section|table|td|li|h[1-6]|script|style)\s*>", re.I)
_MIME_LINE = re.compile(r"[A-Za-z][A-Za-z0-9-]*:[^\n]*\n(?:[ \t][^\n]*\n)*")
_CONTROL = bytes({*range(9), *range(14, 27), *range(28, 32), 127})
_MARKS = ((b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True, slots=True)
class Detected:
    """The kind of a file: one that ``ingest.sources.reading`` has a reader for, «zip», «plain», or '' when no reader takes it.

    «plain» is text that is no notes (source code, data): it is passed over in a folder and read when the person names the file.
    ``reason`` says why a file is passed over and what to do.
    """

    kind: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Kinds:
    """``kinds.toml``: kind of a suffix, suffixes and names of plain files, what no reader takes by suffix and by bytes."""

    read: Mapping[str, str]
    plain: frozenset[str]
    plain_names: frozenset[str]
    other: Mapping[str, str]
    magic: tuple[tuple[int, bytes, str], ...]
    containers: tuple[tuple[str, Detected], ...]


@cache
def _kinds() -> _Kinds:
    table = tomllib.loads(resources.files("ingest.sources").joinpath("kinds.toml").read_text("utf-8"))
    reasons = [(f"{entry['what']}: {entry['advice']}", entry) for entry in table["other"]]
    return _Kinds(
        {suffix: kind for kind, suffixes in table["read"].items() for suffix in suffixes},
        frozenset(table["plain"]["suffixes"]),
        frozenset(table["plain"]["names"]),
        {suffix: reason for reason, entry in reasons for suffix in entry["suffixes"]},
        tuple((at, bytes.fromhex(digits), reason) for reason, entry in reasons for at, digits in entry["magic"]),
        tuple((entry["member"], Detected(entry.get("kind", ""), entry.get("reason", ""))) for entry in table["container"]),
    )


def suffix_of(name: str) -> str:
    """The suffix without its dot, in lower case. «3.5 位置编码» and «notes.2024» have none.

    >>> suffix_of("a/b.MD"), suffix_of("1.注意力"), suffix_of("v1.2")
    ('md', '', '')
    """
    suffix = PurePosixPath(name).suffix[1:].lower()
    return suffix if re.fullmatch(r"[a-z0-9_]*[a-z][a-z0-9_]*", suffix) else ""


def kind_of_suffix(name: str) -> str:
    """The kind that a file's name claims, or ''."""
    return _kinds().read.get(suffix_of(name), "")


def readable_suffixes() -> list[str]:
    """Every suffix a document may have, with its dot, in order; a file without one is told by its content."""
    return sorted(f".{suffix}" for suffix in _kinds().read)


def is_zip(head: bytes) -> bool:
    """Whether a file that begins so may be a zip container, so that :func:`detect` wants the names of its members."""
    return head.startswith(_ZIP)


def is_pdf(head: bytes) -> bool:
    """Whether a file that begins so is a PDF; readers of PDF accept some bytes before its mark."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"%PDF-") or (b"%PDF-" in head[:1024] and _binary(head))


def detect(head: bytes, name: str, members: Collection[str] = ()) -> Detected:
    """The kind of a file from its first ``HEAD`` bytes, its name, and the names of its ``members`` when it is a zip container."""
    suffix = suffix_of(name)
    if is_zip(head):
        return _container(members, suffix)
    if is_pdf(head):
        return Detected("pdf")
    if other := _by_magic(head):
        return Detected("", other)
    text = _peek(head)
    space = _SPACE.match(text)
    text = text[space.end() :] if space else text
    if _PAGE.match(text):
        return Detected("html")
    if _is_mhtml(text, suffix):
        return Detected("mhtml")
    if text.startswith("{") and '"cells"' in text and ('"cell_type"' in text or '"nbformat"' in text):
        return Detected("ipynb")
    return _by_suffix(head, text, suffix, PurePosixPath(name).name)


def _container(members: Collection[str], suffix: str) -> Detected:
    for member, found in _kinds().containers:
        if member in members:
            return found
    if "[Content_Types].xml" in members:  # an Office document may name its main part otherwise
        for folder, kind in (("word/", "docx"), ("ppt/", "pptx")):
            if any(member.startswith(folder) for member in members):
                return Detected(kind)
    if "mimetype" in members:
        return Detected("epub") if suffix == "epub" else Detected("", _kinds().other["odt"])
    if suffix == "xmind":
        return Detected("", _kinds().other[suffix])
    return Detected("zip")


def _by_magic(head: bytes) -> str:
    """Why a file is not read that begins as a kind without a reader, or ''."""
    for offset, magic, reason in _kinds().magic:
        if head.startswith(magic, offset):
            if reason == _kinds().other["doc"] and "EncryptedPackage".encode("utf-16-le") in head:
                return "an Office document with a password: save it without one"
            return reason
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return _kinds().other["bmp"]
    if head.startswith(b"MZ") and b"PE\x00\x00" in head[:4096]:
        return _kinds().other["exe"]
    return ""


def _peek(head: bytes) -> str:
    """The beginning as text, good enough to find ASCII marks in it: every encoding but UTF-16 and UTF-32 keeps those."""
    for mark, codec in _MARKS:
        if head.startswith(mark):
            return head.decode(codec, "ignore")
    if head[1:2] == b"\x00" and head[3:4] == b"\x00":
        return head.decode("utf-16-le", "ignore")
    if head[:1] == b"\x00" and head[2:3] == b"\x00":
        return head.decode("utf-16-be", "ignore")
    return head.removeprefix(b"\xef\xbb\xbf").decode("latin-1")


def _is_mhtml(text: str, suffix: str) -> bool:
    """A block of MIME headers that announces parts belonging together, or any one under the suffix of a saved page."""
    at, text = 0, text.replace("\r\n", "\n")
    while line := _MIME_LINE.match(text, at):
        at = line.end()
    headers = text[:at].lower()
    return "multipart/related" in headers or (suffix in ("mht", "mhtml") and "content-type:" in headers)


def _by_suffix(head: bytes, text: str, suffix: str, name: str) -> Detected:
    kinds = _kinds()
    kind = kinds.read.get(suffix, "")
    if kind in _TEXT_KINDS:  # the bytes of any encoding may look binary here; its reader finds out
        return Detected("html" if kind == "text" and _is_fragment(text) else kind)
    if not head:
        is_plain = suffix in kinds.plain or suffix not in kinds.other
        return Detected("plain" if is_plain else "", "" if is_plain else kinds.other[suffix])
    if not _is_text(head):
        if kind:
            return Detected("", f"its name says {suffix}, its content does not: it may be damaged or only half downloaded")
        dotted = f".{suffix}" if suffix else "what is in it"
        return Detected("", kinds.other.get(suffix, f"no reader for {dotted}: save its text as .txt or .md"))
    if kind or (not suffix and name.lower() not in kinds.plain_names):
        return Detected("html" if _is_fragment(text) else "text")
    what = "source code or data" if suffix in kinds.plain or not suffix else f"text under the suffix .{suffix}"
    return Detected("plain", f"{what}: name the file itself to read it as text")


def _is_text(head: bytes) -> bool:
    with suppress(UnicodeDecodeError):  # a character may be cut where the head ends
        head = codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD).encode()
    try:
        decode(head)
    except MianpuError:
        return False
    return True


def _is_fragment(text: str) -> bool:
    """HTML without its outer tags: begins with a tag and has several blocks."""
    return bool(_FRAGMENT.match(text)) and sum(1 for _ in zip(range(5), _BLOCK_END.finditer(text), strict=False)) == 5


def _binary(head: bytes) -> bool:
    return len(head) - len(head.translate(None, _CONTROL)) > len(head) // 50
