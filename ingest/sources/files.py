"""Paths -> the files to ingest. A zip archive is a folder of files."""

import io
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.document import RawText
from ingest.errors import MianpuError, UsageError
from ingest.sources.archives import MAX_MEMBERS, MAX_TOTAL, Archive, is_name, member_names
from ingest.sources.detection import HEAD, Detected, detect, is_zip, kind_of_suffix
from ingest.sources.opening import (
    MAX_DOCUMENT_BYTES,
    FoundFile,
    archive_inside,
    cannot,
    folders,
    open_archive,
    open_regular,
    read_bytes,
)
from ingest.sources.reading import parse

_READ_ALREADY = "a link to a folder that is read already: nothing is missing"
_PAGE_PARTS = ("_files", ".files", "_文件")


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """What the paths of a request hold: files, ingested folders and archives, and (path, reason) of what is not ingested.

    ``skipped`` is what no reader takes; ``failed`` what one would take but cannot be read. ``archives`` are those that were opened.
    """

    files: tuple[FoundFile, ...]
    roots: tuple[Path, ...]
    skipped: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str], ...] = ()
    archives: frozenset[Path] = frozenset()


def find_files(paths: Sequence[Path]) -> FoundFiles:
    """The files under the paths, sorted by source; a folder is walked, an archive opened, a file taken as it is.

    Hidden files and folders are left out without a word; other files that no reader takes are reported.
    Raises UsageError for a path that does not exist.
    """
    search = _Search()
    for path in paths:
        absolute = Path(os.path.abspath(path))  # not resolve(): a link named by the person keeps the name they gave it
        try:
            mode = absolute.stat().st_mode
        except OSError as error:
            raise UsageError(f"{path} cannot be read ({error.strerror}): check the path") from None
        if stat.S_ISDIR(mode):
            search.roots.append(absolute)
            search.walk(absolute)
        else:
            search.named(absolute)
    files = (search.files[source] for source in sorted(search.files))
    return FoundFiles(tuple(files), tuple(search.roots), tuple(search.skipped), tuple(search.failed), frozenset(search.archives))


class _Search:
    """What was found so far."""

    def __init__(self) -> None:
        self.files: dict[Path, FoundFile] = {}
        self.roots: list[Path] = []
        self.skipped: list[tuple[str, str]] = []
        self.failed: list[tuple[str, str]] = []
        self.archives: set[Path] = set()

    def named(self, path: Path) -> None:
        """A file that the person named: text of any suffix is read, and what cannot be read is a failure."""
        try:
            found = _detect_file(path)
        except OSError:
            found = Detected("text")  # reading it says what is wrong
        except MianpuError as error:
            found = Detected("", str(error))
        if found.kind == "zip":
            self.roots.append(path)
            self.archive(path, path.parent)
        elif found.kind:
            self.files.setdefault(path, FoundFile(path, path.name, None))
        else:
            self.failed.append((str(path), found.reason))

    def walk(self, root: Path) -> None:
        """Files of a folder that have a reader. Every folder is entered once, so a loop of links ends; the link is named."""
        waiting, entered = [root], set()
        while waiting:
            folder = waiting.pop()
            try:
                status = folder.stat()
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as error:
                self.failed.append((_shown(folder), cannot(error)))
                continue
            if (status.st_dev, status.st_ino) in entered:
                self.skipped.append((_shown(folder), _READ_ALREADY))
                continue
            entered.add((status.st_dev, status.st_ino))
            names = {entry.name for entry in entries}
            for entry in entries:
                path = Path(entry.path)
                if entry.name.startswith("."):
                    continue
                try:
                    is_folder, is_file = entry.is_dir(), entry.is_file()
                except OSError as error:
                    self.failed.append((_shown(path), cannot(error)))
                    continue
                page = _page_of_parts(entry.name, names) if is_folder else ""
                if not is_name(entry.name):
                    self.failed.append((_shown(path), "its name is not valid text: rename it"))
                elif page:
                    self.skipped.append((str(path), f"the parts of the saved page {page}"))
                elif is_folder:
                    waiting.append(path)
                elif not is_file:
                    self.skipped.append((str(path), _special(path)))
                else:
                    self.file(path, root)

    def file(self, path: Path, root: Path) -> None:
        """A regular file of a folder."""
        found_file = FoundFile(path, path.relative_to(root).as_posix(), root)
        try:
            found = _detect_file(path)
        except OSError:
            found = Detected("text")  # reading it says what is wrong
        except MianpuError as error:
            self.failed.append((str(path), str(error)))
            return
        if found.kind == "zip":
            self.archive(path, root)
        elif found.reason:
            self.skipped.append((str(path), found.reason))
        else:
            self.files[path] = found_file

    def archive(self, path: Path, root: Path) -> None:
        """The members of an archive that have a reader."""
        try:
            with open_archive(path) as archive:
                self.archives.add(path)
                self.members(archive, FoundFile(path, path.relative_to(root).as_posix(), root), "", [archive.count, archive.total])
        except MianpuError as error:
            self.failed.append((str(path), str(error)))

    def members(self, archive: Archive, outer: FoundFile, inside: str, used: list[int]) -> None:
        """``inside`` is the path of an archive inside the archive, with a slash behind it; ``used`` counts members and bytes."""
        start = f"{outer.path}/{inside}"
        self.failed += [(_shown(start + name), reason) for name, reason in archive.refused if not _ignored(name)]
        names = set(archive.members)
        passed: set[str] = set()
        for name in archive.members:
            file = FoundFile(outer.path, f"{outer.name}/{inside}{name}", outer.root, inside + name)
            if _ignored(name):
                continue
            parts = next(((folder, page) for folder in folders(name) if (page := _page_of_parts(folder, names))), None)
            if parts:
                if parts[0] not in passed:
                    self.skipped.append((start + parts[0], f"the parts of the saved page {parts[1].rpartition('/')[2]}"))
                passed.add(parts[0])
                continue
            try:
                found = _detect_member(archive, name)
                if found.kind == "zip":
                    self.nested(archive, outer, inside, name, used)
                elif found.reason:
                    self.skipped.append((str(file.source), found.reason))
                else:
                    self.files[file.source] = file
            except MianpuError as error:
                self.failed.append((str(file.source), str(error)))

    def nested(self, archive: Archive, outer: FoundFile, inside: str, name: str, used: list[int]) -> None:
        if inside:
            raise MianpuError("an archive inside an archive inside an archive is not opened: unpack the outermost")
        with archive_inside(archive, name, MAX_MEMBERS - used[0], MAX_TOTAL - used[1]) as inner:
            used[0] += inner.count
            used[1] += inner.total
            self.members(inner, outer, f"{name}/", used)


def _detect_file(path: Path) -> Detected:
    """The kind of a file. Raises OSError or MianpuError when it cannot be opened, or is a damaged archive."""
    with open_regular(path) as file:
        head = file.read(HEAD)
        return detect(head, path.name, member_names(file) if is_zip(head) else ())


def _detect_member(archive: Archive, name: str) -> Detected:
    by_name = detect(b"", name)
    if not by_name.kind and by_name.reason:
        return by_name  # pictures of a saved page are not unpacked to be looked at
    head = archive.head(name, HEAD)
    if not is_zip(head):
        return detect(head, name)
    if archive.members[name] > MAX_DOCUMENT_BYTES:
        return Detected(kind_of_suffix(name) or "text")  # reading it names the limit
    return detect(head, name, member_names(io.BytesIO(archive.read(name))))


def _ignored(name: str) -> bool:
    """Whether a member is hidden, or what macOS adds to its archives."""
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in name.split("/"))


def _page_of_parts(folder: str, names: set[str]) -> str:
    """The saved page («x.html») whose pictures and scripts a browser put into this folder («x_files»), or ''."""
    for end in _PAGE_PARTS:
        stem = folder.removesuffix(end)
        if stem and stem != folder:
            return next((page for page in (f"{stem}.html", f"{stem}.htm", f"{stem}.xhtml") if page in names), "")
    return ""


def _special(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"a link to nothing ({error.strerror}): mend or remove it"
    kinds = ((stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"), (stat.S_ISBLK, "a device"), (stat.S_ISCHR, "a device"))
    return (
        f"not a regular file but {next((name for test, name in kinds if test(mode)), 'something else')}: copy its content into one"
    )


def _shown(path: Path | str) -> str:
    """A path as one line of valid text."""
    return str(path) if is_name(str(path)) else ascii(str(path))


def read(path: Path) -> RawText:
    """Read and decode one file; see :func:`read_bytes` and :func:`ingest.sources.reading.parse`."""
    return parse(path, read_bytes(path))
