"""Paths -> the files to ingest, and their bytes."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.document import RawText
from ingest.errors import MianpuError, UsageError
from ingest.reading import SUFFIXES, parse

MAX_BYTES = 50 * 1024 * 1024


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
            elif path.suffix.lower() not in SUFFIXES:
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


def read(path: Path) -> RawText:
    """Read and decode one file; see :func:`read_bytes` and :func:`ingest.reading.parse`."""
    return parse(path, read_bytes(path))
