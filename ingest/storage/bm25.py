"""BM25 over the fields of a library's full text (Robertson & Zaragoza 2009, «The Probabilistic Relevance Framework»).

A field f of a passage scores, summed over the question's words w with the weights the caller gives them,

    weight(w) * idf(w) * (k1 + 1) tf / (tf + k1 (1 - b + b * length / mean length of f)),    idf = ln(1 + (N - n + 1/2) / (n + 1/2))

with n the number of passages that hold w in the field that holds it most often: a word's worth is one for all fields. Fields are
summed with weights too. The best k are exact: words are read from the rarest to the most common, and once the rest together cannot
lift a passage among the best, only the passages that still can be are scored further (MaxScore, Turtle & Flood 1995).
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.storage.database import Database
from ingest.storage.postings import FIELDS, Counts, Ids, Lengths, key, unpacked

K1, B = 1.2, 0.75
FIELD_WEIGHTS: Mapping[str, float] = {"text": 1.0, "heading": 1.0, "question": 0.5}
Floats = npt.NDArray[np.float64]
_PRUNED = 1 << 16  # postings that are still to come from which on it pays to look whether they must be read for all passages
_Postings = list[tuple[Ids, Counts]]  # of one word, field by field


@dataclass(frozen=True, slots=True)
class WordMatch:
    """A passage that holds words of a question: the weighted sum of its fields' scores, and the scores (``FIELDS``) themselves."""

    id: int
    score: float
    fields: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _State:
    """What every query needs of the segments, by passage id: whether it is there, and k1 times its length norm in each field."""

    segments: tuple[int, ...]
    present: npt.NDArray[np.bool_]
    norms: npt.NDArray[np.float32]
    count: int
    any_gone: bool


class WordIndex:
    """The full text of one open library; every method may be called from any thread, inside and outside transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._version, self._kept = -1, _State((), np.zeros(0, bool), np.zeros((3, 0), np.float32), 0, False)
        self._segments: dict[int, tuple[Ids, Lengths]] = {}

    def match(self, terms: Mapping[str, float], k: int, weights: Mapping[str, float] = FIELD_WEIGHTS) -> list[WordMatch]:
        """The ``k`` passages with the highest sum of weighted field scores, best first, of equal ones the older first.

        ``terms`` are index words with their weights; those of weight 0 or less are left out, as are fields.
        """
        terms = {term: weight for term, weight in terms.items() if weight > 0}
        with self._database.snapshot():
            state, found = self._state(), self._postings(terms)
            found = [(term, self._alive(state, rows)) for term, rows in found]
        if k <= 0 or not found:
            return []
        factor = np.array([max(0.0, weights.get(field, 0.0)) for field in FIELDS])
        idf = {term: terms[term] * _idf(state.count, rows) for term, rows in found}
        candidates = _candidates(state, found, idf, factor, k)
        columns = _exact(state, found, idf, candidates)
        totals = factor @ columns
        order = [n for n in np.lexsort((candidates, -totals))[:k] if totals[n] > 0]
        return [
            WordMatch(int(candidates[n]), float(totals[n]), {f: float(columns[i, n]) for i, f in enumerate(FIELDS)}) for n in order
        ]

    def score(self, terms: Mapping[str, float], ids: Sequence[int]) -> dict[str, Floats]:
        """For each field the score (n,) of the given passages, in their order; 0 for one that is not there."""
        with self._database.snapshot():
            state = self._state()
            found = [(term, self._alive(state, rows)) for term, rows in self._postings(terms)]
        idf = {term: terms[term] * _idf(state.count, rows) for term, rows in found}
        wanted = np.array(ids, dtype=np.int64)
        inside = (wanted >= 0) & (wanted < len(state.present))
        columns = np.zeros((len(FIELDS), len(wanted)))
        columns[:, inside] = _exact(state, found, idf, wanted[inside].astype(np.uint32))
        return dict(zip(FIELDS, columns, strict=True))

    def counts(self, terms: Sequence[str]) -> dict[str, int]:
        """For each word, in how many passages it stands, in whichever field."""
        with self._database.snapshot():
            state = self._state()
            found = dict(self._postings(dict.fromkeys(terms, 1.0)))
            counts = dict.fromkeys(terms, 0)
            for term, rows in found.items():
                held = np.zeros(len(state.present), dtype=bool)
                for ids, _ in rows:
                    held[ids] = True
                counts[term] = int(np.count_nonzero(held & state.present))
        return counts

    def held(self, terms: Sequence[str], ids: Sequence[int]) -> npt.NDArray[np.uint8]:
        """How often each passage has each word in each field: (passages, words, fields), 255 at most."""
        with self._database.snapshot():
            state, found = self._state(), dict(self._postings(dict.fromkeys(terms, 1.0)))
            found = {term: self._alive(state, rows) for term, rows in found.items()}
        wanted = np.array(ids, dtype=np.int64)
        table = np.zeros((len(wanted), len(terms), len(FIELDS)), dtype=np.uint8)
        for column, term in enumerate(terms):
            for field, (members, counts) in enumerate(found.get(term, ())):
                if len(members):
                    places = np.minimum(np.searchsorted(members, wanted), len(members) - 1)
                    table[:, column, field] = np.where(members[places] == wanted, counts[places], 0)
        return table

    # --- helpers ------------------------------------------------------------------------------------------------

    def _state(self) -> _State:
        """The segments as the database is now. Inside a transaction nothing is kept: it may be rolled back."""
        read = self._database.read
        rows = read("SELECT value FROM meta WHERE key = 'words_version'")
        version = int(rows[0][0]) if rows else 0
        kept = not self._database.writing_here
        with self._lock:
            if kept and version == self._version:
                return self._kept
            segments = tuple(i for (i,) in read('SELECT id FROM word_segments ORDER BY "first"'))
            known = self._segments if kept else {}
            data = {i: known[i] if i in known else self._segment(i) for i in segments}
            gone = np.array([i for (i,) in read("SELECT passage_id FROM words_gone")], dtype=np.int64)
            state = _state_of(segments, list(data.values()), gone)
            if kept:
                self._version, self._kept, self._segments = version, state, data
            return state

    def _segment(self, i: int) -> tuple[Ids, Lengths]:
        ids, lengths = self._database.read("SELECT passages, lengths FROM word_segments WHERE id = ?", (i,))[0]
        return np.frombuffer(ids, np.uint32), np.frombuffer(lengths, np.uint16).reshape(-1, len(FIELDS))

    def _postings(self, terms: Mapping[str, float]) -> list[tuple[str, _Postings]]:
        """For each of the words that stand in the library its postings in every field."""
        read = self._database.read
        numbers: dict[str, int] = {}
        names = list(terms)
        for start in range(0, len(names), 500):
            part = names[start : start + 500]
            numbers.update(read(f"SELECT word, id FROM words WHERE word IN ({','.join('?' * len(part))})", part))
        segments = [i for (i,) in read('SELECT id FROM word_segments ORDER BY "first"')]
        places = {segment: n for n, segment in enumerate(segments)}
        marks = ",".join("?" * len(segments) * len(FIELDS))
        found: list[tuple[str, _Postings]] = []
        for term in terms:
            if term not in numbers:
                continue
            keys = [key(segment, numbers[term], field) for segment in segments for field in range(len(FIELDS))]
            pieces: list[list[tuple[int, Ids, Counts]]] = [[] for _ in FIELDS]
            for i, data in read(f"SELECT id, data FROM postings WHERE id IN ({marks})", keys):
                pieces[i & 3].append((places[i >> 32], *unpacked(data)))
            found.append((term, [_together(field) for field in pieces]))
        return found

    @staticmethod
    def _alive(state: _State, rows: _Postings) -> _Postings:
        if not state.any_gone:
            return rows
        stays = [state.present[ids] for ids, _ in rows]
        return [(ids[s], counts[s]) for s, (ids, counts) in zip(stays, rows, strict=True)]


def _together(pieces: list[tuple[int, Ids, Counts]]) -> tuple[Ids, Counts]:
    if len(pieces) == 1:
        return pieces[0][1:]
    pieces.sort(key=lambda piece: piece[0])
    empty: tuple[Ids, Counts] = np.zeros(0, np.uint32), np.zeros(0, np.uint8)
    return (np.concatenate([p[1] for p in pieces]), np.concatenate([p[2] for p in pieces])) if pieces else empty


def _state_of(segments: tuple[int, ...], data: list[tuple[Ids, Lengths]], gone: npt.NDArray[np.int64]) -> _State:
    size = int(data[-1][0][-1]) + 1 if data else 0
    present = np.zeros(size, dtype=bool)
    lengths = np.zeros((len(FIELDS), size), dtype=np.float32)
    for ids, sizes in data:
        present[ids] = True
        lengths[:, ids] = sizes.T
    gone = gone[gone < size]
    present[gone] = False
    norms = np.empty_like(lengths)
    for field in range(len(FIELDS)):
        held = lengths[field][present & (lengths[field] > 0)]
        mean = float(held.mean(dtype=np.float64)) if len(held) else 1.0
        norms[field] = K1 * (1 - B + B / mean * lengths[field])
    return _State(segments, present, norms, int(np.count_nonzero(present)), bool(len(gone)))


def _idf(total: int, rows: _Postings) -> float:
    n = max(len(ids) for ids, _ in rows)
    return float(np.log1p((total - n + 0.5) / (n + 0.5)))


def _candidates(state: _State, found: list[tuple[str, _Postings]], idf: Mapping[str, float], factor: Floats, k: int) -> Ids:
    """Passages among which the best ``k`` are, by sums in float32: a little more than enough to make up for their rounding."""
    todo = []
    for term, rows in found:
        # tf / (tf + norm) is largest for the largest count in the shortest text, whose norm is above k1 (1 - b)
        peaks = [int(counts.max()) if len(counts) else 0 for _, counts in rows]
        bound = sum(f * p / (p + K1 * (1 - B)) for f, p in zip(factor, peaks, strict=True)) * idf[term] * (K1 + 1)
        todo.append((float(bound), term, rows))
    todo.sort(key=lambda item: (-item[0] / (1 + sum(len(ids) for ids, _ in item[2])), item[1]))
    rest = np.cumsum([bound for bound, *_ in reversed(todo)])[::-1]
    sums = np.zeros(len(state.present), dtype=np.float32)
    read, looked = 0, 0
    for n, (_, term, rows) in enumerate(todo):
        coming = sum(len(ids) for _, _, later in todo[n:] for ids, _ in later)
        if n and coming > _PRUNED and read >= 2 * looked:
            looked = read
            best = _kth(sums, k)
            if best > rest[n]:
                chosen = np.flatnonzero(sums >= (best - rest[n]) * (1 - 1e-5)).astype(np.uint32)
                if 4 * len(chosen) < coming:
                    return _narrowed(state, todo[n:], rest[n:], idf, factor, chosen, sums[chosen], k)
        for field, (ids, counts) in enumerate(rows):
            if len(ids) and factor[field]:
                tf = counts.astype(np.float32)
                sums[ids] += np.float32(idf[term] * factor[field] * (K1 + 1)) * (tf / (tf + state.norms[field][ids]))
                read += len(ids)
    best = _kth(sums, k)
    return np.flatnonzero(sums >= max(best * (1 - 1e-5), 1e-30)).astype(np.uint32)


def _narrowed(
    state: _State,
    todo: list[tuple[float, str, _Postings]],
    rest: npt.NDArray[np.float64],
    idf: Mapping[str, float],
    factor: Floats,
    chosen: Ids,
    sums: npt.NDArray[np.float32],
    k: int,
) -> Ids:
    """Go on with the words still to come for the ``chosen`` passages alone, dropping those that cannot be among the best."""
    for n, (_, term, rows) in enumerate(todo):
        for field, (ids, counts) in enumerate(rows):
            if len(ids) and factor[field]:
                places = np.searchsorted(ids, chosen)
                places[places == len(ids)] = 0
                held = np.flatnonzero(ids[places] == chosen)
                tf = counts[places[held]].astype(np.float32)
                sums[held] += np.float32(idf[term] * factor[field] * (K1 + 1)) * (tf / (tf + state.norms[field][chosen[held]]))
        later = rest[n + 1] if n + 1 < len(todo) else 0.0
        stays = sums >= (_kth(sums, k) - later) * (1 - 1e-5)
        chosen, sums = chosen[stays], sums[stays]
    return chosen


def _kth(sums: npt.NDArray[np.float32], k: int) -> float:
    """The k-th largest of the sums, or 0."""
    if len(sums) > 1 << 15:  # most are far from the best: a first cut from a sample spares the selection most of them
        step = len(sums) // (1 << 12)
        sample = np.sort(sums[::step])[::-1]
        cut = sample[min(len(sample) - 1, 2 * k // step + 24)]
        above = sums[sums > cut]
        sums = above if len(above) >= k else sums
    return float(np.partition(sums, len(sums) - k)[len(sums) - k]) if len(sums) >= k else 0.0


def _exact(state: _State, found: list[tuple[str, _Postings]], idf: Mapping[str, float], wanted: Ids) -> Floats:
    """The scores (fields, n) of passages; the words are summed in their order, so equal passages score equally."""
    columns = np.zeros((len(FIELDS), len(wanted)))
    for term, rows in sorted(found, key=lambda item: item[0]):
        for field, (ids, counts) in enumerate(rows):
            if len(ids):
                places = np.searchsorted(ids, wanted)
                places[places == len(ids)] = 0
                held = np.flatnonzero(ids[places] == wanted)
                tf = counts[places[held]].astype(np.float64)
                columns[field, held] += idf[term] * (K1 + 1) * tf / (tf + state.norms[field][wanted[held]])
    return columns
