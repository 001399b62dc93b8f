"""The rows of a library: how documents, passages and pairs are written to SQLite and read back.

Functions over a connection; transactions, locks and the vector file are the business of ``ingest.storage.library``.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from ingest.cleaning.clean import raw_text
from ingest.cleaning.repetition import edges_of
from ingest.document import ParsedDocument, Passage, QuestionAnswer, content_hash
from ingest.storage import duplicates, postings, vectors
from ingest.storage.fulltext import words
from ingest.storage.postings import Fields

PASSAGE_COLUMNS = """SELECT p.id, d.name, p.start, p."end", substr(d.text, p.start + 1, p."end" - p.start), p.headings, p.line,
    p.page FROM passages p JOIN documents d ON d.id = p.document_id"""
PAIR_COLUMNS = """SELECT q.id, d.name, q.question, q.question_start, q.question_end,
    substr(d.text, q.answer_start + 1, q.answer_end - q.answer_start), q.answer_start, q.answer_end, q.headings
    FROM pairs q JOIN documents d ON d.id = q.document_id"""


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A row of the list of documents. ``pipeline`` names the version of reading, cleaning and splitting that made it."""

    id: int
    name: str
    source: str
    title: str
    raw_hash: str
    pipeline: str
    characters: int
    passages: int
    pairs: int
    added_at: str
    format: str
    encoding: str
    cuts: int


def passage_hash(text: str) -> str:
    """Key of a passage's embedding; the kind is part of it because questions are embedded with another prefix."""
    return content_hash("passage: " + text)


def question_hash(text: str) -> str:
    """Key of a question's embedding."""
    return content_hash("query: " + text)


def index_words(passages: Sequence[Passage], pairs: Sequence[QuestionAnswer]) -> list[Fields]:
    """What the full-text index holds of the passages of one document: the words of their text, of their headings, and of the
    questions of the pairs they belong to. Pairs come in reading order."""
    cut = lru_cache(maxsize=None)(words)
    found: list[Fields] = []
    for passage in passages:
        asked = [q.question for q in pairs if passage.start < q.answer_end and passage.end > q.question_start]
        found.append((words(passage.text), cut(" ".join(passage.headings)), cut(" ".join(asked))))
    return found


def delete(connection: sqlite3.Connection, names: Sequence[str]) -> list[int]:
    """Delete documents with everything that is theirs; returns the vector ids that go with them."""
    documents: list[tuple[int]] = []
    passages: list[int] = []
    pairs: list[int] = []
    for name in names:
        row = connection.execute("SELECT id FROM documents WHERE name = ?", (name,)).fetchone()
        if row is None:
            continue
        documents.append(row)
        passages += [i for (i,) in connection.execute("SELECT id FROM passages WHERE document_id = ?", row)]
        pairs += [i for (i,) in connection.execute("SELECT id FROM pairs WHERE document_id = ? AND answer_end > answer_start", row)]
    groups = duplicates.take_out(connection, passages)
    postings.remove(connection, passages)
    connection.executemany("DELETE FROM documents WHERE id = ?", documents)
    duplicates.regroup(connection, groups)
    return [*passages, *(i + vectors.PAIR_BASE for i in pairs)]


def insert(connection: sqlite3.Connection, parsed: ParsedDocument, pipeline: str) -> list[tuple[int, str]]:
    """Insert one document; returns (vector id, embedding hash) for everything that is searched by vector.

    Its passages are in no group of copies and not in the full text yet: :func:`ingest.storage.duplicates.place` and
    :func:`ingest.storage.postings.add` are to follow.
    """
    document, added = parsed.document, []
    edges = edges_of(raw_text(document.text, document.cuts))
    document_id = connection.execute(
        "INSERT INTO documents (name, source, title, text, raw_hash, format, encoding, pipeline, cuts, metadata, headings,"
        " pages, edges, repeated, added_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            document.name, document.source, document.title, document.text, document.raw_hash, document.format, document.encoding,
            pipeline, _json([asdict(cut) for cut in document.cuts]), _json(document.metadata),
            _json([asdict(heading) for heading in parsed.headings]), _json(document.pages),
            _json([sorted(edges.lines), sorted(edges.body)]), _json(sorted(parsed.repeated)),
            datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    ).lastrowid  # fmt: skip
    for passage in parsed.passages:
        digest = passage_hash(passage.embedding_text)
        row = (document_id, passage.start, passage.end, _json(passage.headings), passage.line, passage.page, digest)
        passage_id = connection.execute(
            'INSERT INTO passages (document_id, start, "end", headings, line, page, embedding) VALUES (?, ?, ?, ?, ?, ?, ?)', row
        ).lastrowid
        added.append((int(passage_id or 0), digest))
    for pair in parsed.pairs:
        digest = question_hash(pair.question)
        pair_id = connection.execute(
            "INSERT INTO pairs (document_id, key, question, question_start, question_end, answer_start, answer_end, headings,"
            " embedding) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                document_id, pair.key, pair.question, pair.question_start, pair.question_end, pair.answer_start,
                pair.answer_end, _json(pair.headings), digest,
            ),
        ).lastrowid  # fmt: skip
        if pair.answer:
            added.append((int(pair_id or 0) + vectors.PAIR_BASE, digest))
    return added


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def passage_from(row: Sequence[Any]) -> Passage:
    """A row of ``PASSAGE_COLUMNS`` as a value."""
    return Passage(row[1], row[2], row[3], row[4], tuple(json.loads(row[5])), row[6], row[0], row[7])


def pair_from(row: Sequence[Any]) -> QuestionAnswer:
    """A row of ``PAIR_COLUMNS`` as a value."""
    return QuestionAnswer(row[1], row[2], row[3], row[4], row[5], row[6], row[7], tuple(json.loads(row[8])), row[0])
