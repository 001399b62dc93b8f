"""What must hold in every library at every moment, also after a kill: ``mianpu doctor`` and the kill test ask the same."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ingest.document import Passage
from ingest.errors import MianpuError
from ingest.storage import duplicates, postings, rows, vectors
from ingest.storage.database import RESTORE
from ingest.storage.library import Library, passage_hash, question_hash

Prints = Mapping[int, tuple[int, tuple[int, ...]]]

# What is counted, how, and what ``ingest.storage.repair`` does about it.
_COUNTS = (
    ("passages without a document", "SELECT count(*) FROM passages WHERE document_id NOT IN (SELECT id FROM documents)", "orphans"),
    ("pairs without a document", "SELECT count(*) FROM pairs WHERE document_id NOT IN (SELECT id FROM documents)", "orphans"),
    ("mentions without a passage", "SELECT count(*) FROM mentions WHERE passage_id NOT IN (SELECT id FROM passages)", "orphans"),
    ("messages without a chat", "SELECT count(*) FROM messages WHERE chat_id NOT IN (SELECT id FROM chats)", "orphans"),
    (
        "documents without a passage",
        "SELECT count(*) FROM documents WHERE id NOT IN (SELECT document_id FROM passages)",
        "documents",
    ),
    (
        "mentions outside their passage",
        'SELECT count(*) FROM mentions m JOIN passages p ON p.id = m.passage_id WHERE m.start < p.start OR m."end" <= m.start'
        ' OR m."end" > p."end"',
        "mentions",
    ),
)
_GROUPS = (
    (
        "passages whose first copy is missing, later than they are, or itself a copy",
        "SELECT count(*) FROM passages p LEFT JOIN passages f ON f.id = p.copy_of"
        " WHERE f.id IS NULL OR f.id > p.id OR f.copy_of != f.id",
    ),
    ("bands of passages that are gone", "SELECT count(*) FROM bands WHERE print NOT IN (SELECT print FROM passages)"),
    (
        "passages of the same words in different groups of copies",
        "SELECT count(*) FROM (SELECT print FROM passages WHERE print != 0 GROUP BY print HAVING count(DISTINCT copy_of) > 1)",
    ),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that does not hold. ``mend`` is the step of ``repair`` that sees to it; empty: only an ingest or a backup.

    ``document`` names the document that does not hold together.
    """

    text: str
    mend: str = ""
    document: str = ""


def problems(library: Library) -> list[str]:
    """Everything that is wrong with a library, one line each; an empty list for a sound one.

    Embeddings that no document uses are no problem: an interrupted ingest leaves them for the next one.
    """
    return [problem.text for problem in examine(library)]


def examine(library: Library) -> list[Problem]:
    """Like :func:`problems`, with what would mend each. The library is seen at one moment."""
    try:
        with library.snapshot():
            damage = [row[0] for row in library.read("PRAGMA integrity_check(5)") if row[0] != "ok"]
            return [Problem(f"the database is damaged: {text}; {RESTORE}") for text in damage] or list(_problems(library))
    except (sqlite3.Error, MianpuError) as error:
        return [Problem(f"the library cannot be checked: {error}")]


def _problems(library: Library) -> Iterator[Problem]:
    for name, question, mend in _COUNTS:
        if count := int(library.read(question)[0][0]):
            yield Problem(f"{count} {name}", mend)
    if library.passage_count() and not library.meta("generation"):
        yield Problem("the library does not say which generation it is", "vectors")
    yield from _learner_problems(library)
    try:
        prints = postings.prints(library.read)
    except ValueError as error:
        yield Problem(f"the full text cannot be read: {error}", "full text")
        prints = {}
    else:
        stray = prints.keys() - {i for (i,) in library.read("SELECT id FROM passages")}
        if stray:
            yield Problem(f"{len(stray)} passages in the full text that are gone", "full text")
    kept: list[tuple[int, str, str]] = []
    for (name,) in library.read("SELECT name FROM documents ORDER BY name"):
        try:
            yield from _document_problems(library, name)
        except (ValueError, TypeError, KeyError) as error:
            yield Problem(f"{name}: its headings, cuts, metadata or pages cannot be read ({error})", "documents", name)
            continue
        passages = library.all_passages(name)
        if prints:
            yield from _word_problems(library, name, passages, prints)
        yield from _print_problems(library, name, passages)
        kept += [(p.id, passage_hash(p.embedding_text), f"passage {p.id} of {name}") for p in passages]
        kept += [
            (q.id + vectors.PAIR_BASE, question_hash(q.question), f"pair {q.id} of {name}")
            for q in library.all_pairs(name)
            if q.answer
        ]
    for name, question in _GROUPS:
        if count := int(library.read(question)[0][0]):
            yield Problem(f"{count} {name}", "groups")
    yield from _vector_problems(library, {i: (key, what) for i, key, what in kept})


def _learner_problems(library: Library) -> Iterator[Problem]:
    readable: tuple[tuple[str, str, str], ...] = (
        ("cards", "key", "card"),
        ("interviews", "id", "state"),
        ("messages", "id", "detail"),
        ("reviews", "id", "detail"),
        ("corrections", "id", "detail"),
    )
    for table, key, column in readable:
        bad = [str(row[0]) for row in library.read(f"SELECT {key} FROM {table} WHERE NOT json_valid({column})")]
        if bad:
            yield Problem(f"{len(bad)} {table} cannot be read ({bad[0]} first)", "cards" if table == "cards" else "")


def _document_problems(library: Library, name: str) -> Iterator[Problem]:
    document = library.document(name)
    text, pages = document.text, document.pages
    position = 0
    for passage in library.all_passages(name):
        where = f"{name}: passage {passage.id} [{passage.start}:{passage.end}]"
        if not 0 <= passage.start < passage.end <= len(text):
            yield Problem(f"{where} lies outside the text", "documents", name)
        elif passage.start < position:
            yield Problem(f"{where} overlaps the one before", "documents", name)
        elif passage.line != text.count("\n", 0, passage.start) + 1:
            yield Problem(f"{where} names line {passage.line}", "places")
        elif passage.page != document.page_at(passage.start):
            yield Problem(f"{where} names page {passage.page}, not {document.page_at(passage.start)}", "places")
        position = max(position, passage.end)
    for pair in library.all_pairs(name):
        where = f"{name}: pair {pair.id}"
        if not 0 <= pair.question_start < pair.question_end <= len(text):
            yield Problem(f"{where}: the question lies outside the text", "documents", name)
        elif text[pair.question_start : pair.question_end] != pair.question:
            yield Problem(f"{where}: the question is not the text at its span", "documents", name)
        if not 0 <= pair.answer_start <= pair.answer_end <= len(text):
            yield Problem(f"{where}: the answer lies outside the text", "documents", name)
    for heading in library.headings(name):
        if not 0 <= heading.start <= heading.end <= len(text):
            yield Problem(f"{name}: heading «{heading.title}» lies outside the text", "documents", name)
    if list(pages) != sorted(pages) or any(not 0 <= page <= len(text) for page in pages):
        yield Problem(f"{name}: its pages do not lie in order in the text", "documents", name)
    end, raw = 0, len(text) + sum(len(cut.text) for cut in document.cuts)  # text and cuts together are what was read
    for cut in document.cuts:
        if not (end <= cut.start < cut.end <= raw and len(cut.text) == cut.end - cut.start):
            yield Problem(f"{name}: the cut [{cut.start}:{cut.end}] ({cut.reason}) does not hold what was cut", "documents", name)
        end = max(end, cut.end)


def _word_problems(library: Library, name: str, passages: Sequence[Passage], prints: Prints) -> Iterator[Problem]:
    """The full text holds every passage, with its words."""
    if missing := [p.id for p in passages if p.id not in prints]:
        yield Problem(f"{name}: {len(missing)} passages are not in the full text (passage {missing[0]} first)", "full text")
    expected = zip(passages, rows.index_words(passages, library.all_pairs(name)), strict=True)
    wrong = [p.id for p, fields in expected if p.id in prints and prints[p.id] != postings.print_of(fields)]
    if wrong:
        yield Problem(f"{name}: the full text of {len(wrong)} passages is of other words (passage {wrong[0]} first)", "full text")


def _print_problems(library: Library, name: str, passages: Sequence[Passage]) -> Iterator[Problem]:
    """Every passage has the print of its text, and stands in the bands where its text leads."""
    prints = {i: p for i, (p,) in _by_ids(library, "SELECT id, print FROM passages WHERE id", passages).items()}
    waiting = [p for p in passages if prints[p.id] == 0]
    if waiting:
        yield Problem(f"{name}: {len(waiting)} passages are in no group of copies yet", "groups")
    for passage in passages:
        if not prints[passage.id]:
            continue
        if prints[passage.id] != duplicates.print_of(passage.text, passage.headings):
            yield Problem(f"{name}: passage {passage.id} has the print of another text", "groups")
        elif keys := duplicates.keys_of(passage.text):
            marks = ",".join("?" * len(keys))
            found = library.read(f"SELECT count(*) FROM bands WHERE print = ? AND key IN ({marks})", [prints[passage.id], *keys])
            if found[0][0] != len(keys):
                yield Problem(f"{name}: passage {passage.id} is missing in the bands that lead to copies", "groups")


def _by_ids(library: Library, select: str, passages: Sequence[Passage]) -> dict[int, tuple[Any, ...]]:
    """The rows of the passages, by id: its first column."""
    found: dict[int, tuple[Any, ...]] = {}
    for start in range(0, len(passages), 500):
        ids = [p.id for p in passages[start : start + 500]]
        found.update((row[0], row[1:]) for row in library.read(f"{select} IN ({','.join('?' * len(ids))})", ids))
    return found


def _vector_problems(library: Library, keys: dict[int, tuple[str, str]]) -> Iterator[Problem]:
    """Every passage and every answered question has the embedding of its text, and exactly that vector in the index."""
    width = library.dimension * 4
    wrong = int(library.read("SELECT count(*) FROM embeddings WHERE length(vector) != ?", (width,))[0][0])
    if wrong:
        yield Problem(f"{wrong} embeddings do not have the {library.dimension} numbers of the model", "embeddings")
        return
    sql = "SELECT id, embedding FROM passages UNION ALL SELECT id + ?, embedding FROM pairs"
    stored = dict(library.read(sql, (vectors.PAIR_BASE,)))
    for i, (key, what) in keys.items():
        if stored[i] != key:
            yield Problem(f"{what}: its embedding belongs to another text", "keys")
    known = library.known_embeddings([key for key, _ in keys.values()])
    missing = [what for key, what in keys.values() if key not in known]
    if missing:
        yield Problem(f"{len(missing)} without an embedding ({missing[0]} first): run `mianpu ingest` again")
    file_problem = library.vector_file_problem()
    if file_problem:
        yield Problem(file_problem, "vectors")
    ids, values = library.vector_contents()
    present = set(ids.tolist())
    if len(present) != len(ids):
        yield Problem("an id occurs twice in the vector file", "vectors")
    if stray := present - keys.keys():
        yield Problem(f"{len(stray)} vectors without a passage or pair", "vectors")
    complete = {i for i, (key, _) in keys.items() if key in known}
    if lost := complete - present:
        yield Problem(f"{len(lost)} passages or pairs without a vector", "vectors")
    yield from _value_problems(library, keys, complete, ids, values)


def _value_problems(
    library: Library, keys: dict[int, tuple[str, str]], complete: set[int], ids: vectors.Ids, values: vectors.Vectors
) -> Iterator[Problem]:
    shared = [n for n, i in enumerate(ids.tolist()) if i in complete]
    differs = short = False
    for start in range(0, len(shared), 4096):  # a part at a time: the vectors are the larger half of a library
        part = shared[start : start + 4096]
        expected = library.embeddings([keys[int(ids[n])][0] for n in part])
        differs = differs or expected.shape != values[part].shape or not np.array_equal(expected, values[part])
        short = short or not np.allclose(np.linalg.norm(expected, axis=1), 1.0, atol=1e-3)
    if differs:
        yield Problem("the vector file does not hold the stored embeddings", "vectors")
    if short:
        yield Problem("an embedding is not of unit length", "embeddings")
