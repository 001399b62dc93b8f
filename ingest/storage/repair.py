"""Mending a library: for each kind of problem that ``ingest.storage.checks`` names, one step that makes it hold again.

Everything is made from what SQLite still knows. What cannot be (a missing embedding, a document that no longer holds together) is
marked, so that the next ingest does it again.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np

from ingest.storage import postings, rows
from ingest.storage.checks import examine
from ingest.storage.library import Library, passage_hash, question_hash
from ingest.structure.splitting import split


def repair(library: Library) -> list[str]:
    """Mend what can be mended; one line for each thing done. The caller holds the library's ``writer``."""
    steps: tuple[tuple[str, str, Callable[[Library], None]], ...] = (
        ("orphans", "rows that belong to nothing are removed", _remove_orphans),
        ("documents", "documents that do not hold together are split again", _split_again),
        ("places", "lines and pages of passages are counted again", _count_places),
        ("mentions", "mentions of concepts are looked up again", _forget_mentions),
        ("full text", "the full text is indexed again", _index_words),
        ("keys", "the keys of embeddings are made again", _make_keys),
        ("embeddings", "embeddings that are not the model's are dropped", _drop_embeddings),
        ("groups", "copies are looked for again", _find_copies),
        ("vectors", "the vector file is made again", Library.rebuild_vectors),
    )
    done: list[str] = []
    wanted = {problem.mend for problem in examine(library)}
    for name, text, step in steps:
        if name in wanted:
            step(library)
            done.append(text)
            wanted |= {problem.mend for problem in examine(library)}  # one kind of damage hides another
    return done


def _remove_orphans(library: Library) -> None:
    with library.transaction() as connection:
        for table, column, parent in (
            ("passages", "document_id", "documents"),
            ("pairs", "document_id", "documents"),
            ("mentions", "passage_id", "passages"),
            ("messages", "chat_id", "chats"),
        ):
            connection.execute(f"DELETE FROM {table} WHERE {column} NOT IN (SELECT id FROM {parent})")
        _next_generation(connection)


def _split_again(library: Library) -> None:
    """Passages, pairs and headings are made from the document's text; where an embedding would be missing, an ingest does it."""
    with library.transaction() as connection:
        for column in ("cuts", "metadata", "headings", "pages"):
            connection.execute(f"UPDATE documents SET {column} = '[]', pipeline = '' WHERE NOT json_valid({column})")
    names = {problem.document for problem in examine(library) if problem.mend == "documents" and problem.document}
    names |= {name for (name,) in library.read("SELECT name FROM documents WHERE id NOT IN (SELECT document_id FROM passages)")}
    for name in sorted(names):
        with suppress(KeyError, TypeError, ValueError):
            parsed = split(library.document(name))
            needed = [passage_hash(p.embedding_text) for p in parsed.passages]
            needed += [question_hash(q.question) for q in parsed.pairs if q.answer]
            if parsed.passages and library.known_embeddings(needed) == set(needed):
                library.publish([parsed], "")
                continue
        with library.transaction() as connection:  # made by no version of the pipeline: the next ingest makes it again
            connection.execute("UPDATE documents SET pipeline = '' WHERE name = ?", (name,))


def _count_places(library: Library) -> None:
    for (name,) in library.read("SELECT name FROM documents"):
        document = library.document(name)
        right = [(document.text.count("\n", 0, p.start) + 1, document.page_at(p.start), p.id) for p in library.all_passages(name)]
        with library.transaction() as connection:
            connection.executemany("UPDATE passages SET line = ?, page = ? WHERE id = ?", right)


def _forget_mentions(library: Library) -> None:
    with library.transaction() as connection:
        connection.execute("DELETE FROM mentions")
        connection.execute("UPDATE documents SET concepts = ''")


def _index_words(library: Library) -> None:
    with library.transaction() as connection:
        postings.clear(connection)
        for passages in _in_order(library):
            postings.add(connection, passages)


def _in_order(library: Library, size: int = 4096) -> Iterator[list[tuple[int, postings.Fields]]]:
    """Every passage with its words, in the order of the ids, as the index wants them: documents' ids do not interleave."""
    waiting: list[tuple[int, postings.Fields]] = []
    for (name,) in library.read(
        "SELECT d.name FROM documents d JOIN passages p ON p.document_id = d.id GROUP BY d.id ORDER BY min(p.id)"
    ):
        passages = library.all_passages(name)
        waiting += zip([p.id for p in passages], rows.index_words(passages, library.all_pairs(name)), strict=True)
        if len(waiting) >= size:
            yield sorted(waiting, key=lambda item: item[0])
            waiting = []
    yield sorted(waiting, key=lambda item: item[0])


def _make_keys(library: Library) -> None:
    for (name,) in library.read("SELECT name FROM documents"):
        passages = [(passage_hash(p.embedding_text), p.id) for p in library.all_passages(name)]
        pairs = [(question_hash(q.question), q.id) for q in library.all_pairs(name)]
        with library.transaction() as connection:
            connection.executemany("UPDATE passages SET embedding = ? WHERE id = ?", passages)
            connection.executemany("UPDATE pairs SET embedding = ? WHERE id = ?", pairs)
    library.rebuild_vectors()


def _drop_embeddings(library: Library) -> None:
    width = library.dimension
    bad: list[tuple[str]] = []
    for (key,) in library.read("SELECT hash FROM embeddings"):
        vector = np.frombuffer(library.read("SELECT vector FROM embeddings WHERE hash = ?", (key,))[0][0], dtype=np.uint8)
        if len(vector) != width * 4 or not np.isclose(np.linalg.norm(vector.view(np.float32)), 1.0, atol=1e-3):
            bad.append((key,))
    with library.transaction() as connection:
        connection.executemany("DELETE FROM embeddings WHERE hash = ?", bad)
    library.rebuild_vectors()


def _find_copies(library: Library) -> None:
    with library.transaction() as connection:
        connection.execute("DELETE FROM bands")
        connection.execute("UPDATE passages SET print = 0, copy_of = id")
    while library.place_copies():
        pass


def _next_generation(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'generation'")
