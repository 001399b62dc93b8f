"""The vectors of a large library: short codes in memory that find candidates, longer ones on the disk that order them.

Every vector is kept twice. As 192 products of 4 bits (product quantisation, Jégou et al. 2011; scanned with SIMD look-ups, André et
al. 2015, FAISS's «fast scan»): 96 bytes in memory, and a scan of all of them. And as 384 bytes, one a dimension, in the mapped
file, of which a search reads only those of its ``DEPTH`` candidates. Nothing is clustered: a question lies far from all passages,
so an inverted file (IVF) found too few of the nearest (.60 to .90 of ten with 8 to 64 of 256 lists, where this finds all), and a
scan takes vectors in and out without another training.

The file holds, one behind another: a header, the ids, the short codes, the long codes. What came after it was written is searched
beside it (vector_index.py); what went is passed over.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ingest.storage.vectors import PAIR_BASE, Ids, Vectors, faiss

Bytes = npt.NDArray[np.uint8]
MAGIC = b"mianpu-q1\n"
DEPTH = 4000
"""Candidates by the short codes that are compared by the long ones."""
_BITS = 4
_TRAINING = 20_000
_PART = 1 << 14


@dataclass(frozen=True, slots=True)
class Codec:
    """How vectors become codes: the mean (2, d) of passages and of questions, centroids (m, 16, d / m) of what is left of a vector
    without it, and the range of each dimension: its least value and its step (d,)."""

    means: Vectors
    centroids: Vectors
    least: Vectors
    step: Vectors

    @classmethod
    def fitted(cls, passages: Vectors, questions: Vectors) -> Self:
        """From samples (n, d) of both kinds; one may be empty."""
        d = passages.shape[1]
        means = np.stack([kind.mean(axis=0) if len(kind) else np.zeros(d, np.float32) for kind in (passages, questions)])
        centred = np.concatenate([passages - means[0], questions - means[1]])
        parts = next(m for m in (d // 2, d // 3, d) if m and d % m == 0)
        quantiser = faiss.ProductQuantizer(d, parts, _BITS)
        quantiser.cp.niter, quantiser.cp.min_points_per_centroid = 12, 1
        quantiser.train(np.ascontiguousarray(centred, dtype=np.float32))
        both = np.concatenate([passages, questions])
        least, most = both.min(axis=0), both.max(axis=0)
        margin = (most - least) * 0.05 + 1e-6  # for those that come later
        centroids = faiss.vector_to_array(quantiser.centroids).reshape(parts, 1 << _BITS, d // parts).copy()
        return cls(means, centroids, least - margin, (most - least + 2 * margin) / 255)

    def codes(self, kind: int, values: Vectors) -> tuple[Bytes, Bytes]:
        """The short codes (n, m / 2) and the long codes (n, d) of vectors of one kind: 0 passages, 1 questions."""
        short = self.quantiser().compute_codes(np.ascontiguousarray(values - self.means[kind], dtype=np.float32))
        return short, np.clip(np.rint((values - self.least) / self.step), 0, 255).astype(np.uint8)

    def quantiser(self) -> Any:
        """FAISS's view of it."""
        parts, _, width = self.centroids.shape
        made = faiss.ProductQuantizer(parts * width, parts, _BITS)
        faiss.copy_array_to_vector(np.ascontiguousarray(self.centroids.ravel()), made.centroids)
        return made

    def scanner(self, codes: Bytes) -> Any:
        """An index over short codes (n, m / 2)."""
        parts, _, width = self.centroids.shape
        plain = faiss.IndexPQ(parts * width, parts, _BITS, faiss.METRIC_INNER_PRODUCT)
        plain.pq, plain.is_trained, plain.ntotal = self.quantiser(), True, len(codes)
        faiss.copy_array_to_vector(np.ascontiguousarray(codes).ravel(), plain.codes)
        return faiss.IndexPQFastScan(plain)


class Quantised:
    """The vectors of one file; ``gone`` are those that were removed since."""

    def __init__(self, codec: Codec, ids: Ids, short: Bytes, long: Bytes) -> None:
        self.codec, self.all_ids, self._short, self._long = codec, ids, short, long
        self._split = int(np.searchsorted(ids, PAIR_BASE))
        self._scanners = [codec.scanner(short[: self._split]), codec.scanner(short[self._split :])]
        self.gone: set[int] = set()

    def __len__(self) -> int:
        return len(self.all_ids) - len(self.gone)

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return len(self.codec.least)

    def ids(self) -> Ids:
        """The ids (n,) that are there, ascending."""
        return self.all_ids[~np.isin(self.all_ids, np.fromiter(self.gone, np.int64, len(self.gone)))] if self.gone else self.all_ids

    def search(self, vector: Vectors, k: int, *, pairs: bool) -> list[int]:
        """About the ``k`` nearest of one kind, as ids in the index, best first; the caller compares them exactly."""
        scanner, start = self._scanners[pairs], self._split if pairs else 0
        total = len(self.all_ids) - self._split if pairs else self._split
        depth = min(total, max(DEPTH, 2 * k) + len(self.gone))
        if not depth:
            return []
        _, found = scanner.search(np.ascontiguousarray(vector.reshape(1, -1), dtype=np.float32), depth)
        places = np.sort(found[0][found[0] >= 0]) + start
        if self.gone:
            places = places[~np.isin(self.all_ids[places], np.fromiter(self.gone, np.int64, len(self.gone)))]
        scores = self._long[places].astype(np.float32) @ (vector * self.codec.step)
        best = np.argsort(-scores, kind="stable")[:k]
        return [int(i) for i in self.all_ids[places[best]]]

    def has(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Which of the ids (n,) are in the file, removed or not."""
        places = np.searchsorted(self.all_ids, ids)
        places[places == len(self.all_ids)] = 0
        return self.all_ids[places] == ids if len(self.all_ids) else np.zeros(len(ids), dtype=bool)

    def with_changes(self, gone: set[int], ids: Ids, values: Vectors) -> "Quantised":
        """Without those ``gone``, and with further vectors (n, d) under ``ids``: all in memory, with the same codec."""
        stays = ~np.isin(self.all_ids, np.fromiter(gone, np.int64, len(gone)))
        order = np.argsort(ids)
        ids, values = ids[order], values[order]
        made = [self.codec.codes(kind, values[(ids >= PAIR_BASE) == bool(kind)]) for kind in (0, 1)]
        every = np.concatenate([self.all_ids[stays], ids])
        order = np.argsort(every, kind="stable")
        short = np.concatenate([self._short[stays], made[0][0], made[1][0]])[order]
        long = np.concatenate([self._long[stays], made[0][1], made[1][1]])[order]
        return Quantised(self.codec, every[order], short, long)

    def write(self, path: Path) -> str:
        """Write all of it to a new file and flush it to the disk; returns its SHA-256. Raises OSError."""
        assert not self.gone
        codec, sha256 = self.codec, hashlib.sha256()
        small: list[npt.NDArray[Any]] = [codec.means, codec.centroids, codec.least, codec.step, self.all_ids, self._short]
        loaded = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in small)).hexdigest()
        shapes = [[str(part.dtype), *part.shape] for part in [*small, self._long]]
        header = MAGIC + json.dumps({"loaded": loaded, "shapes": shapes}).encode() + b"\n"
        header = header[:-1] + b" " * (-len(header) % 64) + b"\n"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            for data in (header, *_pieces([*small, self._long])):
                sha256.update(data)
                view = memoryview(data)
                while view:
                    view = view[os.write(file, view) :]
            os.fsync(file)
        finally:
            os.close(file)
        return sha256.hexdigest()

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Map a file; None when it is missing, is no such file, or is not whole.

        What is loaded is checked by its hash, what is only mapped by the file's size: the doctor reads the rest.
        """
        try:
            with path.open("rb") as file:
                if file.readline() != MAGIC:
                    return None
                header = json.loads(file.readline())
                offset, parts = file.tell(), []
            for dtype, *shape in header["shapes"]:
                parts.append((np.dtype(dtype), tuple(shape), offset))
                offset += np.dtype(dtype).itemsize * int(np.prod(shape))
            if path.stat().st_size != offset:
                return None
            mapped = [
                np.memmap(path, dtype, "r", start, shape) if np.prod(shape) else np.zeros(shape, dtype)
                for dtype, shape, start in parts
            ]
            loaded = [np.array(part) for part in mapped[:-1]]
            if hashlib.sha256(b"".join(part.tobytes() for part in loaded)).hexdigest() != header["loaded"]:
                return None
            means, centroids, least, step, ids, short = loaded
            return cls(Codec(means, centroids, least, step), ids, short, mapped[-1])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @classmethod
    def empty(cls, passages: Vectors, questions: Vectors) -> Self:
        """No vectors yet, with a codec for such as these samples (n, d): at most some ten thousand of each kind are looked at."""
        codec = Codec.fitted(*(kind[:: max(1, len(kind) // _TRAINING)] for kind in (passages, questions)))
        parts, _, width = codec.centroids.shape
        return cls(codec, np.zeros(0, np.int64), np.zeros((0, (parts + 1) // 2), np.uint8), np.zeros((0, parts * width), np.uint8))


def _pieces(parts: list[npt.NDArray[Any]]) -> Iterator[bytes]:
    for part in parts:
        for start in range(0, len(part), _PART):
            yield np.ascontiguousarray(part[start : start + _PART]).tobytes()
