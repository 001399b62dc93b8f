"""Paths -> library: only what changed, in an order that a kill at any moment cannot spoil.

Every embedding is stored under the hash of its text before the documents that need it are published, so an interrupted ingest
goes on where it stopped, and a text that occurs twice is embedded once. The model is loaded only when something has to be embedded.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from ingest import reading
from ingest.cleaning import clean
from ingest.document import Document, ParsedDocument
from ingest.errors import Interrupted, MianpuError
from ingest.library import DocumentInfo, Library, passage_hash, question_hash
from ingest.progress import Progress, no_progress
from ingest.reading import FoundFile
from ingest.splitting import split, title_of

if TYPE_CHECKING:
    from ingest.embedding import Embedder

PIPELINE = "1"
"""Version of reading, cleaning and splitting: a document made by another version is made again."""

GROUP = 256
"""Documents are published together until they hold this many passages: every publication writes the vector file once."""
BATCH = 64
"""Embeddings are stored after this many texts: no more than these are lost by a kill."""


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """What one ingest did. Names are those of documents.

    ``failed`` and ``skipped`` hold (path, reason), ``duplicates`` (path, name of the document that holds the same content already).
    ``passages`` and ``pairs`` count those of the documents added or updated, ``embedded`` the texts that had no embedding yet;
    ``seconds`` has the keys read, split, embed, write, total.
    """

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    duplicates: tuple[tuple[str, str], ...] = ()
    passages: int = 0
    pairs: int = 0
    embedded: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


def parse_document(path: Path, name: str, data: bytes) -> ParsedDocument:
    """One file, from its bytes to passages: reading, cleaning, splitting. Raises MianpuError when nothing is left to ingest."""
    raw = reading.parse(path, data)
    cleaned = clean(raw.text, raw.format)
    title = title_of(cleaned.text, raw.format, name, cleaned.metadata)
    document = Document(
        name, str(path), title, cleaned.text, reading.raw_hash(data), raw.format, raw.encoding, cleaned.cuts, cleaned.metadata
    )
    parsed = split(document)
    if not parsed.passages:
        raise MianpuError(f"{path}: nothing is left once boilerplate is cut: check the file")
    return parsed


def ingest(
    library: Library,
    paths: Sequence[Path],
    load_embedder: "Callable[[], Embedder]",
    progress: Progress = no_progress,
    stop: threading.Event | None = None,
    *,
    fingerprint: str | None = None,
) -> IngestSummary:
    """Bring the library up to date with files and folders.

    A document whose file lay below an ingested folder and is gone is removed; a file that moved keeps its passages.
    ``load_embedder`` is called only when a text has no embedding. ``fingerprint``, when the caller knows it, names the model that
    ``load_embedder`` would give: another one than the library's makes every embedding anew.

    Raises LibraryBusy when another process ingests, UsageError for a path that does not exist, Interrupted when ``stop`` is set or
    on Ctrl-C; what was published until then stays.
    """
    with library.writer():
        run = _Run(library, load_embedder, progress, stop or threading.Event())
        try:
            return run.all(paths, fingerprint)
        except KeyboardInterrupt:
            raise run.interrupted() from None


class _Run:
    """The state of one ingest."""

    def __init__(
        self, library: Library, load_embedder: "Callable[[], Embedder]", progress: Progress, stop: threading.Event
    ) -> None:
        self.library, self.load_embedder, self.progress, self.stop = library, load_embedder, progress, stop
        self.embedder: Embedder | None = None
        self.seconds = dict.fromkeys(("read", "split", "embed", "write"), 0.0)
        self.failed: list[tuple[str, str]] = []
        self.embedded = self.to_embed = self.published = 0

    def all(self, paths: Sequence[Path], fingerprint: str | None) -> IngestSummary:
        started = time.perf_counter()
        with self.timed("read"):
            found = reading.find_files(paths)
            hashes = self.hash_files(found.files)
            plan = _plan(self.library.documents(), found, hashes)
        with self.timed("write"):
            self.library.publish([], PIPELINE, removed=plan.removed)
            self.library.rename_all([(old, new, str(file.path)) for file, old, new in plan.renames])
        parsed = self.parse(plan)
        if fingerprint is not None and self.library.meta("embedding_model") not in (None, fingerprint):
            self.model()
        self.embed_missing(parsed)
        self.write(parsed)
        with self.timed("write"):
            self.library.forget_unused_embeddings()
        failed_names = {name for _, name in plan.work} - {p.document.name for p in parsed}
        return IngestSummary(
            added=tuple(name for name in plan.added if name not in failed_names),
            updated=tuple(name for name in plan.updated if name not in failed_names),
            unchanged=plan.unchanged,
            renamed=tuple(new for _, _, new in plan.renames),
            removed=plan.removed,
            failed=tuple(self.failed),
            skipped=found.skipped,
            duplicates=plan.duplicates,
            passages=sum(len(p.passages) for p in parsed),
            pairs=sum(len(p.pairs) for p in parsed),
            embedded=self.embedded,
            seconds={**self.seconds, "total": time.perf_counter() - started},
        )

    def hash_files(self, files: Sequence[FoundFile]) -> dict[Path, str]:
        hashes: dict[Path, str] = {}
        for n, file in enumerate(files):
            self.check()
            self.progress("reading", n, len(files))
            try:
                hashes[file.path] = reading.raw_hash(reading.read_bytes(file.path))
            except MianpuError as error:
                self.fail(file.path, error)
        self.progress("reading", len(files), len(files))
        return hashes

    def parse(self, plan: "_Plan") -> list[ParsedDocument]:
        parsed = []
        for n, (file, name) in enumerate(plan.work):
            self.check()
            self.progress("splitting", n, len(plan.work))
            try:
                with self.timed("read"):
                    data = reading.read_bytes(file.path)
                with self.timed("split"):
                    parsed.append(parse_document(file.path, name, data))
            except MianpuError as error:
                self.fail(file.path, error)
        if plan.work:
            self.progress("splitting", len(plan.work), len(plan.work))
        return parsed

    def embed_missing(self, parsed: Sequence[ParsedDocument]) -> None:
        """Complete what is in the library already (a model change that was interrupted), and count what is to come."""
        known = self.library.known_embeddings([key for document in parsed for key, _, _ in _texts(document)])
        new = {key for document in parsed for key, _, _ in _texts(document)} - known
        missing = self.library.missing_embeddings()
        if new or missing:
            self.model()  # another model than the library's empties it, so what is missing is asked again
            missing = self.library.missing_embeddings()
            known = self.library.known_embeddings([key for document in parsed for key, _, _ in _texts(document)])
            new = {key for document in parsed for key, _, _ in _texts(document)} - known
        self.to_embed = len({key for key, _, _ in missing} | new)
        if missing:
            self.embed(missing)
            with self.timed("write"):
                self.library.refresh_vectors()

    def write(self, parsed: Sequence[ParsedDocument]) -> None:
        group: list[ParsedDocument] = []
        passages = 0
        for n, document in enumerate(parsed):
            group.append(document)
            passages += len(document.passages)
            if passages >= GROUP or n + 1 == len(parsed):
                self.embed([text for member in group for text in _texts(member)])
                with self.timed("write"):
                    self.library.publish(group, PIPELINE)
                self.published += len(group)
                group, passages = [], 0

    def embed(self, texts: Sequence[tuple[str, str, bool]]) -> None:
        """Embed (key, text, is question) whose key has no embedding yet, texts of like length together."""
        unknown = {key: (text, question) for key, text, question in texts}
        for key in self.library.known_embeddings(list(unknown)):
            del unknown[key]
        if not unknown:
            return
        model = self.model()
        for wanted in (False, True):
            keys = [key for key, (_, question) in unknown.items() if question is wanted]
            keys.sort(key=lambda key: len(unknown[key][0]))
            for start in range(0, len(keys), BATCH):
                self.check()
                self.progress("embedding", self.embedded, self.to_embed)
                batch = keys[start : start + BATCH]
                with self.timed("embed"):
                    encode = model.encode_questions if wanted else model.encode_passages
                    values = encode([unknown[key][0] for key in batch])
                with self.timed("write"):
                    self.library.put_embeddings(batch, values)
                self.embedded += len(batch)
        self.progress("embedding", self.embedded, max(self.to_embed, self.embedded))

    def model(self) -> "Embedder":
        if self.embedder is None:
            with self.timed("embed"):
                self.embedder = self.load_embedder()
            self.library.use_embedder(self.embedder.fingerprint, self.embedder.dimension)
        return self.embedder

    # --- helpers ---

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - started

    def check(self) -> None:
        if self.stop.is_set():
            raise self.interrupted()

    def interrupted(self) -> Interrupted:
        return Interrupted(
            f"stopped; {self.published} documents published and {self.embedded} embeddings kept: run the same command to go on"
        )

    def fail(self, path: Path, error: MianpuError) -> None:
        self.failed.append((str(path), str(error).removeprefix(str(path)).lstrip(": ")))


def _texts(parsed: ParsedDocument) -> list[tuple[str, str, bool]]:
    """(key, text, is question) of everything that is searched by vector: passages, and questions that have an answer."""
    texts = [(passage_hash(passage.embedding_text), passage.embedding_text, False) for passage in parsed.passages]
    return texts + [(question_hash(pair.question), pair.question, True) for pair in parsed.pairs if pair.answer]


# --- what is to do --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Plan:
    """Files to parse with their names, and what happens to documents that need no parsing."""

    work: list[tuple[FoundFile, str]] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: tuple[str, ...] = ()
    renames: list[tuple[FoundFile, str, str]] = field(default_factory=list)
    removed: tuple[str, ...] = ()
    duplicates: tuple[tuple[str, str], ...] = ()


def _plan(documents: Sequence[DocumentInfo], found: reading.FoundFiles, hashes: dict[Path, str]) -> _Plan:
    """Compare the files with the documents. Content decides what a document is, then its path, then its name."""
    plan = _Plan()
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
        if owner.raw_hash != hashes[file.path] or owner.pipeline != PIPELINE:
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
