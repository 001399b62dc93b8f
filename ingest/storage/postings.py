"""The inverted index of the full text in SQLite: which passages hold a word, in which field, how often.

A passage has three fields (``FIELDS``). The index is a few *segments*, each of the passages of one range of ids: a publication
makes a segment of its own, and ``FAN`` segments of one level become one of the next (the log-structured merge of O'Neil et al.
1996), so every posting is written a few times in all and nothing large is changed in place. Removed passages are listed as gone;
they leave a segment at once when it is small, else when a quarter of it is gone or when it is merged. All of it happens in the
transaction that changes the passages.

A row of ``postings`` holds the passages of one word in one field of one segment: their ids (uint32, ascending), then how often each
has the word (uint8, 255 and more alike). Its key is made of the three numbers, so a segment lies in one piece and a word is a few
look-ups.
"""

import heapq
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

FIELDS = ("text", "heading", "question")
"""The passage's own text; the headings above it; the questions of the pairs it belongs to."""
Fields = tuple[Sequence[str], Sequence[str], Sequence[str]]
"""The index words of a passage, field by field, repeated as often as they occur."""
Ids = npt.NDArray[np.uint32]
Counts = npt.NDArray[np.uint8]
Lengths = npt.NDArray[np.uint16]

FAN = 8
SMALL = 1 << 11
"""Passages up to which a segment is written anew at once when one of them goes."""
LARGEST = 1 << 18
"""Passages that a merge may bring together: what bounds the time an ingest spends in one."""
_SEGMENT, _WORD, _FIELD = 32, 2, 3  # the bits of a key: segment, then 30 bits of the word's number, then 2 of the field
_ID, _POSTING = 4, 5  # bytes of an id, and of an id with its count


def key(segment: int, word: int, field: int) -> int:
    """The row of ``postings`` for a word in a field of a segment."""
    return segment << _SEGMENT | word << _WORD | field


def packed(ids: Ids, counts: Counts) -> bytes:
    """A row's data."""
    return ids.tobytes() + counts.tobytes()


def unpacked(data: bytes) -> tuple[Ids, Counts]:
    """The ids (n,) and counts (n,) of a row's data."""
    n = len(data) // _POSTING
    return np.frombuffer(data, np.uint32, n), np.frombuffer(data, np.uint8, n, _ID * n)


# --- writing, inside a transaction ------------------------------------------------------------------------------


def add(connection: sqlite3.Connection, passages: Sequence[tuple[int, Fields]]) -> None:
    """Index new passages; their ids are larger than those of all that were ever indexed."""
    if not passages:
        return
    found: dict[tuple[str, int], tuple[list[int], list[int]]] = {}
    for i, fields in passages:
        for field, words in enumerate(fields):
            for word, count in Counter(words).items():
                ids, counts = found.setdefault((word, field), ([], []))
                ids.append(i)
                counts.append(min(count, 255))
    numbers = numbered(connection, sorted({word for word, _ in found}))
    lengths = np.array([[min(len(words), 65535) for words in fields] for _, fields in passages], dtype=np.uint16)
    rows = sorted(
        (key(0, numbers[word], field), packed(np.array(ids, np.uint32), np.array(counts, np.uint8)))
        for (word, field), (ids, counts) in found.items()
    )
    add_segment(connection, np.array([i for i, _ in passages], dtype=np.uint32), lengths, rows)
    merge(connection)


def add_segment(
    connection: sqlite3.Connection, ids: Ids, lengths: Lengths, rows: Iterable[tuple[int, bytes]], level: int = 0
) -> None:
    """A new segment of passages ``ids`` (n,) with the ``lengths`` (n, 3) of their fields; rows have the keys of segment 0."""
    sql = 'INSERT INTO word_segments (level, "first", "last", passages, lengths) VALUES (?, ?, ?, ?, ?)'
    values = (level, int(ids[0]), int(ids[-1]), ids.tobytes(), np.ascontiguousarray(lengths).tobytes())
    segment = int(connection.execute(sql, values).lastrowid or 0)
    connection.executemany("INSERT INTO postings VALUES (?, ?)", ((key(segment, 0, 0) | k, data) for k, data in rows))
    _changed(connection)


def remove(connection: sqlite3.Connection, passages: Sequence[int]) -> None:
    """Take passages out of the index."""
    if not passages:
        return
    connection.executemany("INSERT OR IGNORE INTO words_gone VALUES (?)", [(i,) for i in passages])
    low, high = min(passages), max(passages)
    sql = 'SELECT id, "first", "last", length(passages) / 4 FROM word_segments WHERE "first" <= ? AND "last" >= ?'
    for segment, first, last, n in connection.execute(sql, (high, low)).fetchall():
        sql = "SELECT count(*) FROM words_gone WHERE passage_id BETWEEN ? AND ?"
        gone = int(connection.execute(sql, (first, last)).fetchone()[0])
        if gone and (n <= SMALL or 4 * gone >= n):
            _join(connection, [segment])
    _changed(connection)


def clear(connection: sqlite3.Connection) -> None:
    """Empty the index; passages added afterwards may have any ids."""
    for table in ("postings", "word_segments", "words_gone", "words"):
        connection.execute(f"DELETE FROM {table}")
    _changed(connection)


def forget_unused(connection: sqlite3.Connection) -> None:
    """Drop words that no passage has any more."""
    used = np.array([i for (i,) in connection.execute("SELECT DISTINCT (id & 4294967295) >> 2 FROM postings")], dtype=np.int64)
    every = np.array([i for (i,) in connection.execute("SELECT id FROM words")], dtype=np.int64)
    connection.executemany("DELETE FROM words WHERE id = ?", [(i,) for i in np.setdiff1d(every, used).tolist()])


def _changed(connection: sqlite3.Connection) -> None:
    sql = "SELECT ifnull(max(CAST(value AS INTEGER)), 0) + 1 FROM meta WHERE key = 'words_version'"
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('words_version', ?)", (str(connection.execute(sql).fetchone()[0]),))


def numbered(connection: sqlite3.Connection, words: Sequence[str]) -> dict[str, int]:
    """The numbers of words, which get one where they have none yet."""
    connection.executemany("INSERT OR IGNORE INTO words (word) VALUES (?)", [(word,) for word in words])
    found: dict[str, int] = {}
    for start in range(0, len(words), 500):
        part = words[start : start + 500]
        found.update(connection.execute(f"SELECT word, id FROM words WHERE word IN ({','.join('?' * len(part))})", part))
    return found


def merge(connection: sqlite3.Connection) -> None:
    """Bring the segments of every level that is full together, from the newest and smallest on."""
    level, top = 0, 0
    while level <= top:
        sql = 'SELECT id, length(passages) / 4 FROM word_segments WHERE level = ? ORDER BY "first"'
        segments = connection.execute(sql, (level,)).fetchall()
        if len(segments) >= FAN and sum(n for _, n in segments) <= LARGEST:
            _join(connection, [segment for segment, _ in segments])
        level, top = level + 1, int(connection.execute("SELECT ifnull(max(level), 0) FROM word_segments").fetchone()[0])


def _join(connection: sqlite3.Connection, segments: Sequence[int]) -> None:
    """One segment, of the next level, instead of several that follow one another; what is gone is left out.

    A single one stays on its level.
    """
    marks = ",".join("?" * len(segments))
    old = connection.execute(
        f'SELECT level, "first", "last", passages, lengths FROM word_segments WHERE id IN ({marks}) ORDER BY "first"', segments
    ).fetchall()
    first, last = old[0][1], old[-1][2]
    sql = "SELECT passage_id FROM words_gone WHERE passage_id BETWEEN ? AND ?"
    gone = np.array([i for (i,) in connection.execute(sql, (first, last))], dtype=np.uint32)
    ids = np.concatenate([np.frombuffer(row[3], np.uint32) for row in old])
    lengths = np.concatenate([np.frombuffer(row[4], np.uint16).reshape(-1, len(FIELDS)) for row in old])
    stays = ~np.isin(ids, gone)
    if stays.any():
        level = old[0][0] + (len(segments) > 1)
        add_segment(connection, ids[stays], lengths[stays], _joined(connection, segments, gone), level)
    for segment in segments:
        connection.execute("DELETE FROM postings WHERE id BETWEEN ? AND ?", (key(segment, 0, 0), key(segment + 1, 0, 0) - 1))
    connection.execute(f"DELETE FROM word_segments WHERE id IN ({marks})", segments)
    connection.execute("DELETE FROM words_gone WHERE passage_id BETWEEN ? AND ?", (first, last))


def _joined(connection: sqlite3.Connection, segments: Sequence[int], gone: Ids) -> Iterator[tuple[int, bytes]]:
    low = (1 << _SEGMENT) - 1

    def stream(place: int, segment: int) -> Iterator[tuple[int, int, bytes]]:
        sql = "SELECT id, data FROM postings WHERE id BETWEEN ? AND ? ORDER BY id"
        cursor = connection.cursor()
        for i, data in cursor.execute(sql, (key(segment, 0, 0), key(segment + 1, 0, 0) - 1)):
            yield i & low, place, data

    rows = heapq.merge(*(stream(place, segment) for place, segment in enumerate(segments)), key=lambda row: row[:2])
    for where, group in groupby(rows, key=lambda row: row[0]):
        parts = [data for _, _, data in group]
        if not len(gone):
            yield (
                where,
                b"".join(d[: len(d) // _POSTING * _ID] for d in parts) + b"".join(d[len(d) // _POSTING * _ID :] for d in parts),
            )
            continue
        ids, counts = (np.concatenate(arrays) for arrays in zip(*map(unpacked, parts), strict=True))
        stays = ~np.isin(ids, gone)
        if stays.any():
            yield where, packed(ids[stays], counts[stays])


# --- what the doctor asks ---------------------------------------------------------------------------------------


def print_of(fields: Fields) -> tuple[int, tuple[int, ...]]:
    """What :func:`prints` must say of a passage with these words: a sum over its words, and the lengths of its fields."""
    total = sum(_hash(word, f) * min(n, 255) for f, words in enumerate(fields) for word, n in Counter(words).items())
    return total % (1 << 64), tuple(min(len(words), 65535) for words in fields)


def prints(read: Any) -> dict[int, tuple[int, tuple[int, ...]]]:
    """For every passage in the index a sum over its words and the lengths of its fields; ``read`` runs a query.

    Raises ValueError when a row belongs to no word or segment, or names a passage its segment has not.
    """
    gone = {i for (i,) in read("SELECT passage_id FROM words_gone")}
    found: dict[int, tuple[int, tuple[int, ...]]] = {}
    names: Mapping[int, str] = dict(read("SELECT id, word FROM words"))
    segments = read('SELECT id, passages, lengths FROM word_segments ORDER BY "first"')
    known = {segment for segment, *_ in segments}
    for (i,) in read("SELECT DISTINCT id >> 32 FROM postings"):
        if i not in known:
            raise ValueError(f"words of a segment {i} that is not there")
    for segment, passages, lengths in segments:
        ids, sizes = np.frombuffer(passages, np.uint32), np.frombuffer(lengths, np.uint16).reshape(-1, len(FIELDS))
        sums = np.zeros(len(ids), dtype=np.uint64)
        sql = "SELECT id, data FROM postings WHERE id BETWEEN ? AND ?"
        for i, data in read(sql, (key(segment, 0, 0), key(segment + 1, 0, 0) - 1)):
            word = (i & ((1 << _SEGMENT) - 1)) >> _WORD
            members, counts = unpacked(data)
            places = np.searchsorted(ids, members)
            if word not in names or (places >= len(ids)).any() or (ids[places] != members).any():
                raise ValueError(f"the row {i} belongs to no word or passage")
            sums[places] += counts * np.uint64(_hash(names[word], i & _FIELD))
        for i, total, size in zip(ids.tolist(), sums.tolist(), sizes.tolist(), strict=True):
            if i not in gone:
                found[i] = total, tuple(size)
    return found


def _hash(word: str, field: int) -> int:
    return int.from_bytes(blake2b(f"{field}{word}".encode(), digest_size=8).digest(), "little")
