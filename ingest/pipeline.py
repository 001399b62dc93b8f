"""Paths -> library: only what changed, in an order that a kill at any moment cannot spoil.

Every embedding is stored under the hash of its text before the documents that need it are published, so an interrupted ingest
goes on where it stopped, and a text that occurs twice is embedded once. The model is loaded only when something has to be embedded.
Files are parsed, embedded and published group after group, so memory does not grow with what is ingested.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.cleaning.clean import clean
from ingest.cleaning.corrections import NONE, Corrections, corrections_of
from ingest.cleaning.repetition import repeated_lines
from ingest.cleaning.restoring import recleaned
from ingest.document import Document, ParsedDocument
from ingest.errors import Interrupted, MianpuError
from ingest.plan import Plan, make_plan
from ingest.progress import Progress, no_progress
from ingest.sources import files, reading
from ingest.sources.opening import FileReader, FoundFile, raw_hash
from ingest.storage.library import Library, passage_hash, question_hash
from ingest.structure.splitting import split, title_of

if TYPE_CHECKING:
    from ingest.models.embedding import Embedder

PIPELINE = "6"
"""Version of reading, cleaning and splitting: a document made by another version is made again."""
GROUP = 256
"""Documents are published together until they hold this many passages."""
BATCH = 64
"""Embeddings are stored after this many texts: no more than these are lost by a kill."""


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """What one ingest did. Names are those of documents.

    ``failed``, ``skipped`` and ``incomplete`` (read, but for what the reason says) hold (path, reason), ``duplicates`` (path, name
    of the document that holds the same content already).
    ``passages`` and ``pairs`` count those of the documents added or updated, ``embedded`` the texts that had no embedding yet;
    ``seconds`` has the keys read, clean, split, embed, write, total.
    """

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    incomplete: tuple[tuple[str, str], ...] = ()
    duplicates: tuple[tuple[str, str], ...] = ()
    passages: int = 0
    pairs: int = 0
    embedded: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


Timer = Callable[[str], AbstractContextManager[None]]


def parse_document(
    path: Path, name: str, data: bytes, corrected: Corrections = NONE, timed: Timer = lambda stage: nullcontext()
) -> ParsedDocument:
    """One file, from its bytes to passages: reading, cleaning, splitting. Raises MianpuError when nothing is left to ingest.

    ``corrected`` is what a person restored and cut in the document before; ``timed`` is entered with the name of each stage: read,
    clean, split.
    """
    with timed("read"):
        raw = reading.parse(path, data)
    with timed("clean"):
        cleaned = clean(raw.text, raw.markup, raw.furniture, keep=corrected.keep, drop=corrected.drop)
    with timed("split"):
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
        self.seconds = dict.fromkeys(("read", "clean", "split", "embed", "write"), 0.0)
        self.failed: list[tuple[str, str]] = []
        self.incomplete: list[tuple[str, str]] = []
        self.done: set[str] = set()  # names of the documents published
        self.passages = self.pairs = 0
        self.embedded = self.to_embed = 0
        self.ahead = _Ahead()

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
            while self.library.place_copies():  # a library from before copies were looked for
                self.check()
        if (
            fingerprint is not None and self.library.meta("embedding_model") not in (None, fingerprint)
        ) or self.library.unembedded():
            self.model()
            self.complete()
        self.work(plan)
        self.clean_repeated()
        with self.timed("write"):
            self.library.forget_unused_embeddings()
            self.library.write_vectors()
        failed = {name for _, name in plan.work} - self.done
        copies = [(path, name) for path, name in plan.duplicates if name in failed]
        self.failed += [(path, f"the same content as {name}, which could not be read: see there") for path, name in copies]
        return IngestSummary(
            added=tuple(name for name in plan.added if name in self.done),
            updated=tuple(name for name in plan.updated if name in self.done),
            unchanged=plan.unchanged,
            renamed=tuple(new for _, _, new in plan.renames),
            removed=plan.removed,
            failed=tuple(self.failed),
            skipped=found.skipped,
            incomplete=tuple(self.incomplete),
            duplicates=tuple(copy for copy in plan.duplicates if copy not in copies),
            passages=self.passages,
            pairs=self.pairs,
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

    def work(self, plan: Plan) -> None:
        """Parse, embed and publish what is to be done, a group of documents at a time."""
        group: list[ParsedDocument] = []
        passages = 0
        self.ahead = _Ahead([_size(file.path) for file, _ in plan.work])
        with FileReader() as reader:
            for n, (file, name) in enumerate(plan.work):
                self.check()
                if not self.embedded:  # where nothing has to be embedded, documents are what is counted
                    self.progress("splitting", n, len(plan.work))
                try:
                    with self.timed("read"):
                        data = reader.read(file)
                    document = parse_document(file.source, name, data, corrections_of(self.library, name), self.timed)
                    group.append(document)
                    scans = dict(document.document.metadata).get("pages_without_text")
                    if scans:
                        reason = f"pages {scans} hold no text: run text recognition (OCR) over the file to have them too"
                        self.incomplete.append((str(file.source), reason))
                    passages += len(document.passages)
                except MianpuError as error:
                    self.fail(file.source, error)
                self.ahead.parsed(n + 1)
                if passages >= GROUP:
                    self.publish(group)
                    group, passages = [], 0
        if group:
            self.publish(group)
        if plan.work and not self.embedded:
            self.progress("splitting", len(plan.work), len(plan.work))
        if self.embedded:
            self.progress("embedding", self.embedded, self.embedded)

    def clean_repeated(self) -> None:
        """Clean those documents again in which other lines are repeated now than before; the order of ingest does not matter."""
        if self.library.meta("repetition") == str(self.library.generation()):
            return
        evidence = self.library.edges()
        repeated = repeated_lines({name: edges for name, (edges, _) in evidence.items()})
        for name, (edges, cut) in evidence.items():
            wanted = repeated & edges.lines
            if wanted == cut:
                continue
            self.check()
            try:
                with self.timed("clean"):
                    again = recleaned(self.library.document(name), corrections_of(self.library, name), wanted)
            except MianpuError:  # nothing would be left: such a document stays as it is
                continue
            self.embed(_texts(again))
            with self.timed("write"):
                self.library.publish([again], PIPELINE)
        self.library.set_meta(repetition=str(self.library.generation()))

    def publish(self, group: Sequence[ParsedDocument]) -> None:
        self.embed([text for document in group for text in _texts(document)])
        with self.timed("write"):
            self.library.publish(group, PIPELINE)
        self.done.update(document.document.name for document in group)
        self.passages += sum(len(document.passages) for document in group)
        self.pairs += sum(len(document.pairs) for document in group)

    def complete(self) -> None:
        """Embed what stands in the library without its vectors: another model came, now or in an ingest that was interrupted."""
        names = self.library.unembedded()
        if not names:
            return
        for n, name in enumerate(names):
            missing = self.library.missing_embeddings(name)
            self.ahead = _Ahead([1] * len(names))
            self.ahead.parsed(n + 1)
            self.embed(missing)
        with self.timed("write"):
            self.library.refresh_vectors()

    def embed(self, texts: Sequence[tuple[str, str, bool]]) -> None:
        """Embed (key, text, is question) whose key has no embedding yet, texts of like length together."""
        unknown = {key: (text, question) for key, text, question in texts}
        for key in self.library.known_embeddings(list(unknown)):
            del unknown[key]
        self.to_embed += len(unknown)
        if not unknown:
            return
        from ingest.models.embedding import embed_texts  # with what fetches models: a second that runs without new texts save

        model = self.model()
        total = self.ahead.total(self.to_embed)
        for wanted in (False, True):
            keys = [key for key, (_, question) in unknown.items() if question is wanted]
            keys.sort(key=lambda key: len(unknown[key][0]))
            for start in range(0, len(keys), BATCH):
                self.check()
                self.progress("embedding", self.embedded, total)
                batch = keys[start : start + BATCH]
                with self.timed("embed"):
                    values, codes = embed_texts(model, [unknown[key][0] for key in batch], questions=wanted)
                with self.timed("write"):
                    self.library.put_embeddings(batch, values, codes)
                self.embedded += len(batch)

    def model(self) -> "Embedder":
        if self.embedder is None:
            with self.timed("embed"):
                self.embedder = self.load_embedder()
            if self.library.use_embedder(self.embedder.fingerprint, self.embedder.dimension):
                self.complete()  # another model than the library's empties it
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
            f"stopped; {len(self.done)} documents published and {self.embedded} embeddings kept: run the same command to go on"
        )

    def fail(self, path: Path, error: MianpuError) -> None:
        self.failed.append((str(path), str(error).removeprefix(str(path)).lstrip(": ")))


class _Ahead:
    """How many texts there will be to embed, guessed from the bytes parsed so far and the bytes still to come."""

    def __init__(self, sizes: Sequence[int] = ()) -> None:
        self._sums = list(accumulate(sizes, initial=0))
        self._parsed = 0

    def parsed(self, count: int) -> None:
        """The first so many files are parsed."""
        self._parsed = count

    def total(self, so_far: int) -> int:
        """The guess, when the files parsed so far had ``so_far`` texts."""
        done, whole = self._sums[self._parsed], self._sums[-1]
        return round(so_far * whole / done) if done else so_far


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # reading it will say what is wrong


def _texts(parsed: ParsedDocument) -> list[tuple[str, str, bool]]:
    """(key, text, is question) of everything that is searched by vector: passages, and questions that have an answer."""
    texts = [(passage_hash(passage.embedding_text), passage.embedding_text, False) for passage in parsed.passages]
    return texts + [(question_hash(pair.question), pair.question, True) for pair in parsed.pairs if pair.answer]
