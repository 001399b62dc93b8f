"""One library: a folder with ``library.db`` (SQLite, the truth) and ``vectors-<generation>.faiss`` (derived from it).

Every change is one transaction. The vector file is written and flushed first and its name is committed together with the rows it
belongs to, so a kill at any moment leaves the old state or the new one; a lost or damaged file is built again from SQLite.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import filelock
import numpy as np

from ingest import corrections, vectors
from ingest.document import Cut, Document, Heading, ParsedDocument, Passage, QuestionAnswer
from ingest.errors import LibraryBusy, MianpuError
from ingest.fulltext import match_expression, words
from ingest.rows import (
    PAIR_COLUMNS,
    PASSAGE_COLUMNS,
    DocumentInfo,
    delete,
    insert,
    pair_from,
    passage_from,
    passage_hash,
    question_hash,
)
from ingest.schema import migrate

__all__ = ["DocumentInfo", "Library", "passage_hash", "question_hash"]


class Library:
    """An open library. Threads may share it: one connection behind one lock, every read is short."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._connection = connection
        self._lock = threading.RLock()
        self._index: vectors.Index | None = None
        self._index_generation = -1

    @classmethod
    def open(cls, folder: Path, *, create: bool = False) -> Self:
        """Open the library in ``folder``. Raises MianpuError when there is none (and ``create`` is false) or it is damaged."""
        path = folder / "library.db"
        if not path.exists() and not create:
            raise MianpuError(f"there is no library in {folder}: run `mianpu ingest PATH --library {folder}` first")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise MianpuError(f"the library in {folder} cannot be opened: {error}") from None
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            migrate(connection)
            # A view of the full-text index by word: how many passages hold each. Temporary, so it costs nothing on disk.
            connection.execute("CREATE VIRTUAL TABLE temp.word_counts USING fts5vocab(main, passages_words, row)")
        except sqlite3.Error as error:
            connection.close()
            raise MianpuError(f"{path} is not a library, or is damaged ({error}); restore a copy or remove it") from None
        except MianpuError:
            connection.close()
            raise
        return cls(folder, connection)

    def close(self) -> None:
        """Close the database; the object is of no use after it."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- transactions -------------------------------------------------------------------------------------------

    @contextmanager
    def writer(self) -> Iterator[None]:
        """Hold the right to ingest. Raises LibraryBusy at once when another process holds it."""
        lock = filelock.FileLock(self.folder / "writer.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise LibraryBusy(f"another ingest is writing to {self.folder}: wait until it ends, then try again") from None
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed when the block ends, rolled back when it raises."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise LibraryBusy(f"another program is writing to {self.folder}: try again in a moment") from None
                raise MianpuError(f"the library in {self.folder} cannot be written: {error}") from None
            except OSError as error:  # the vector file: a full or read-only disk
                raise MianpuError(f"the library in {self.folder} cannot be written: {error.strerror or error}") from None

    def read(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[Any]:
        """All rows of one query, as tuples."""
        with self._lock:
            return self._connection.execute(sql, parameters).fetchall()

    def meta(self, key: str) -> str | None:
        """A value of the library's own notes about itself, or None."""
        rows = self.read("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else None

    def set_meta(self, **values: str) -> None:
        """Write notes; all of them in one transaction."""
        with self.transaction() as connection:
            _set_meta(connection, values)

    # --- embeddings ---------------------------------------------------------------------------------------------

    def known_embeddings(self, hashes: Sequence[str]) -> set[str]:
        """Those of the hashes that have an embedding already."""
        found: set[str] = set()
        for part in _parts(list(dict.fromkeys(hashes))):
            marks = ",".join("?" * len(part))
            found.update(row[0] for row in self.read(f"SELECT hash FROM embeddings WHERE hash IN ({marks})", part))
        return found

    def put_embeddings(self, hashes: Sequence[str], values: vectors.Vectors) -> None:
        """Keep embeddings (n, d) under their content hashes. This is what makes an interrupted ingest resume."""
        rows = [(h, np.ascontiguousarray(v, dtype=np.float32).tobytes()) for h, v in zip(hashes, values, strict=True)]
        with self.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?)", rows)

    def embeddings(self, hashes: Sequence[str]) -> vectors.Vectors:
        """The embeddings (n, d) of the hashes, in their order. Raises KeyError when one is missing."""
        found: dict[str, bytes] = {}
        for part in _parts(list(dict.fromkeys(hashes))):
            marks = ",".join("?" * len(part))
            found.update(self.read(f"SELECT hash, vector FROM embeddings WHERE hash IN ({marks})", part))
        if not hashes:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return np.stack([np.frombuffer(found[h], dtype=np.float32) for h in hashes])

    @property
    def dimension(self) -> int:
        """Length of the library's vectors; 0 while nothing was embedded."""
        return int(self.meta("dimension") or 0)

    def use_embedder(self, fingerprint: str, dimension: int) -> None:
        """Record the embedding model. Another model means every vector is dropped and made again, never mixed.

        The documents stay: what has to be embedded is then in :meth:`missing_embeddings`, also after an interruption.
        """
        if self.meta("embedding_model") == fingerprint:
            return
        with self.transaction() as connection:
            connection.execute("DELETE FROM embeddings")
            generation = _generation(connection) + 1
            _set_meta(connection, {"embedding_model": fingerprint, "dimension": str(dimension), "generation": str(generation)})
            _set_meta(connection, {"vectors_sha256": ""})

    def missing_embeddings(self) -> list[tuple[str, str, bool]]:
        """(hash, text, is question) of everything stored that should have an embedding and has none."""
        missing: dict[str, tuple[str, bool]] = {}
        names = self.read(
            "SELECT DISTINCT d.name FROM documents d JOIN passages p ON p.document_id = d.id"
            " WHERE p.embedding NOT IN (SELECT hash FROM embeddings)"
        )
        for (name,) in names:
            texts = {passage_hash(p.embedding_text): p.embedding_text for p in self.all_passages(name)}
            missing.update((key, (texts[key], False)) for key in texts.keys() - self.known_embeddings(list(texts)))
        questions = self.read(
            "SELECT embedding, question FROM pairs WHERE answer_end > answer_start"
            " AND embedding NOT IN (SELECT hash FROM embeddings)"
        )
        missing.update((key, (question, True)) for key, question in questions)
        return [(key, text, question) for key, (text, question) in missing.items()]

    def refresh_vectors(self) -> None:
        """Publish vectors for embeddings that were stored after their documents (another model); the file is built from SQLite."""
        with self.transaction() as connection:
            _set_meta(connection, {"generation": str(_generation(connection) + 1), "vectors_sha256": ""})
        with self._lock:
            self._current_index()
        self._drop_old_vectors(self.generation())

    # --- documents ----------------------------------------------------------------------------------------------

    def publish(self, documents: Sequence[ParsedDocument], pipeline: str, removed: Sequence[str] = ()) -> None:
        """Put documents into the library (replacing those of the same name) and take others out, in one transaction.

        Every embedding the documents need must be stored already. Readers see all of it or nothing.
        """
        if not documents and not removed:
            return
        with self._lock:
            index = self._current_index()
            written: Path | None = None
            try:
                with self.transaction() as connection:
                    gone = delete(connection, [*removed, *(p.document.name for p in documents)])
                    added: list[tuple[int, str]] = []
                    for parsed in documents:
                        added += insert(connection, parsed, pipeline)
                    values = self.embeddings([h for _, h in added])
                    if not self.dimension:
                        raise MianpuError("no embedding model is recorded for this library")
                    index = vectors.changed(index, gone, [i for i, _ in added], values)
                    generation = _generation(connection) + 1
                    written = self._vector_path(generation)
                    digest = vectors.write(index, written)
                    _set_meta(connection, {"generation": str(generation), "vectors_sha256": digest})
            except BaseException:
                if written is not None:
                    written.unlink(missing_ok=True)
                raise
            self._index, self._index_generation = index, generation
            self._drop_old_vectors(generation)

    def rename(self, old: str, new: str, source: str) -> None:
        """A file moved without changing: the document keeps its passages and vectors."""
        self.rename_all([(old, new, source)])

    def rename_all(self, renames: Sequence[tuple[str, str, str]]) -> None:
        """Rename documents, each (old name, new name, new source), at once: two documents may swap their names."""
        if not renames:
            return
        with self.transaction() as connection:
            ids = [connection.execute("SELECT id FROM documents WHERE name = ?", (old,)).fetchone() for old, _, _ in renames]
            for row in ids:
                connection.execute("UPDATE documents SET name = '/' || id WHERE id = ?", row or (0,))  # no name begins with a slash
            for row, (_, new, source) in zip(ids, renames, strict=True):
                connection.execute("UPDATE documents SET name = ?, source = ? WHERE id = ?", (new, source, *(row or (0,))))
            corrections.rename(connection, {old: new for old, new, _ in renames if old != new})

    def forget_unused_embeddings(self) -> int:
        """Drop embeddings that no passage or question uses any more; returns how many."""
        with self.transaction() as connection:
            cursor = connection.execute(
                "DELETE FROM embeddings WHERE hash NOT IN (SELECT embedding FROM passages UNION SELECT embedding FROM pairs)"
            )
            return cursor.rowcount

    def documents(self) -> list[DocumentInfo]:
        """Every document, by name."""
        rows = self.read(
            """SELECT d.id, d.name, d.source, d.title, d.raw_hash, d.pipeline, length(d.text),
            (SELECT count(*) FROM passages p WHERE p.document_id = d.id),
            (SELECT count(*) FROM pairs q WHERE q.document_id = d.id), d.added_at FROM documents d ORDER BY d.name"""
        )
        return [DocumentInfo(*row) for row in rows]

    def document(self, name: str) -> Document:
        """One document with its cleaned text and cuts. Raises MianpuError when there is none of that name."""
        columns = "name, source, title, text, raw_hash, format, encoding, cuts, metadata, pages"
        rows = self.read(f"SELECT {columns} FROM documents WHERE name = ?", (name,))
        if not rows:
            raise MianpuError(f"no document is named {name}: `mianpu list` shows the names")
        name, source, title, text, raw_hash, format, encoding, *lists = rows[0]
        cuts, metadata, pages = (json.loads(values) for values in lists)
        known = tuple((key, value) for key, value in metadata)
        cut = tuple(Cut(**values) for values in cuts)
        return Document(name, source, title, text, raw_hash, format, encoding, cut, known, tuple(pages))

    def headings(self, name: str) -> list[Heading]:
        """The headings of a document, in order."""
        rows = self.read("SELECT headings FROM documents WHERE name = ?", (name,))
        return [Heading(**heading) for heading in json.loads(rows[0][0])] if rows else []

    # --- passages and pairs -------------------------------------------------------------------------------------

    def passages(self, ids: Sequence[int]) -> list[Passage]:
        """The passages with these ids, in this order; ids that no longer exist are left out."""
        found: dict[int, Passage] = {}
        for part in _parts(list(ids)):
            marks = ",".join("?" * len(part))
            found.update((row[0], passage_from(row)) for row in self.read(f"{PASSAGE_COLUMNS} WHERE p.id IN ({marks})", part))
        return [found[i] for i in ids if i in found]

    def all_passages(self, document: str | None = None) -> list[Passage]:
        """Every passage (of one document), in reading order."""
        where, parameters = ("", ()) if document is None else (" WHERE d.name = ?", (document,))
        # The text comes once a document (with its first passage): SQLite's substr() would walk it from the start for every passage.
        rows = self.read(
            """SELECT p.id, d.name, CASE WHEN row_number() OVER (PARTITION BY d.id ORDER BY p.start) = 1 THEN d.text END,
            p.start, p."end", p.headings, p.line, p.page FROM passages p JOIN documents d ON d.id = p.document_id"""
            f"{where} ORDER BY d.name, p.start",
            parameters,
        )
        passages, text = [], ""
        for i, name, first, start, end, headings, line, page in rows:
            text = text if first is None else first
            passages.append(Passage(name, start, end, text[start:end], tuple(json.loads(headings)), line, i, page))
        return passages

    def pairs(self, ids: Sequence[int]) -> list[QuestionAnswer]:
        """The question-answer pairs with these ids, in this order."""
        found: dict[int, QuestionAnswer] = {}
        for part in _parts(list(ids)):
            marks = ",".join("?" * len(part))
            found.update((row[0], pair_from(row)) for row in self.read(f"{PAIR_COLUMNS} WHERE q.id IN ({marks})", part))
        return [found[i] for i in ids if i in found]

    def all_pairs(self, document: str | None = None) -> list[QuestionAnswer]:
        """Every pair (of one document), in reading order."""
        where, parameters = ("", ()) if document is None else (" WHERE d.name = ?", (document,))
        return [pair_from(row) for row in self.read(f"{PAIR_COLUMNS}{where} ORDER BY d.name, q.question_start", parameters)]

    def passage_count(self) -> int:
        """Number of passages."""
        return int(self.read("SELECT count(*) FROM passages")[0][0])

    def generation(self) -> int:
        """Grows by one with every published change; what is derived from the library is keyed by it."""
        return int(self.meta("generation") or 0)

    # --- search -------------------------------------------------------------------------------------------------

    def nearest_passages(self, vector: vectors.Vectors, k: int) -> list[tuple[int, float]]:
        """(passage id, cosine) of the ``k`` nearest passages to a unit vector (d,), best first."""
        with self._lock:
            return vectors.search(self._current_index(), vector, k, pairs=False)

    def nearest_questions(self, vector: vectors.Vectors, k: int) -> list[tuple[int, float]]:
        """(pair id, cosine) of the ``k`` pairs whose question is nearest, best first."""
        with self._lock:
            return vectors.search(self._current_index(), vector, k, pairs=True)

    def vectors_of(self, passage_ids: Sequence[int]) -> vectors.Vectors:
        """The vectors (n, d) of stored passages, in the order given. Raises KeyError for a passage that has none."""
        with self._lock:
            index = self._current_index()
            try:
                rows = [index.reconstruct(int(i)) for i in passage_ids]
            except RuntimeError:
                raise KeyError("a passage has no vector: it was removed, or its embedding is still to be made") from None
        return np.stack(rows) if rows else np.zeros((0, self.dimension), dtype=np.float32)

    def vector_contents(self) -> tuple[vectors.Ids, vectors.Vectors]:
        """All ids (n,) and vectors (n, d) of the vector file; pairs have ``vectors.PAIR_BASE`` added to their id."""
        with self._lock:
            return vectors.contents(self._current_index())

    def passages_between(self, document: str, start: int, end: int) -> list[int]:
        """Ids of the passages of a document that overlap a span, in reading order."""
        rows = self.read(
            'SELECT p.id FROM passages p JOIN documents d ON d.id = p.document_id WHERE d.name = ? AND p.start < ? AND p."end" > ?'
            " ORDER BY p.start",
            (document, end, start),
        )
        return [int(row[0]) for row in rows]

    def word_counts(self, terms: Sequence[str]) -> dict[str, int]:
        """For each index word, in how many passages it occurs."""
        counts = dict.fromkeys(terms, 0)
        for part in _parts(list(counts)):
            marks = ",".join("?" * len(part))
            counts.update(self.read(f"SELECT term, doc FROM temp.word_counts WHERE term IN ({marks})", part))
        return counts

    def words_of(self, passage_ids: Sequence[int]) -> dict[int, set[str]]:
        """The index words of passages, headings included, by passage id; as they were when the passage was stored."""
        found: dict[int, set[str]] = {}
        for part in _parts(list(passage_ids)):
            marks = ",".join("?" * len(part))
            rows = self.read(f"SELECT rowid, headings || ' ' || body FROM passages_words WHERE rowid IN ({marks})", part)
            found.update((int(i), set(text.split())) for i, text in rows)
        return found

    def match_words(self, question: str, k: int) -> list[tuple[int, float]]:
        """(passage id, BM25 score) of the ``k`` best full-text matches; larger is better. Headings weigh as much as the body."""
        expression = match_expression(words(question))
        if not expression:
            return []
        rows = self.read(
            "SELECT rowid, -bm25(passages_words, 1.0, 1.0) AS score FROM passages_words"
            " WHERE passages_words MATCH ? ORDER BY score DESC, rowid LIMIT ?",
            (expression, k),
        )
        return [(int(i), float(score)) for i, score in rows]

    # --- the vector file ----------------------------------------------------------------------------------------

    def _vector_path(self, generation: int) -> Path:
        return self.folder / f"vectors-{generation}.faiss"

    def _current_index(self) -> vectors.Index:
        generation = self.generation()
        if self._index is not None and self._index_generation == generation:
            return self._index
        digest = self.meta("vectors_sha256") or ""
        index = vectors.read(self._vector_path(generation), digest) if digest else None
        if index is None and self.generation() != generation:
            return self._current_index()  # another process published, and dropped the file we were about to read
        if index is None:
            index = self._rebuild(generation)
        self._index, self._index_generation = index, generation
        return index

    def _rebuild(self, generation: int) -> vectors.Index:
        """Build the index from SQLite. The file is written only inside a transaction that still has this generation."""
        rows = self.read(
            "SELECT p.id, e.vector FROM passages p JOIN embeddings e ON e.hash = p.embedding UNION ALL"
            " SELECT q.id + ?, e.vector FROM pairs q JOIN embeddings e ON e.hash = q.embedding WHERE q.answer_end > q.answer_start",
            (vectors.PAIR_BASE,),
        )
        width = self.dimension or 1
        values = np.stack([np.frombuffer(v, np.float32) for _, v in rows]) if rows else np.zeros((0, width), dtype=np.float32)
        index = vectors.changed(vectors.empty(width), [], [int(i) for i, _ in rows], values)
        with suppress(MianpuError), self.transaction() as connection:  # where it cannot be written, memory serves as well
            if rows and _generation(connection) == generation:
                _set_meta(connection, {"vectors_sha256": vectors.write(index, self._vector_path(generation))})
        return index

    def _drop_old_vectors(self, generation: int) -> None:
        """Unlink the files of earlier generations; a later one may belong to a process that published meanwhile."""
        for path in self.folder.glob("vectors-*"):
            number = path.stem.removeprefix("vectors-")
            if number.isdigit() and int(number) < generation:
                path.unlink(missing_ok=True)


def _generation(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
    return int(row[0]) if row else 0


def _set_meta(connection: sqlite3.Connection, values: Mapping[str, str]) -> None:
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))


def _parts(items: list[Any], size: int = 500) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
