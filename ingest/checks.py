"""What must hold in every library at every moment, also after a kill: ``mianpu doctor`` and the kill test ask the same."""

import sqlite3

import numpy as np

from ingest import vectors
from ingest.errors import MianpuError
from ingest.library import Library, passage_hash, question_hash

_ORPHANS = (
    ("passages without a full-text row", "SELECT count(*) FROM passages WHERE id NOT IN (SELECT rowid FROM passages_words)"),
    ("full-text rows without a passage", "SELECT count(*) FROM passages_words WHERE rowid NOT IN (SELECT id FROM passages)"),
    ("passages without a document", "SELECT count(*) FROM passages WHERE document_id NOT IN (SELECT id FROM documents)"),
    ("pairs without a document", "SELECT count(*) FROM pairs WHERE document_id NOT IN (SELECT id FROM documents)"),
    ("mentions without a passage", "SELECT count(*) FROM mentions WHERE passage_id NOT IN (SELECT id FROM passages)"),
    ("documents without a passage", "SELECT count(*) FROM documents WHERE id NOT IN (SELECT document_id FROM passages)"),
    ("messages without a chat", "SELECT count(*) FROM messages WHERE chat_id NOT IN (SELECT id FROM chats)"),
    (
        "mentions outside their passage",
        'SELECT count(*) FROM mentions m JOIN passages p ON p.id = m.passage_id WHERE m.start < p.start OR m."end" <= m.start'
        ' OR m."end" > p."end"',
    ),
)


def problems(library: Library) -> list[str]:
    """Everything that is wrong with a library, one line each; an empty list for a sound one.

    Embeddings that no document uses are no problem: an interrupted ingest leaves them for the next one.
    """
    try:
        found = [f"the database is damaged: {row[0]}" for row in library.read("PRAGMA integrity_check(5)") if row[0] != "ok"]
        if found:
            return found
        for name, question in _ORPHANS:
            count = int(library.read(question)[0][0])
            if count:
                found.append(f"{count} {name}")
        for info in library.documents():
            found += _document_problems(library, info.name)
        return found + _vector_problems(library)
    except (sqlite3.Error, MianpuError) as error:
        return [f"the library cannot be checked: {error}"]


def _document_problems(library: Library, name: str) -> list[str]:
    found = []
    text = library.document(name).text
    position = 0
    for passage in library.all_passages(name):
        where = f"{name}: passage {passage.id} [{passage.start}:{passage.end}]"
        if not 0 <= passage.start < passage.end <= len(text):
            found.append(f"{where} lies outside the text")
        elif passage.start < position:
            found.append(f"{where} overlaps the one before")
        elif passage.line != text.count("\n", 0, passage.start) + 1:
            found.append(f"{where} names line {passage.line}")
        position = max(position, passage.end)
    for pair in library.all_pairs(name):
        where = f"{name}: pair {pair.id}"
        if not 0 <= pair.question_start < pair.question_end <= len(text):
            found.append(f"{where}: the question lies outside the text")
        elif text[pair.question_start : pair.question_end] != pair.question:
            found.append(f"{where}: the question is not the text at its span")
        if not 0 <= pair.answer_start <= pair.answer_end <= len(text):
            found.append(f"{where}: the answer lies outside the text")
    for heading in library.headings(name):
        if not 0 <= heading.start <= heading.end <= len(text):
            found.append(f"{name}: heading «{heading.title}» lies outside the text")
    return found


def _vector_problems(library: Library) -> list[str]:
    """Every passage and every answered question has the embedding of its text, and exactly that vector in the index."""
    keys = {p.id: (passage_hash(p.embedding_text), f"passage {p.id} of {p.document}") for p in library.all_passages()}
    for q in library.all_pairs():
        if q.answer:
            keys[q.id + vectors.PAIR_BASE] = (question_hash(q.question), f"pair {q.id} of {q.document}")
    rows = "SELECT id, embedding FROM passages UNION ALL SELECT id + ?, embedding FROM pairs"
    stored = dict(library.read(rows, (vectors.PAIR_BASE,)))
    found = [f"{what}: its embedding belongs to another text" for i, (key, what) in keys.items() if stored[i] != key]
    known = library.known_embeddings([key for key, _ in keys.values()])
    missing = [what for key, what in keys.values() if key not in known]
    if missing:
        found.append(f"{len(missing)} without an embedding ({missing[0]} first): run `mianpu ingest` again")
    ids, values = library.vector_contents()
    if len(set(ids.tolist())) != len(ids):
        found.append("an id occurs twice in the vector file")
    if stray := set(ids.tolist()) - keys.keys():
        found.append(f"{len(stray)} vectors without a passage or pair")
    complete = {i for i, (key, _) in keys.items() if key in known}
    if lost := complete - set(ids.tolist()):
        found.append(f"{len(lost)} passages or pairs without a vector")
    shared = [n for n, i in enumerate(ids.tolist()) if i in complete]
    if shared and not found:
        expected = library.embeddings([keys[int(ids[n])][0] for n in shared])
        if expected.shape != values[shared].shape or not np.array_equal(expected, values[shared]):
            found.append("the vector file does not hold the stored embeddings")
        elif not np.allclose(np.linalg.norm(expected, axis=1), 1.0, atol=1e-3):
            found.append("an embedding is not of unit length")
    return found
