"""One library: a folder with ``library.db`` (SQLite, the truth) and ``vectors-<generation>.faiss`` (derived from it).

Every change is one transaction, so a kill at any moment leaves the old state or the new one; the vector file follows
(ingest/storage/vector_index.py), and one that is lost or damaged is built again from SQLite.
"""

import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ingest.cleaning import corrections
from ingest.cleaning.repetition import Edges
from ingest.document import Cut, Document, Heading, ParsedDocument, Passage, QuestionAnswer
from ingest.errors import MianpuError
from ingest.storage import duplicates, postings, vectors
from ingest.storage.bm25 import FIELD_WEIGHTS, WordIndex, WordMatch
from ingest.storage.database import Database
from ingest.storage.fulltext import words
from ingest.storage.rows import (
    PAIR_COLUMNS,
    PASSAGE_COLUMNS,
    DocumentInfo,
    delete,
    index_words,
    insert,
    pair_from,
    passage_from,
    passage_hash,
    question_hash,
)
from ingest.storage.vector_index import VectorIndex

__all__ = ["DocumentInfo", "Library", "passage_hash", "question_hash"]

_log = logging.getLogger("mianpu")


class Library:
    """An open library. Threads may share it; readers wait neither for a writer nor see half of what it does."""

    def __init__(self, database: Database) -> None:
        self.folder = database.folder
        self._database = database
        self._vectors = VectorIndex(database)
        self._words = WordIndex(database)

    @classmethod
    def open(cls, folder: Path, *, create: bool = False) -> Self:
        """Open the library in ``folder``. Raises MianpuError when there is none (and ``create`` is false) or it is damaged."""
        return cls(Database.open(folder, create=create))

    def close(self) -> None:
        """Close the database; the object is of no use after it."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- transactions -------------------------------------------------------------------------------------------

    @contextmanager
    def writer(self) -> Iterator[None]:
        """Hold the right to ingest. Raises LibraryBusy at once when another process holds it."""
        with self._database.writer():
            yield

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed when the block ends, rolled back when it raises."""
        with self._database.transaction() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What this thread reads inside the block is of one moment: passages, words, vectors. Keep it short; write nothing."""
        with self._database.snapshot():
            yield
        self._vectors.mend()

    def read(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[Any]:
        """All rows of one query, as tuples. Inside a transaction of this thread they are those of the transaction."""
        return self._database.read(sql, parameters)

    def backup(self, path: Path) -> None:
        """Write a consistent copy of the database to a new file, whatever else goes on."""
        self._database.backup(path)

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

    def put_embeddings(self, hashes: Sequence[str], values: vectors.Vectors, codes: Sequence[npt.NDArray[np.uint8]] = ()) -> None:
        """Keep embeddings (n, d) under their content hashes, with the ``codes`` of their tokens (one array a text, or none at all).

        This is what makes an interrupted ingest resume.
        """
        rows = [(h, np.ascontiguousarray(v, dtype=np.float32).tobytes()) for h, v in zip(hashes, values, strict=True)]
        with self.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO embeddings (hash, vector) VALUES (?, ?)", rows)
            coded = [(h, code.tobytes()) for h, code in zip(hashes, codes, strict=bool(codes)) if len(code)]
            connection.executemany("INSERT OR REPLACE INTO token_codes (hash, codes) VALUES (?, ?)", coded)

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

    def use_embedder(self, fingerprint: str, dimension: int) -> bool:
        """Record the embedding model; returns whether it is another. Then every vector is dropped and made again, never mixed.

        The documents stay: what has to be embedded is then in :meth:`missing_embeddings`, also after an interruption.
        """
        if self.meta("embedding_model") == fingerprint:
            return False
        with self.transaction() as connection:
            connection.execute("DELETE FROM embeddings")
            generation = _generation(connection) + 1
            _set_meta(connection, {"embedding_model": fingerprint, "dimension": str(dimension), "generation": str(generation)})
            _set_meta(connection, {"vectors_sha256": ""})
        return True

    def unembedded(self) -> list[str]:
        """The names of documents that lack an embedding (another model came, or an ingest of one was interrupted)."""
        rows = self.read(
            """SELECT name FROM documents WHERE id IN (
            SELECT document_id FROM passages WHERE embedding NOT IN (SELECT hash FROM embeddings) UNION
            SELECT document_id FROM pairs WHERE answer_end > answer_start AND embedding NOT IN (SELECT hash FROM embeddings))
            ORDER BY name"""
        )
        return [str(name) for (name,) in rows]

    def missing_embeddings(self, document: str | None = None) -> list[tuple[str, str, bool]]:
        """(hash, text, is question) of everything stored (in one document) that should have an embedding and has none."""
        missing: dict[str, tuple[str, bool]] = {}
        for name in self.unembedded() if document is None else [document]:
            missing.update((passage_hash(p.embedding_text), (p.embedding_text, False)) for p in self.all_passages(name))
            missing.update((question_hash(q.question), (q.question, True)) for q in self.all_pairs(name) if q.answer)
        for key in self.known_embeddings(list(missing)):
            del missing[key]
        return [(key, text, question) for key, (text, question) in missing.items()]

    def refresh_vectors(self) -> None:
        """Publish vectors for embeddings that were stored after their documents (another model)."""
        with self.transaction() as connection:
            _set_meta(connection, {"generation": str(_generation(connection) + 1)})
        self.write_vectors()

    # --- documents ----------------------------------------------------------------------------------------------

    def publish(self, documents: Sequence[ParsedDocument], pipeline: str, removed: Sequence[str] = ()) -> None:
        """Put documents into the library (replacing those of the same name) and take others out, in one transaction.

        Every embedding the documents need must be stored already. Readers see all of it or nothing.
        """
        if not documents and not removed:
            return
        with self.transaction() as connection:
            gone = delete(connection, [*removed, *(p.document.name for p in documents)])
            added = [pair for parsed in documents for pair in insert(connection, parsed, pipeline)]
            ids = [i for i, _ in added if i < vectors.PAIR_BASE]
            duplicates.place(connection, [(i, p.text, p.headings) for i, p in zip(ids, _passages(documents), strict=True)])
            postings.add(connection, list(zip(ids, (f for d in documents for f in index_words(d.passages, d.pairs)), strict=True)))
            values = self.embeddings([h for _, h in added])
            if not self.dimension:
                raise MianpuError("no embedding model is recorded for this library")
            generation = _generation(connection) + 1
            _set_meta(connection, {"generation": str(generation)})
        self._vectors.published(generation, gone, [i for i, _ in added], values)
        try:
            self._vectors.write_if_due()
        except MianpuError as error:
            # What was published stands; the file is only a short cut, and whoever opens the library makes up for it.
            _log.warning("mianpu: the vector file could not be written and is made again later (%s)", error)

    def write_vectors(self) -> None:
        """Bring the vector file up to date; what an ingest does at its end."""
        self._vectors.write()

    def rebuild_vectors(self) -> None:
        """Make the vector file anew from the embeddings of the database."""
        with self.transaction() as connection:
            _set_meta(connection, {"generation": str(_generation(connection) + 1), "vectors_sha256": ""})
        self._vectors.forget()
        self.write_vectors()

    def place_copies(self, limit: int = 512) -> int:
        """Find the groups of passages that have none yet (a library of an earlier version); returns for how many it did."""
        with self.transaction() as connection:
            waiting = duplicates.unplaced(connection, limit)
            duplicates.place(connection, waiting)
        return len(waiting)

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
        """Drop embeddings that no passage or question uses any more, and words; returns how many embeddings."""
        with self.transaction() as connection:
            postings.forget_unused(connection)
            cursor = connection.execute(
                "DELETE FROM embeddings WHERE hash NOT IN (SELECT embedding FROM passages UNION SELECT embedding FROM pairs)"
            )
            return cursor.rowcount

    def documents(self) -> list[DocumentInfo]:
        """Every document, by name."""
        rows = self.read(
            """SELECT d.id, d.name, d.source, d.title, d.raw_hash, d.pipeline, length(d.text),
            (SELECT count(*) FROM passages p WHERE p.document_id = d.id),
            (SELECT count(*) FROM pairs q WHERE q.document_id = d.id), d.added_at, d.format, d.encoding,
            CASE WHEN json_valid(d.cuts) THEN json_array_length(d.cuts) ELSE 0 END FROM documents d ORDER BY d.name"""
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

    def edges(self) -> dict[str, tuple[Edges, frozenset[str]]]:
        """For each document what its edges show of repetition, and the lines that were cut for being repeated."""
        rows = self.read("SELECT name, edges, repeated FROM documents")
        return {
            name: (Edges(frozenset(lines), frozenset(body)), frozenset(json.loads(repeated)))
            for name, text, repeated in rows
            for lines, body in [json.loads(text)]
        }

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

    def groups(self, ids: Sequence[int]) -> dict[int, int]:
        """For each passage the first of the passages it is a copy of: its own id where it is the first itself, or the only one."""
        found: dict[int, int] = {}
        for part in _parts(list(ids)):
            found.update(self.read(f"SELECT id, copy_of FROM passages WHERE id IN ({','.join('?' * len(part))})", part))
        return found

    def copies(self, ids: Sequence[int]) -> dict[int, tuple[Passage, ...]]:
        """For each of the passages its copies (itself left out), in the order in which they came into the library."""
        groups = self.groups(ids)
        members: dict[int, list[int]] = {}
        for part in _parts(sorted(set(groups.values()))):
            marks = ",".join("?" * len(part))
            for i, group in self.read(f"SELECT id, copy_of FROM passages WHERE copy_of IN ({marks}) ORDER BY id", part):
                members.setdefault(group, []).append(i)
        wanted = [i for group in members.values() if len(group) > 1 for i in group]
        found = {p.id: p for p in self.passages(wanted)}
        return {
            i: tuple(found[other] for other in members.get(groups[i], ()) if other != i and other in found) if i in groups else ()
            for i in ids
        }

    # --- search -------------------------------------------------------------------------------------------------

    def nearest_passages(self, vector: vectors.Vectors, k: int) -> list[tuple[int, float]]:
        """(passage id, cosine) of the ``k`` nearest passages to a unit vector (d,), best first.

        Cosines are exact. In a library of more than ``vector_index.SWITCH`` vectors a few of the nearest may be missing (README).
        """
        with self._mended():
            return self._vectors.nearest(vector, k, pairs=False)

    def nearest_questions(self, vector: vectors.Vectors, k: int) -> list[tuple[int, float]]:
        """(pair id, cosine) of the ``k`` pairs whose question is nearest, best first; as :meth:`nearest_passages`."""
        with self._mended():
            return self._vectors.nearest(vector, k, pairs=True)

    def vectors_of(self, passage_ids: Sequence[int]) -> vectors.Vectors:
        """The vectors (n, d) of stored passages, in the order given. Raises KeyError for a passage that has none."""
        with self._mended():
            return self._vectors.values(passage_ids)

    def codes_of(self, passage_ids: Sequence[int]) -> dict[int, bytes]:
        """The codes of the passages' tokens, token after token; passages that have none are left out."""
        found: dict[int, bytes] = {}
        for part in _parts(list(passage_ids)):
            marks = ",".join("?" * len(part))
            sql = f"SELECT p.id, t.codes FROM passages p JOIN token_codes t ON t.hash = p.embedding WHERE p.id IN ({marks})"
            found.update(self.read(sql, part))
        return found

    def vector_contents(self) -> tuple[vectors.Ids, vectors.Vectors]:
        """All ids (n,) and vectors (n, d) in the index; pairs have ``vectors.PAIR_BASE`` added to their id."""
        with self._mended():
            return self._vectors.contents()

    def vector_file_problem(self) -> str | None:
        """What is wrong with the vector file, or None."""
        return self._vectors.file_problem()

    @contextmanager
    def _mended(self) -> Iterator[None]:
        yield
        self._vectors.mend()

    def passages_between(self, document: str, start: int, end: int) -> list[int]:
        """Ids of the passages of a document that overlap a span, in reading order."""
        rows = self.read(
            'SELECT p.id FROM passages p JOIN documents d ON d.id = p.document_id WHERE d.name = ? AND p.start < ? AND p."end" > ?'
            " ORDER BY p.start",
            (document, end, start),
        )
        return [int(row[0]) for row in rows]

    def word_counts(self, terms: Sequence[str]) -> dict[str, int]:
        """For each index word, in how many passages it stands: in text, headings or questions."""
        return self._words.counts(terms)

    def words_like(self, word: str) -> list[str]:
        """The index words that begin with the same letter and are at most two letters shorter or longer; what a slip may mean."""
        rows = self.read(
            "SELECT word FROM words WHERE word >= ? AND word < ? AND length(word) BETWEEN ? AND ?",
            (word[:1], chr(ord(word[0]) + 1), len(word) - 2, len(word) + 2),
        )
        return [str(found) for (found,) in rows if str(found).isalpha()]

    def words_of(self, passage_ids: Sequence[int]) -> dict[int, set[str]]:
        """The index words of passages, headings included, by passage id."""
        return {p.id: {*words(p.text), *words(" ".join(p.headings))} for p in self.passages(passage_ids)}

    def match_words(self, question: str, k: int) -> list[tuple[int, float]]:
        """(passage id, BM25 score) of the ``k`` best full-text matches; larger is better."""
        return [(match.id, match.score) for match in self.match_fields(question, k)]

    def match_fields(
        self, question: str | Mapping[str, float], k: int, weights: Mapping[str, float] = FIELD_WEIGHTS
    ) -> list[WordMatch]:
        """The ``k`` best full-text matches, exactly, with the BM25 score of every field (``postings.FIELDS``), best first.

        ``question`` is a text, or index words with the weight of each; ``weights`` are the fields' in the sum they are ranked by.
        """
        terms = dict.fromkeys(words(question), 1.0) if isinstance(question, str) else question
        return self._words.match(terms, k, weights)

    def score_words(self, terms: Mapping[str, float], passage_ids: Sequence[int]) -> dict[str, npt.NDArray[np.float64]]:
        """For each field the BM25 score (n,) of these passages for weighted index words; 0 where none of them stands."""
        return self._words.score(terms, passage_ids)

    def words_held(self, terms: Sequence[str], passage_ids: Sequence[int]) -> npt.NDArray[np.uint8]:
        """How often each passage has each index word in each field: (passages, words, fields); 255 means that or more."""
        return self._words.held(terms, passage_ids)


def _passages(documents: Sequence[ParsedDocument]) -> Iterator[Passage]:
    for parsed in documents:
        yield from parsed.passages


def _generation(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
    return int(row[0]) if row else 0


def _set_meta(connection: sqlite3.Connection, values: Mapping[str, str]) -> None:
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))


def _parts(items: list[Any], size: int = 500) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
