"""What an ingest has to do: the files found compared with the documents of the library."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path, PurePosixPath

from ingest.errors import MianpuError
from ingest.sources.detection import suffix_of
from ingest.sources.files import FoundFiles
from ingest.sources.opening import FileReader, FoundFile
from ingest.storage.library import DocumentInfo


@dataclass(slots=True)
class Plan:
    """Files to parse with their names, and what happens to documents that need no parsing."""

    work: list[tuple[FoundFile, str]] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: tuple[str, ...] = ()
    renames: list[tuple[FoundFile, str, str]] = field(default_factory=list)
    removed: tuple[str, ...] = ()
    duplicates: tuple[tuple[str, str], ...] = ()


def make_plan(documents: Sequence[DocumentInfo], found: FoundFiles, hashes: dict[Path, str], pipeline: str) -> Plan:
    """Compare the files with the documents. Content decides what a document is, then its path, then its name.

    ``hashes`` are by source; a file that could not be read has none, and its document stays as it is. A document that another
    ``pipeline`` made is made again.
    """
    plan = Plan()
    by_source = {document.source: document for document in documents}
    present = {str(file.source) for file in found.files}
    with FileReader() as reader:
        gone = {d.name for d in documents if d.source not in present and _is_gone(d.source, found, present, reader)}
    kept, copies = _without_copies(found.files, hashes, by_source)
    owners = _owners(kept, documents, hashes, present, gone)
    duplicates = [(file, owner) for file, owner in zip(kept, owners, strict=True) if owner and _elsewhere(file, owner, gone)]
    copied = {file.source for file, _ in duplicates}
    pairs = [(file, owner) for file, owner in zip(kept, owners, strict=True) if file.source not in copied]
    taken_over = {owner.name for _, owner in pairs if owner}
    old_copies = {d.name for file, _ in copies if (d := by_source.get(str(file.source)))}
    lost = {d.name for d in documents if d.name in gone - taken_over and any(_below(d.source, root) for root in found.roots)}
    plan.removed = tuple(sorted(lost | (old_copies - taken_over)))
    names = _names(pairs, {d.name for d in documents} - set(plan.removed) - taken_over)
    unchanged = []
    for (file, owner), name in zip(pairs, names, strict=True):
        if owner is None:
            plan.added.append(name)
            plan.work.append((file, name))
            continue
        moved = owner.name != name or owner.source != str(file.source)
        if moved:
            plan.renames.append((file, owner.name, name))
        if owner.raw_hash != hashes[file.source] or owner.pipeline != pipeline:
            plan.updated.append(name)
            plan.work.append((file, name))
        elif _reads_otherwise(owner, file, name):
            plan.work.append((file, name))
        elif not moved:
            unchanged.append(name)
    plan.unchanged = tuple(unchanged)
    name_of = {file.source: name for (file, _), name in zip(pairs, names, strict=True)}
    name_of |= {file.source: document.name for file, document in duplicates}
    plan.duplicates = (
        *((str(file.source), name_of[first.source]) for file, first in copies),
        *((str(file.source), document.name) for file, document in duplicates),
    )
    return plan


def _owners(
    files: Sequence[FoundFile], documents: Sequence[DocumentInfo], hashes: dict[Path, str], present: set[str], gone: set[str]
) -> list[DocumentInfo | None]:
    """The document of each file, or None for a new one.

    It is the one that was read from that file; else one of the same content whose file is not among these; else, where other files
    show that a folder moved, the one at the same place below the folder as it was: a file that was moved and edited.
    """
    by_source = {document.source: document for document in documents}
    by_hash: dict[str, list[DocumentInfo]] = {}
    for document in documents:
        by_hash.setdefault(document.raw_hash, []).append(document)
    owners = [by_source.get(str(file.source)) for file in files]
    moves: set[tuple[Path, Path]] = set()
    for n, file in enumerate(files):
        if owners[n] is None:
            same = [d for d in by_hash.get(hashes[file.source], ()) if d.source not in present]
            owner = min(same, key=lambda d: (d.name not in gone, d.name != file.name, d.name), default=None)
            owners[n] = owner
            if owner and owner.name in gone:
                moves.add(_move(Path(owner.source), file.source))
    taken = {owner.name for owner in owners if owner}
    free = {document.source: document for document in documents if document.name in gone - taken}
    for n, file in enumerate(files):
        if owners[n] is None and free:
            before = [old / file.source.relative_to(new) for old, new in moves if file.source.is_relative_to(new)]
            owners[n] = next((free.pop(str(source)) for source in sorted(before) if str(source) in free), None)
    return owners


def _move(old: Path, new: Path) -> tuple[Path, Path]:
    """The outermost folders that explain a file's move: what the paths do not share at their ends.

    >>> _move(Path("/a/notes/sub/x.md"), Path("/b/new/sub/x.md"))
    (PosixPath('/a/notes'), PosixPath('/b/new'))
    """
    while old.name == new.name and old.name:
        old, new = old.parent, new.parent
    return old, new


def _elsewhere(file: FoundFile, owner: DocumentInfo, gone: set[str]) -> bool:
    """Whether the file is a copy of a document whose own file is still there."""
    return owner.source != str(file.source) and owner.name not in gone


def _reads_otherwise(owner: DocumentInfo, file: FoundFile, name: str) -> bool:
    """Whether a document that moved without a change must be read again: its suffix tells kinds of text apart, and a document
    without a title of its own has its name for one.
    """
    named = owner.title == PurePosixPath(owner.name).stem != PurePosixPath(name).stem
    return named or suffix_of(owner.source) != suffix_of(str(file.source))


def _without_copies(
    files: Sequence[FoundFile], hashes: dict[Path, str], by_source: dict[str, DocumentInfo]
) -> tuple[list[FoundFile], list[tuple[FoundFile, FoundFile]]]:
    """One file for each content (the one the library already knows, else the first), and (copy, kept file)."""

    def rank(file: FoundFile) -> tuple[bool, bool]:
        document = by_source.get(str(file.source))
        return document is None or document.raw_hash != hashes[file.source], document is None

    first: dict[str, FoundFile] = {}
    for file in sorted((file for file in files if file.source in hashes), key=rank):
        first.setdefault(hashes[file.source], file)
    kept = [file for file in files if file.source in hashes and first[hashes[file.source]] is file]
    copies = [
        (file, first[hashes[file.source]]) for file in files if file.source in hashes and first[hashes[file.source]] is not file
    ]
    return kept, copies


def _names(pairs: Sequence[tuple[FoundFile, DocumentInfo | None]], taken: set[str]) -> list[str]:
    """A name for every file: its own, with the folder's name before it when another source has that name."""
    used = set(taken)
    names: dict[int, str] = {}
    candidates = [(file.name, f"{(file.root or file.path.parent).name}/{file.name}") for file, _ in pairs]
    for n, (_, owner) in enumerate(pairs):  # documents keep the names they have before new ones choose
        if owner is not None and owner.name in candidates[n] and owner.name not in used:
            names[n] = owner.name
            used.add(owner.name)
    for n in range(len(pairs)):
        if n not in names:
            more = (f"{candidates[n][1]} ({i})" for i in count(2))
            names[n] = next(name for name in chain(candidates[n], more) if name not in used)
            used.add(names[n])
    return [names[n] for n in range(len(pairs))]


def _below(source: str, root: Path) -> bool:
    return os.path.commonpath([source, root]) == str(root) if os.path.isabs(source) else False


def _is_gone(source: str, found: FoundFiles, present: set[str], reader: FileReader) -> bool:
    """Whether a file, or a member of an archive, surely does not exist any more.

    A folder or archive that cannot be read says nothing. A file that became a folder or an archive is gone, and so are the members
    of an archive that became a document.
    """
    path = Path(source)
    for there in (path, *path.parents):
        try:
            mode = os.stat(there).st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return False
        if there == path or not stat.S_ISREG(mode):
            return not stat.S_ISREG(mode) or path in found.archives
        if str(there) in present:
            return True
        try:
            return not reader.holds(there, path.relative_to(there).as_posix())
        except MianpuError:
            return False
    return True
