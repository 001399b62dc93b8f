"""Zip archives as folders of documents: listed, checked against stated limits, read in memory and never unpacked to disk.

An archive comes from anywhere. Its directory is read with a bound, members that overlap (a zip bomb that names the same bytes again
and again), that unpack to too much, are encrypted, are links or point outside are refused by name, and no member gives more bytes
than it announces.
"""

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Self

from ingest.errors import MianpuError
from ingest.readers.text import decode_name

MAX_MEMBERS = 10_000
"""Members of an archive, those of archives inside it included."""
MAX_TOTAL = 2 * 1024**3
"""Bytes to which all members of an archive may unpack together."""
MAX_RATIO = 100
"""How many times its size an archive may unpack to, once that is more than ``RATIO_FROM`` bytes."""
RATIO_FROM = 256 * 1024**2
MAX_XML = 100 * 1024**2
"""Bytes of XML and HTML in an Office document or e-book: a parsed tree takes some ten times as much memory."""
MAX_DIRECTORY = 8 * 1024**2
"""Bytes of an archive's table of contents."""
MAX_NAME = 4096
"""Bytes of a member's path."""
_UNPACK = "unpack it and ingest the folder"
_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    ValueError,
    OverflowError,
    OSError,
)


class _Bounded:
    """A file of which only so much is read at once: the table of contents is read in one piece, whatever size it claims."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.limit = file, MAX_DIRECTORY

    def read(self, size: int = -1, /) -> bytes:
        if not self.limit:
            return self.file.read(size)
        data = self.file.read(min(size, self.limit + 1) if size >= 0 else self.limit + 1)
        if len(data) > self.limit:
            raise MianpuError(f"its table of contents is larger than {MAX_DIRECTORY // 2**20} MB: {_UNPACK}")
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def seekable(self) -> bool:
        return True


class Archive:
    """An open zip archive. ``members`` are its files, ``refused`` what is not read, and why.

    Raises MianpuError when the file is no sound zip archive or breaks a limit; ``members_left`` and ``bytes_left`` are what an
    outer archive leaves of those limits.
    """

    def __init__(self, file: BinaryIO, members_left: int = MAX_MEMBERS, bytes_left: int = MAX_TOTAL) -> None:
        self._file = file
        self._infos: dict[str, zipfile.ZipInfo] = {}  # by path
        self.refused: list[tuple[str, str]] = []
        bounded = _Bounded(file)
        try:
            self._zip = zipfile.ZipFile(bounded)
        except _FAULTS as error:
            raise MianpuError(f"damaged, not a whole zip container ({_words(error)}): get it again, or save it anew") from None
        bounded.limit = 0
        infos = self._zip.infolist()
        self.count = len(infos)
        self.total = sum(info.file_size for info in infos)
        if self.count > members_left:
            raise MianpuError(f"more than {MAX_MEMBERS:,} files in one archive: {_UNPACK}")
        if self.total > bytes_left:
            raise MianpuError(f"unpacks to {self.total / 1024**3:.1f} GB, the limit is {MAX_TOTAL // 1024**3}: {_UNPACK}")
        size = file.seek(0, io.SEEK_END)
        if self.total > RATIO_FROM and self.total > MAX_RATIO * size:
            raise MianpuError(f"unpacks to {self.total // size} times its size, which only a zip bomb does: it is not read")
        _refuse_overlaps(infos)
        self._take(infos)
        self._members = {name: self._infos[name].file_size for name in sorted(self._infos)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the archive and its file."""
        self._zip.close()
        self._file.close()

    @property
    def members(self) -> Mapping[str, int]:
        """Path -> bytes when unpacked, as the archive says (reading never gives more); parts are joined by «/»."""
        return self._members

    def chunks(self, member: str, size: int = 1 << 20) -> Iterator[bytes]:
        """The bytes of a member, piece by piece. Raises MianpuError when it is damaged."""
        info = self._infos.get(member)
        if info is None:
            raise MianpuError("it is not in the archive any more: ingest again")
        try:
            with self._zip.open(info) as file:
                while data := file.read(size):
                    yield data
        except _FAULTS as error:
            raise MianpuError(f"damaged in its archive ({_words(error)}): get the archive again") from None

    def read(self, member: str) -> bytes:
        """All bytes of a member; the caller has looked at its size."""
        return b"".join(self.chunks(member))

    def head(self, member: str, size: int) -> bytes:
        """The first bytes of a member."""
        return next(self.chunks(member, size), b"")

    def xml_bytes(self) -> int:
        """Bytes of the members that a document's reader parses as a tree."""
        ends = (".xml", ".rels", ".html", ".xhtml", ".htm", ".opf", ".ncx")
        return sum(info.file_size for name, info in self._infos.items() if name.lower().endswith(ends))

    def _take(self, infos: list[zipfile.ZipInfo]) -> None:
        names = _names(infos)
        for info, raw_name in zip(infos, names, strict=True):
            name = raw_name.replace("\\", "/")  # some programs on Windows write it so
            if name.endswith("/"):
                continue
            parts = [part for part in name.split("/") if part not in ("", ".")]
            reason = _fault(info, name, parts)
            shown = "/".join(parts) if not reason or "outside" not in reason else name
            if reason:
                self.refused.append((shown.encode("utf-8", "replace").decode(), reason))
                continue
            if shown in self._infos:
                self.refused.append((shown, "stands in the archive twice: the last of them is read"))
            self._infos[shown] = info


def is_name(text: str) -> bool:
    """Whether a file's name can be stored and shown on one line: no control characters, no bytes that are not text."""
    return not any(char < " " or "\x7f" <= char <= "\x9f" or "\ud800" <= char <= "\udfff" for char in text)


def _fault(info: zipfile.ZipInfo, name: str, parts: list[str]) -> str:
    """Why a member is not read, or ''."""
    if name.startswith("/") or ".." in parts or name[1:3] == ":/":
        return "points outside the archive: it is not read"
    if not parts or not is_name(name):
        return "its name is not valid text: rename it"
    if len(name.encode("utf-8", "replace")) > MAX_NAME:
        return f"its path is longer than {MAX_NAME} bytes: shorten it"
    mode = info.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "a link or special file: only regular files are read"
    if info.flag_bits & 0x41:
        return "encrypted: unpack the archive with its password and ingest the folder"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # The other methods of Python's zipfile unpack a whole piece at once, so a small bomb could fill the memory.
        return f"compressed by another method than deflate: {_UNPACK}"
    return ""


def _refuse_overlaps(infos: list[zipfile.ZipInfo]) -> None:
    """Raise when members share bytes, as those of a bomb that is built without nesting do (Fifield, 2019)."""
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise MianpuError("its members overlap, which only a zip bomb does: it is not read")
        end = info.header_offset + 30 + len(info.orig_filename) + info.compress_size


def _names(infos: list[zipfile.ZipInfo]) -> list[str]:
    """The names in the encoding they were written in: by flag or extra field, else guessed from all of them together."""
    raw = [b"" if info.flag_bits & 0x800 else info.orig_filename.encode("cp437") for info in infos]
    decoded = decode_name(b"\n".join(raw)).split("\n")
    if len(decoded) != len(raw):  # a line end inside a name
        decoded = [info.orig_filename for info in infos]
    return [
        _unicode_path(info, name) or text if name else info.orig_filename
        for info, name, text in zip(infos, raw, decoded, strict=True)
    ]


def _unicode_path(info: zipfile.ZipInfo, raw: bytes) -> str:
    """The name in the Info-ZIP Unicode Path field (0x7075), when it belongs to this name."""
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        body = extra[4 : 4 + size]
        if kind == 0x7075 and size > 5 and body[0] == 1 and struct.unpack_from("<I", body, 1)[0] == zlib.crc32(raw):
            return body[5:].decode("utf-8", "replace")
        extra = extra[4 + size :]
    return ""


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__


def member_names(file: BinaryIO) -> list[str]:
    """Names of the members of a zip container, as they are needed to tell what it is. Raises MianpuError as :class:`Archive`."""
    archive = Archive(file)
    return [*archive.members, *(name for name, _ in archive.refused)]


def check_container(data: bytes) -> None:
    """Raise MianpuError when an Office document or e-book, a zip archive, would unpack to more than its reader can take."""
    archive = Archive(io.BytesIO(data))
    bad = next((f"{name} in it is {reason}" for name, reason in archive.refused if "encrypted" in reason or "method" in reason), "")
    if bad:
        raise MianpuError(bad)
    if archive.xml_bytes() > MAX_XML:
        raise MianpuError(f"more than {MAX_XML // 2**20} MB of text and structure in it: split it into smaller files")
