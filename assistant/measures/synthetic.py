"""A library of any size for measuring searches: made of the starter notes' words and vectors, without reading a document.

Texts are rows of clauses, clauses are rows of words of the starter notes; how often a clause is used falls with its rank as Zipf's
law has it, and every passage has a few names that are rare, so that frequencies of words are those of a real collection. A vector
is a mixture of three real passages' vectors with noise. What is slow in an ingest is done once a clause, not once a passage:
cutting into words, finding concepts. Copies are not looked for, so there are no bands.
"""

import json
import random
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ingest.document import content_hash
from ingest.models.embedding import Embedder
from ingest.progress import Progress
from ingest.storage import postings
from ingest.storage.fulltext import words
from ingest.storage.library import Library, passage_hash, question_hash
from ingest.storage.vectors import Vectors
from kg.concepts import Glossary

Numbers = npt.NDArray[np.int64]

_PER_DOCUMENT, _CLAUSES = 10, 13
_CHUNK = 3276 * _PER_DOCUMENT  # passages written in one transaction
_SIMILAR = 0.35  # length of the noise beside a mixture of length 1: the nearest of a million are then at cosines of .9 and more


@dataclass(frozen=True, slots=True)
class Stock:
    """What passages are made of: clauses with their index words and the concepts they mention, and vectors (n, d) of real texts."""

    clauses: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    mentions: tuple[tuple[tuple[str, int, int], ...], ...]
    passages: Vectors
    questions: Vectors

    @classmethod
    def of_starter_notes(cls, embedder: Embedder, glossary: Glossary, size: int, seed: int = 0) -> "Stock":
        """So many clauses of the starter notes' words. Paragraphs of the notes give the vectors."""
        chance = random.Random(seed)
        notes = [path.read_text(encoding="utf-8") for path in Path(str(files("ingest").joinpath("samples"))).glob("*.md")]
        vocabulary = [word for note in sorted(notes) for word in words(note) if len(word) > 1]
        made: dict[str, None] = {}
        while len(made) < size:
            made["".join(chance.choices(vocabulary, k=chance.randint(3, 9)))] = None
        clauses = tuple(made)
        found = tuple(tuple((m.concept, m.start, m.end) for m in glossary.find(clause)) for clause in clauses)
        paragraphs = [part.strip() for note in sorted(notes) for part in note.split("\n\n")]
        asked = [part.lstrip("# ") for part in paragraphs if part.startswith("#")]
        told = [part for part in paragraphs if not part.startswith("#") and len(part) > 60]
        return cls(
            clauses,
            tuple(tuple(words(c)) for c in clauses),
            found,
            embedder.encode_passages(told),
            embedder.encode_questions(asked),
        )


def fill(
    library: Library, stock: Stock, count: int, embedder: Embedder, glossary: Glossary, progress: Progress, seed: int = 0
) -> None:
    """Put ``count`` passages into an empty library, ten a document; every second one is the answer of a question."""
    library.use_embedder(embedder.fingerprint, embedder.dimension)
    chance = np.random.default_rng(seed)
    with library.transaction() as connection:
        # Every clause's words get their numbers first, so that rows of the index are made of numbers alone.
        every = sorted({word for found in stock.words for word in found})
        connection.executemany("INSERT OR IGNORE INTO words (word) VALUES (?)", [(word,) for word in every])
        numbers = dict(connection.execute("SELECT word, id FROM words"))
    table = [np.array([numbers[word] for word in found], dtype=np.int64) for found in stock.words]
    for first in range(0, count, _CHUNK):
        progress("filling", first, count)
        with library.transaction() as connection:
            connection.execute("PRAGMA cache_size = -200000")
            _chunk(connection, stock, table, range(first, min(count, first + _CHUNK)), glossary.fingerprint, chance)
            connection.execute(
                "INSERT OR REPLACE INTO meta SELECT 'generation', 1 + ifnull(max(CAST(value AS INTEGER)), 0) FROM meta"
                " WHERE key = 'generation'"
            )
    progress("filling", count, count)
    library.write_vectors()


def _chunk(
    connection: sqlite3.Connection,
    stock: Stock,
    table: Sequence[Numbers],
    numbers: range,
    fingerprint: str,
    chance: np.random.Generator,
) -> None:
    size = len(numbers)
    ranks = _zipf(len(stock.clauses), (size, _CLAUSES), chance)
    titles = _zipf(len(stock.clauses), (-(-size // _PER_DOCUMENT),), chance)
    names = _zipf(1 << 20, (size, 2), chance)
    mixed = _vectors(stock.passages, size, chance)
    asked = _vectors(stock.questions, size, chance)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    rows: dict[str, list[tuple[object, ...]]] = {"documents": [], "passages": [], "pairs": [], "embeddings": [], "mentions": []}
    extra: dict[str, list[int]] = {}  # names -> passages
    heading_rows, question_rows = np.zeros(size, dtype=np.int64), np.full(size, -1, dtype=np.int64)
    for begin in range(0, size, _PER_DOCUMENT):
        document, text = numbers[begin] // _PER_DOCUMENT + 1, ""
        title = int(titles[begin // _PER_DOCUMENT])
        headings = json.dumps([stock.clauses[title]], ensure_ascii=False)
        for n in range(begin, min(size, begin + _PER_DOCUMENT)):
            i, start = numbers[n] + 1, len(text)
            heading_rows[n] = title
            question = f"{stock.clauses[ranks[n, 0]]}？" if n % 2 else ""
            if question:
                question_rows[n] = ranks[n, 0]
            for position, clause in enumerate(ranks[n]):
                rows["mentions"] += [(i, key, len(text) + a, len(text) + b) for key, a, b in stock.mentions[clause]]
                text += stock.clauses[clause] + ("？\n" if question and not position else "，")
            for name in {f"x{number}" for number in names[n].tolist()}:
                text += f" {name}"
                extra.setdefault(name, []).append(i)
            body = text[start:]
            key = passage_hash(f"{stock.clauses[title]}\n{body}")
            rows["passages"].append((i, document, start, len(text), headings, 1, key, int(key[:15], 16), i))
            rows["embeddings"].append((key, mixed[n].tobytes()))
            if question:
                answer = start + len(question) + 1
                pair = question_hash(f"{question}{i}")  # every pair has a vector of its own, also where the words are the same
                rows["pairs"].append(
                    (i, document, content_hash(question), question, start, answer - 1, answer, len(text), headings, pair)
                )
                rows["embeddings"].append((pair, asked[n].tobytes()))
            text += "\n\n"
        name = f"{document:07}.md"
        rows["documents"].append(
            (document, name, name, stock.clauses[title], text, name, "markdown", "utf-8", "", fingerprint, now)
        )
    marks = {
        "documents": "(id, name, source, title, text, raw_hash, format, encoding, pipeline, concepts, added_at)",
        "passages": '(id, document_id, start, "end", headings, line, embedding, print, copy_of)',
        "pairs": "(id, document_id, key, question, question_start, question_end, answer_start, answer_end, headings, embedding)",
        "embeddings": "(hash, vector)",
        "mentions": '(passage_id, concept, start, "end")',
    }
    for where, values in rows.items():
        questions = ", ".join("?" * len(marks[where].split(",")))
        connection.executemany(f"INSERT OR IGNORE INTO {where} {marks[where]} VALUES ({questions})", values)
    _index(connection, table, numbers, [ranks, heading_rows[:, None], question_rows[:, None]], extra)


def _index(
    connection: sqlite3.Connection,
    table: Sequence[Numbers],
    numbers: range,
    clauses: Sequence[Numbers],
    extra: dict[str, list[int]],
) -> None:
    """The segment of these passages: what :func:`ingest.storage.postings.add` would make, from numbers instead of words."""
    size, first = len(numbers), numbers[0] + 1
    flat, sizes = np.concatenate(table), np.array([len(found) for found in table], dtype=np.int64)
    starts = np.cumsum(sizes) - sizes
    lengths = np.zeros((size, 3), dtype=np.int64)
    rows: list[tuple[int, bytes]] = []
    for field, chosen in enumerate(clauses):
        places, used = np.nonzero(chosen >= 0)
        picked = chosen[places, used]
        length = sizes[picked]
        np.add.at(lengths[:, field], places, length)
        inside = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
        keys = flat[np.repeat(starts[picked], length) + inside] * size + np.repeat(places, length)
        keys.sort()
        heads = np.flatnonzero(np.diff(keys, prepend=-1))
        counts = np.minimum(np.diff(heads, append=len(keys)), 255).astype(np.uint8)
        word, passage = np.divmod(keys[heads], size)
        ids = (passage + first).astype(np.uint32)
        cuts = np.flatnonzero(np.diff(word, prepend=-1)).tolist()
        for low, high in zip(cuts, [*cuts[1:], len(word)], strict=True):
            rows.append((postings.key(0, int(word[low]), field), postings.packed(ids[low:high], counts[low:high])))
    for i in (i for members in extra.values() for i in members):
        lengths[i - first, 0] += 1
    named = postings.numbered(connection, sorted(extra))
    for name, members in extra.items():
        ids = np.array(members, dtype=np.uint32)
        rows.append((postings.key(0, named[name], 0), postings.packed(ids, np.ones(len(ids), dtype=np.uint8))))
    rows.sort(key=lambda row: row[0])
    postings.add_segment(connection, np.arange(first, first + size, dtype=np.uint32), lengths.astype(np.uint16), rows, level=2)
    postings.merge(connection)


def _zipf(size: int, shape: tuple[int, ...], chance: np.random.Generator) -> Numbers:
    """Ranks below ``size``, rank r with a chance that falls as 1 / (r + 20)."""
    uniform = chance.random(shape)
    ranks = 20 * ((size + 20) / 20) ** uniform - 20
    return np.minimum(ranks.astype(np.int64), size - 1)


def _vectors(real: Vectors, count: int, chance: np.random.Generator) -> Vectors:
    """Unit vectors (count, d): mixtures of three of the real ones, mostly of the first, with noise."""
    parts = real[chance.integers(0, len(real), (count, 3))]
    weights = chance.dirichlet((4.0, 1.0, 1.0), count).astype(np.float32)
    mixed = np.einsum("nk,nkd->nd", weights, parts)
    noise = chance.standard_normal(mixed.shape, dtype=np.float32) * np.float32(_SIMILAR / np.sqrt(mixed.shape[1]))
    mixed += noise
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), dtype=np.float32)
