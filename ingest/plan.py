"""What an ingest has to do: the files found compared with the documents of the library."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

from ingest.files import FoundFile, FoundFiles
from ingest.library import DocumentInfo


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

    A document that another ``pipeline`` made is made again.
    """
    plan = Plan()
    by_source = {document.source: document for document in documents}
    by_name = {document.name: document for document in documents}
    by_hash: dict[str, list[DocumentInfo]] = {}
    for document in documents:
        by_hash.setdefault(document.raw_hash, []).append(document)
    present = {str(file.path) for file in found.files}
    gone = {d.name for d in documents if d.source not in present and _is_gone(d.source)}
    kept, copies = _without_copies(found.files, hashes, by_source)
    pairs: list[tuple[FoundFile, DocumentInfo | None]] = []
    taken_over: set[str] = set()
    duplicates: list[tuple[FoundFile, DocumentInfo]] = []
    for file in kept:
        owner = by_source.get(str(file.path))
        if owner is None:
            same = [d for d in by_hash.get(hashes[file.path], ()) if d.name not in taken_over and d.source not in present]
            owner = min(same, key=lambda d: (d.name not in gone, d.name != file.name, d.name), default=None)
            if owner is not None and owner.name not in gone:
                duplicates.append((file, owner))
                continue
            if owner is None and file.root is not None and file.name in gone and file.name not in taken_over:
                owner = by_name[file.name]  # the folder itself moved, and this file was edited too
        if owner is not None:
            taken_over.add(owner.name)
        pairs.append((file, owner))
    old_copies = {d.name for file, _ in copies if (d := by_source.get(str(file.path)))}
    lost = {d.name for d in documents if d.name in gone - taken_over and any(_below(d.source, root) for root in found.roots)}
    plan.removed = tuple(sorted(lost | (old_copies - taken_over)))
    names = _names(pairs, {d.name for d in documents} - set(plan.removed) - taken_over)
    unchanged = []
    for (file, owner), name in zip(pairs, names, strict=True):
        if owner is None:
            plan.added.append(name)
            plan.work.append((file, name))
            continue
        moved = owner.name != name or owner.source != str(file.path)
        if moved:
            plan.renames.append((file, owner.name, name))
        if owner.raw_hash != hashes[file.path] or owner.pipeline != pipeline:
            plan.updated.append(name)
            plan.work.append((file, name))
        elif not moved:
            unchanged.append(name)
    plan.unchanged = tuple(unchanged)
    name_of = {file.path: name for (file, _), name in zip(pairs, names, strict=True)}
    plan.duplicates = (
        *((str(file.path), name_of[first.path]) for file, first in copies if first.path in name_of),
        *((str(file.path), document.name) for file, document in duplicates),
    )
    return plan


def _without_copies(
    files: Sequence[FoundFile], hashes: dict[Path, str], by_source: dict[str, DocumentInfo]
) -> tuple[list[FoundFile], list[tuple[FoundFile, FoundFile]]]:
    """One file for each content (the one the library already knows, else the first), and (copy, kept file)."""

    def rank(file: FoundFile) -> tuple[bool, bool]:
        document = by_source.get(str(file.path))
        return document is None or document.raw_hash != hashes[file.path], document is None

    first: dict[str, FoundFile] = {}
    for file in sorted((file for file in files if file.path in hashes), key=rank):
        first.setdefault(hashes[file.path], file)
    kept = [file for file in files if file.path in hashes and first[hashes[file.path]] is file]
    copies = [(file, first[hashes[file.path]]) for file in files if file.path in hashes and first[hashes[file.path]] is not file]
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


def _is_gone(source: str) -> bool:
    """Whether a file surely does not exist any more (a folder that cannot be read says nothing)."""
    try:
        os.stat(source)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
