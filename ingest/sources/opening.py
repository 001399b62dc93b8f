"""The bytes of a file to ingest, which may be a member of a zip archive, within stated limits."""

import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from ingest.errors import MianpuError
from ingest.sources.archives import MAX_MEMBERS, MAX_TOTAL, Archive
from ingest.sources.detection import HEAD, is_pdf, is_zip, kind_of_suffix

MAX_BYTES = 50 * 1024**2
"""Bytes of a text, a page or a notebook."""
MAX_DOCUMENT_BYTES = 300 * 1024**2
"""Bytes of a PDF, Office document or e-book, most of which are pictures."""
MAX_NESTED_BYTES = 100 * 1024**2
"""Bytes of an archive inside an archive, which is unpacked into memory. Archives inside that one are not opened."""
_CHUNK = 1 << 20
_BLANK = b" \t\r\n\x00\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to ingest: ``path`` on disk, and for a member of the zip archive there its path inside, ``member``.

    ``name`` is the path below the ingested folder, or the file name; ``root`` the folder that ``name`` is below, or None.
    """

    path: Path
    name: str
    root: Path | None
    member: str = ""

    @property
    def source(self) -> Path:
        """What a person calls the file: its path, or that of the archive with the member's path behind it."""
        return self.path / self.member if self.member else self.path


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises MianpuError for special files and OSError as open() does."""
    # A FIFO would block open() for ever, so the kind is asked first and the open does not wait.
    if not stat.S_ISREG(path.stat().st_mode):
        raise MianpuError("is not a regular file: copy its content into one")
    return open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")


def open_archive(path: Path) -> Archive:
    """Open a zip archive on disk. Raises MianpuError, without the path, when it cannot be opened or breaks a limit."""
    try:
        file = open_regular(path)
    except OSError as error:
        raise MianpuError(cannot(error)) from None
    try:
        return Archive(file)
    except BaseException:
        file.close()
        raise


def archive_inside(archive: Archive, member: str, members_left: int = MAX_MEMBERS, bytes_left: int = MAX_TOTAL) -> Archive:
    """Open an archive that is a member of an archive, in memory."""
    if archive.members[member] > MAX_NESTED_BYTES:
        raise MianpuError(f"an archive of more than {MAX_NESTED_BYTES // 2**20} MB inside an archive: unpack the outer one")
    return Archive(io.BytesIO(archive.read(member)), members_left, bytes_left)


class FileReader:
    """Reads found files. The last archive stays open, so that its table of contents is read once for all of its members."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._archive: Archive | None = None
        self._inside = ""
        self._inner: Archive | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the archive that is open."""
        for archive in (self._inner, self._archive):
            if archive is not None:
                archive.close()
        self._path, self._archive, self._inner, self._inside = None, None, None, ""

    def hash(self, file: FoundFile) -> str:
        """SHA-256 of a file's bytes as 64 hexadecimal digits, read piece by piece.

        Raises MianpuError for special, empty and oversized files and on any I/O error.
        """
        digest, blank = hashlib.sha256(), True
        for chunk in self._chunks(file):
            digest.update(chunk)
            blank = blank and not chunk.strip(_BLANK)
        if blank:
            raise MianpuError(f"{file.source} is empty: there is nothing to ingest")
        return digest.hexdigest()

    def read(self, file: FoundFile) -> bytes:
        """The bytes of a file. Raises as :meth:`hash`."""
        data = b"".join(self._chunks(file))
        if not data.strip(_BLANK):
            raise MianpuError(f"{file.source} is empty: there is nothing to ingest")
        return data

    def holds(self, path: Path, member: str) -> bool:
        """Whether an archive has a member, also one that is not read. Raises MianpuError when the archive cannot be opened."""
        archive, inside = self._open(FoundFile(path, "", None, member))
        return inside in archive.members or inside in {name for name, _ in archive.refused}

    def _chunks(self, file: FoundFile) -> Iterator[bytes]:
        if not file.member:
            yield from _file_chunks(file.path)
            return
        try:
            archive, member = self._open(file)
            head = archive.head(member, HEAD)
            _check_size(archive.members.get(member, 0), head, member)
            yield from archive.chunks(member, _CHUNK)
        except MianpuError as error:
            raise MianpuError(f"{file.source}: {error}") from None

    def _open(self, file: FoundFile) -> tuple[Archive, str]:
        if self._path != file.path or self._archive is None:
            self.close()
            self._archive, self._path = open_archive(file.path), file.path
        if file.member in self._archive.members:
            return self._archive, file.member
        for folder in folders(file.member):
            if folder in self._archive.members:
                if self._inner is None or self._inside != folder:
                    self._inner, self._inside = archive_inside(self._archive, folder), folder
                return self._inner, file.member[len(folder) + 1 :]
        return self._archive, file.member


def _file_chunks(path: Path) -> Iterator[bytes]:
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(HEAD)
            limit = _check_size(size, head, str(path))
            read, chunk = 0, head
            while chunk:
                read += len(chunk)
                if read > limit:
                    raise MianpuError("grew while it was read: ingest again")
                yield chunk
                chunk = file.read(_CHUNK)
    except OSError as error:
        raise MianpuError(f"{path} {cannot(error)}") from None
    except MianpuError as error:
        raise MianpuError(f"{path} {error}") from None


def _check_size(size: int, head: bytes, name: str) -> int:
    """The most bytes a file of this kind may have. Raises MianpuError when it has more: nothing of it is read then."""
    document = is_zip(head) or is_pdf(head) or kind_of_suffix(name) == "pdf"
    limit = MAX_DOCUMENT_BYTES if document else MAX_BYTES
    if size > limit:
        raise MianpuError(f"is larger than {limit // 2**20} MB: split it into smaller files")
    return limit


def read_bytes(path: Path) -> bytes:
    """The bytes of a regular file. Raises MianpuError for special files, empty and oversized ones, and on any I/O error."""
    return FileReader().read(FoundFile(path, path.name, None))


def raw_hash(data: bytes) -> str:
    """SHA-256 of a file's bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def folders(name: str) -> list[str]:
    """The folders above a member, outermost first: «a/b/c.md» has «a», «a/b»."""
    parts = name.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def cannot(error: OSError) -> str:
    """«cannot be read», the system's own words for why, and what to do."""
    advice = {
        errno.EACCES: "give yourself the right to read it",
        errno.EPERM: "give yourself the right to read it",
        errno.ELOOP: "mend or remove the link",
        errno.ENOENT: "ingest again",
        errno.ENAMETOOLONG: "move it to a shorter path",
    }.get(error.errno or 0, "check the disk and ingest again")
    return f"cannot be read ({error.strerror or type(error).__name__}): {advice}"
