"""Passages that are copies of one another: the same article saved twice, or taken over by another site with small changes.

A passage's folded characters are cut into overlapping shingles. MinHash (Broder 1997, «On the resemblance and containment of
documents») gives every passage a few band keys, such that passages with a large Jaccard similarity of their shingles very likely
share one. The keys lie in SQLite, so the candidates of a new passage are index seeks; each candidate is then compared exactly.
The groups are the connected components of «share a band and are similar enough», a relation between texts alone: neither the order
of ingest nor what was removed meanwhile changes them.
"""

import json
import re
import sqlite3
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest.document import content_hash
from ingest.variants import simplified

Hashes = npt.NDArray[np.uint64]

SHINGLE = 4  # folded characters
BANDS, ROWS = 24, 3
"""Two passages share a band with the chance 1 - (1 - s^ROWS)^BANDS: .90 at a similarity of .45, .997 at .6, .0006 at .03."""
SHORTEST = 40
"""Folded characters from which on passages are compared; a shorter one is a copy only of the same words under the same headings."""
SIMILAR = 0.45
"""Jaccard similarity of the shingles from which on two passages are copies; between the edited copies and the passages that only
look alike of tests/copies.py."""

_OTHER = re.compile(r"[\W_]+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_LANES = 1 << 13  # shingles hashed at once: what bounds the memory for a passage of any length


def folded(text: str) -> str:
    """Letters and digits alone, NFKC, lower case, Simplified: spaces, punctuation, markup, width and script make no difference.

    >>> folded("**ＲｏＰＥ**（旋转 位置编码）")
    'rope旋转位置编码'
    """
    return _OTHER.sub("", simplified(unicodedata.normalize("NFKC", text).lower()))


def shingles(text: str) -> Hashes:
    """The hashes (n,) of the distinct shingles of a folded text, ascending."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    if len(codes) < SHINGLE:
        codes = np.pad(codes, (0, SHINGLE - len(codes)))
    count = len(codes) - SHINGLE + 1
    values = np.zeros(count, dtype=np.uint64)
    for n in range(SHINGLE):
        values = values * np.uint64(0x9E3779B97F4A7C15) + codes[n : n + count]
    return np.unique(_mixed(values))


def similarity(one: Hashes, other: Hashes) -> float:
    """The Jaccard similarity of two sets of shingles: shared over all."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def numbers_agree(one: str, other: str) -> bool:
    """Whether at least half of the numbers of the text that has fewer stand in the other too; fewer than two say nothing.

    A frame filled with other facts (the card of another model, the same sum for another size) is no copy, however alike its words.
    """
    first, second = _numbers(one), _numbers(other)
    fewer = min(len(first), len(second))
    return fewer < 2 or 2 * len(first & second) >= fewer


def _numbers(text: str) -> frozenset[str]:
    return frozenset(_NUMBER.findall(unicodedata.normalize("NFKC", text)))


def band_keys(values: Hashes) -> list[int]:
    """The band keys of a set of shingles, as SQLite keeps them (signed, 64 bits)."""
    lowest = np.full(BANDS * ROWS, np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, len(values), _LANES):
        np.minimum(lowest, (values[start : start + _LANES, None] * _FACTORS + _OFFSETS).min(axis=0), out=lowest)
    keys = np.arange(BANDS, dtype=np.uint64)
    for row in lowest.reshape(BANDS, ROWS).T:
        keys = _mixed(keys * np.uint64(0x9E3779B97F4A7C15) + row)
    return [int(key) for key in keys.view(np.int64)]


def _mixed(values: Hashes) -> Hashes:
    """The finaliser of splitmix64: every bit of the input reaches every bit of the output."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


_SEEDS = _mixed(np.arange(1, 2 * BANDS * ROWS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
_FACTORS, _OFFSETS = _SEEDS[: BANDS * ROWS] | np.uint64(1), _SEEDS[BANDS * ROWS :]


# --- groups in a library ----------------------------------------------------------------------------------------

_MEMBERS = """SELECT p.id, p.print, substr(d.text, p.start + 1, p."end" - p.start), p.headings FROM passages p
    JOIN documents d ON d.id = p.document_id"""


def print_of(text: str, headings: Sequence[str]) -> int:
    """What two passages share that say the same in the same words; never 0.

    A short passage («it is faster») says something only together with its headings, so they are part of it. Numbers are, because
    what :func:`numbers_agree` says must follow from the prints («1.5» and «15» fold alike).
    """
    plain = folded(text)
    above = map(folded, headings) if len(plain) < SHORTEST else ()
    plain = "\n".join([*above, plain, *sorted(_numbers(text))])
    return int.from_bytes(bytes.fromhex(content_hash(plain)[:16]), "big", signed=True) or 1


def keys_of(text: str) -> list[int]:
    """The band keys of a passage; none for one that is too short to be compared."""
    plain = folded(text)
    return band_keys(shingles(plain)) if len(plain) >= SHORTEST else []


def place(connection: sqlite3.Connection, passages: Sequence[tuple[int, str, Sequence[str]]]) -> None:
    """Give passages (id, text, headings), stored but in no group yet, their groups; groups that they connect become one."""
    prints = {i: print_of(text, headings) for i, text, headings in passages}
    groups: dict[int, int] = {}
    for part in _parts(sorted(set(prints.values()))):
        groups.update(
            connection.execute(f"SELECT print, min(copy_of) FROM passages WHERE print IN ({_marks(part)}) GROUP BY 1", part)
        )
    texts = {prints[i]: text for i, text, _ in passages}
    shapes = _Shapes(connection, {p: text for p, text in texts.items() if p not in groups})
    keys = {p: band_keys(shapes[p]) for p, text in shapes.texts.items() if len(folded(text)) >= SHORTEST}
    connection.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", [(key, p) for p, found in keys.items() for key in found])
    sharing = _sharing(connection, sorted({key for found in keys.values() for key in found}))
    links = _Links()
    strangers = {p for found in sharing.values() for p in found} - groups.keys() - keys.keys()
    for part in _parts(sorted(strangers)):
        groups.update(
            connection.execute(f"SELECT print, min(copy_of) FROM passages WHERE print IN ({_marks(part)}) GROUP BY 1", part)
        )
    nodes = {p: ("group", groups[p]) if p in groups else ("print", p) for p in {*texts, *groups}}
    for p, found in keys.items():
        for other in sorted({o for key in found for o in sharing[key] if o != p}):
            if other in nodes and links.root(nodes[other]) != links.root(nodes[p]) and shapes.are_copies(p, other):
                links.join(nodes[other], nodes[p])
    first: dict[Any, int] = {}
    for kind, number in nodes.values():
        if kind == "group":
            root = links.root((kind, number))
            first[root] = min(first.get(root, number), number)
    for i, p in sorted(prints.items()):  # ids grow, so a new passage is the first of its group only where no older one is
        first.setdefault(links.root(nodes[p]), i)
    connection.executemany(
        "UPDATE passages SET print = ?, copy_of = ? WHERE id = ?",
        [(p, first[links.root(nodes[p])], i) for i, p in prints.items()],
    )
    merged = {node[1]: first[links.root(node)] for node in nodes.values() if node[0] == "group"}
    connection.executemany(
        "UPDATE passages SET copy_of = ? WHERE copy_of = ?", [(new, old) for old, new in merged.items() if new != old]
    )


def take_out(connection: sqlite3.Connection, ids: Sequence[int]) -> set[int]:
    """What must happen before passages are deleted: their bands go. Returns the groups to hand to :func:`regroup` afterwards."""
    touched: set[int] = set()
    going: dict[int, list[int]] = {}
    for part in _parts(ids):
        for i, p, group in connection.execute(f"SELECT id, print, copy_of FROM passages WHERE id IN ({_marks(part)})", part):
            going.setdefault(p, []).append(i)
            touched.add(group)
    for p, members in going.items():
        if connection.execute("SELECT count(*) FROM passages WHERE print = ?", (p,)).fetchone()[0] > len(members):
            continue  # another passage of the same words stays, and the bands with it
        text = connection.execute(f"{_MEMBERS} WHERE p.id = ?", (members[0],)).fetchone()[2]
        connection.executemany("DELETE FROM bands WHERE key = ? AND print = ?", [(key, p) for key in keys_of(text)])
    return touched


def regroup(connection: sqlite3.Connection, groups: Iterable[int]) -> None:
    """Work groups out again that lost passages: the next becomes the first, and what only a lost one connected falls apart."""
    for group in groups:
        members = connection.execute(f"{_MEMBERS} WHERE p.copy_of = ? ORDER BY p.id", (group,)).fetchall()
        texts = {p: text for _, p, text, _ in members}
        shapes = _Shapes(connection, texts)
        buckets: dict[int, list[int]] = {}
        if len(texts) > 1:
            for p, text in texts.items():
                if len(folded(text)) >= SHORTEST:
                    for key in band_keys(shapes[p]):
                        buckets.setdefault(key, []).append(p)
        links = _Links()
        for bucket in buckets.values():
            for n, p in enumerate(bucket):
                for other in bucket[:n]:
                    if links.root(p) != links.root(other) and shapes.are_copies(p, other):
                        links.join(p, other)
        first: dict[Any, int] = {}
        for i, p, *_ in members:
            first.setdefault(links.root(p), i)
        connection.executemany("UPDATE passages SET copy_of = ? WHERE id = ?", [(first[links.root(p)], i) for i, p, *_ in members])


def unplaced(connection: sqlite3.Connection, limit: int) -> list[tuple[int, str, Sequence[str]]]:
    """Passages that have no group yet (a library of an earlier version), at most so many, as :func:`place` takes them."""
    rows = connection.execute(f"{_MEMBERS} WHERE p.print = 0 ORDER BY p.id LIMIT ?", (limit,)).fetchall()
    return [(i, text, json.loads(headings)) for i, _, text, headings in rows]


class _Shapes:
    """The shingles of prints, made when first asked for; the text of a print that is not given stands in the library."""

    def __init__(self, connection: sqlite3.Connection, texts: Mapping[int, str]) -> None:
        self._connection = connection
        self.texts = dict(texts)
        self._shingles: dict[int, Hashes] = {}

    def __getitem__(self, p: int) -> Hashes:
        if p not in self._shingles:
            self._shingles[p] = shingles(folded(self._text(p)))
        return self._shingles[p]

    def are_copies(self, one: int, other: int) -> bool:
        return similarity(self[one], self[other]) >= SIMILAR and numbers_agree(self._text(one), self._text(other))

    def _text(self, p: int) -> str:
        if p not in self.texts:
            # Of passages with one print the first serves: their folded text is the same.
            self.texts[p] = self._connection.execute(f"{_MEMBERS} WHERE p.print = ? ORDER BY p.id LIMIT 1", (p,)).fetchone()[2]
        return self.texts[p]


class _Links:
    """Union-find: which of the things joined so far hang together."""

    def __init__(self) -> None:
        self._parents: dict[Any, Any] = {}

    def root(self, thing: Any) -> Any:
        while (parent := self._parents.get(thing, thing)) != thing:
            self._parents[thing] = self._parents.get(parent, parent)
            thing = parent
        return thing

    def join(self, one: Any, other: Any) -> None:
        self._parents[self.root(one)] = self.root(other)


def _groups(connection: sqlite3.Connection, prints: set[int]) -> dict[int, int]:
    """For those of the prints that passages have already, their group."""
    found: dict[int, int] = {}
    for part in _parts(sorted(prints)):
        sql = f"SELECT print, min(copy_of) FROM passages WHERE print IN ({_marks(part)}) GROUP BY print"
        found.update(connection.execute(sql, part))
    return found


def _sharing(connection: sqlite3.Connection, keys: Sequence[int]) -> dict[int, list[int]]:
    """For each band key the prints that have it."""
    found: dict[int, list[int]] = {key: [] for key in keys}
    for part in _parts(keys):
        for key, p in connection.execute(f"SELECT key, print FROM bands WHERE key IN ({_marks(part)})", part):
            found[key].append(p)
    return found


def _parts(items: Sequence[int], size: int = 500) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _marks(part: Sequence[int]) -> str:
    return ",".join("?" * len(part))
