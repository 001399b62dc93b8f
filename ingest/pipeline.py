"""Paths -> library: only what changed, in an order that a kill at any moment cannot spoil.

Every embedding is stored under the hash of its text before the documents that need it are published, so an interrupted ingest
goes on where it stopped, and a text that occurs twice is embedded once. The model is loaded only when something has to be embedded.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ingest import files, reading
from ingest.cleaning import clean
from ingest.document import Document, ParsedDocument
from ingest.errors import Interrupted, MianpuError
from ingest.library import Library, passage_hash, question_hash
from ingest.opening import FileReader, FoundFile, raw_hash
from ingest.plan import Plan, make_plan
from ingest.progress import Progress, no_progress
from ingest.splitting import split, title_of

if TYPE_CHECKING:
    from ingest.embedding import Embedder

PIPELINE = "2"
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
    cleaned = clean(raw.text, raw.markup, raw.furniture)
    known = {key for key, _ in cleaned.metadata}
    metadata = (*cleaned.metadata, *((key, value) for key, value in raw.metadata if key not in known))
    title = title_of(cleaned.text, raw.markup, name, metadata)
    pages = tuple(cleaned.offset(page) for page in raw.pages)
    document = Document(
        name, str(path), title, cleaned.text, raw_hash(data), raw.format, raw.encoding, cleaned.cuts, metadata, pages
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
            found = files.find_files(paths)
            self.failed += found.failed
            hashes = self.hash_files(found.files)
            plan = make_plan(self.library.documents(), found, hashes, PIPELINE)
        with self.timed("write"):
            self.library.publish([], PIPELINE, removed=plan.removed)
            self.library.rename_all([(old, new, str(file.source)) for file, old, new in plan.renames])
        parsed = self.parse(plan)
        if fingerprint is not None and self.library.meta("embedding_model") not in (None, fingerprint):
            self.model()
        self.embed_missing(parsed)
        self.write(parsed)
        with self.timed("write"):
            self.library.forget_unused_embeddings()
        failed_names = {name for _, name in plan.work} - {p.document.name for p in parsed}
        copies = [(path, name) for path, name in plan.duplicates if name in failed_names]
        self.failed += [(path, f"the same content as {name}, which could not be read: see there") for path, name in copies]
        return IngestSummary(
            added=tuple(name for name in plan.added if name not in failed_names),
            updated=tuple(name for name in plan.updated if name not in failed_names),
            unchanged=plan.unchanged,
            renamed=tuple(new for _, _, new in plan.renames),
            removed=plan.removed,
            failed=tuple(self.failed),
            skipped=found.skipped,
            duplicates=tuple(copy for copy in plan.duplicates if copy not in copies),
            passages=sum(len(p.passages) for p in parsed),
            pairs=sum(len(p.pairs) for p in parsed),
            embedded=self.embedded,
            seconds={**self.seconds, "total": time.perf_counter() - started},
        )

    def hash_files(self, found: Sequence[FoundFile]) -> dict[Path, str]:
        hashes: dict[Path, str] = {}
        with FileReader() as reader:
            for n, file in enumerate(found):
                self.check()
                self.progress("reading", n, len(found))
                try:
                    hashes[file.source] = reader.hash(file)
                except MianpuError as error:
                    self.fail(file.source, error)
        self.progress("reading", len(found), len(found))
        return hashes

    def parse(self, plan: Plan) -> list[ParsedDocument]:
        parsed = []
        with FileReader() as reader:
            for n, (file, name) in enumerate(plan.work):
                self.check()
                self.progress("splitting", n, len(plan.work))
                try:
                    with self.timed("read"):
                        data = reader.read(file)
                    with self.timed("split"):
                        parsed.append(parse_document(file.source, name, data))
                except MianpuError as error:
                    self.fail(file.source, error)
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
