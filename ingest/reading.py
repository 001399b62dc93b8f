"""Path -> raw text, its encoding and its format; one small reader a format.

A reader takes the bytes of a file and returns a :class:`RawText`. Later formats come as one more entry of ``READERS``.
Line ends become ``\\n`` and characters that would make spans lie (NUL, lone surrogates, other control characters) are replaced,
so every later offset counts visible characters of one well-formed string.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.errors import MianpuError, UsageError

MAX_BYTES = 50 * 1024 * 1024

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


@dataclass(frozen=True, slots=True)
class RawText:
    """What a reader returns: the whole text, how it was encoded, and its format.

    Only the format «text» is plain; every other reader writes its structure as Markdown. ``metadata`` holds what the file says of
    itself (keys title, author, date, address). ``furniture`` are spans (start, end, reason) of what the file's own structure marks as no
    content (navigation of a page, running heads of a PDF): they stand in the text, so that a person can see and restore them.
    ``pages`` are the offsets at which pages or slides begin.
    """

    text: str
    encoding: str
    format: str
    metadata: tuple[tuple[str, str], ...] = ()
    furniture: tuple[tuple[int, int, str], ...] = ()
    pages: tuple[int, ...] = ()

    @property
    def markup(self) -> str:
        """«text» or «markdown»: how the text marks its structure."""
        return "text" if self.format == "text" else "markdown"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to ingest. ``name`` is the path below the ingested folder, or the file name; ``root`` that folder, or None."""

    path: Path
    name: str
    root: Path | None


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """What the paths of a request hold: files, ingested folders, and what was passed over with the reason."""

    files: tuple[FoundFile, ...]
    roots: tuple[Path, ...]
    skipped: tuple[tuple[str, str], ...]


# --- files ----------------------------------------------------------------------------------------------------------


def find_files(paths: Sequence[Path]) -> FoundFiles:
    """The files under the paths, sorted by path; a folder is walked, a file is taken as it is.

    Hidden files and folders are left out without a word; other files that no reader takes are reported in ``skipped``.
    Raises UsageError for a path that does not exist.
    """
    files: dict[Path, FoundFile] = {}
    roots: list[Path] = []
    skipped: list[tuple[str, str]] = []
    for path in paths:
        absolute = Path(os.path.abspath(path))  # not resolve(): a link named by the person keeps the name they gave it
        try:
            mode = absolute.stat().st_mode
        except OSError as error:
            raise UsageError(f"{path} cannot be read ({_reason(error)}): check the path") from None
        if stat.S_ISDIR(mode):
            roots.append(absolute)
            for file in _walk(absolute, skipped):
                files[file] = FoundFile(file, file.relative_to(absolute).as_posix(), absolute)
        else:
            files.setdefault(absolute, FoundFile(absolute, absolute.name, None))
    return FoundFiles(tuple(files[path] for path in sorted(files)), tuple(roots), tuple(skipped))


def _walk(root: Path, skipped: list[tuple[str, str]]) -> Iterator[Path]:
    """Regular files that have a reader. Every folder is entered once, so a loop of symbolic links ends."""
    waiting, entered = [root], set()
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            skipped.append((str(folder), _reason(error)))
            continue
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError as error:
                skipped.append((str(path), _reason(error)))
                continue
            if is_folder:
                waiting.append(path)
            elif not _printable(entry.name):
                skipped.append((ascii(str(path)), "its name is not valid text: rename it"))
            elif not is_file:
                skipped.append((str(path), "not a regular file"))
            elif path.suffix.lower() not in READERS:
                skipped.append((str(path), f"no reader for {path.suffix or 'files without a suffix'}"))
            else:
                yield path


def _printable(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False  # bytes that are not UTF-8 arrive as lone surrogates and could not be stored
    return True


def read_bytes(path: Path) -> bytes:
    """The bytes of a regular file. Raises MianpuError for special files, empty and oversized ones, and on any I/O error."""
    try:
        # A FIFO would block open() for ever, so the kind is asked first and the open does not wait.
        if not stat.S_ISREG(path.stat().st_mode):
            raise MianpuError(f"{path} is not a regular file: copy its content into one")
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise MianpuError(f"{path} cannot be read: {_reason(error)}") from None
    if len(data) > MAX_BYTES:
        raise MianpuError(f"{path} is larger than {MAX_BYTES // 2**20} MB: split it into smaller files")
    if not data.strip(b" \t\r\n\x00\xef\xbb\xbf"):
        raise MianpuError(f"{path} is empty: there is nothing to ingest")
    return data


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def raw_hash(data: bytes) -> str:
    """SHA-256 of a file's bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def parse(path: Path, data: bytes) -> RawText:
    """The raw text of a file whose bytes were read. Raises MianpuError when no reader takes it or it is not text."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(sorted(READERS))
        raise MianpuError(f"{path}: no reader for {path.suffix or 'files without a suffix'} (known: {known})")
    try:
        return reader(data)
    except MianpuError as error:
        raise MianpuError(f"{path}: {error}") from None


def read(path: Path) -> RawText:
    """Read and decode one file; see :func:`read_bytes` and :func:`parse`."""
    return parse(path, read_bytes(path))


# --- readers --------------------------------------------------------------------------------------------------------


def _read_text(data: bytes) -> RawText:
    text, encoding = decode(data)
    # Notes are often Markdown under a .txt suffix; a heading or a fence of one has at least a second mark somewhere.
    marks = sum(1 for _ in zip(range(3), _MARKDOWN.finditer(text), strict=False))
    return RawText(text, encoding, "markdown" if marks >= 3 else "text")


def _read_markdown(data: bytes) -> RawText:
    text, encoding = decode(data)
    return RawText(text, encoding, "markdown")


READERS: dict[str, Callable[[bytes], RawText]] = {
    ".txt": _read_text,
    ".text": _read_text,
    ".md": _read_markdown,
    ".markdown": _read_markdown,
}


# --- encodings ------------------------------------------------------------------------------------------------------


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
