"""Late interaction: every token of the question looks for its best match among the tokens of a passage (ColBERT, see
ingest/models/token_codes.py)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.models.token_codes import WIDTH, shipped_codebook
from ingest.storage.vectors import Vectors

Ids = npt.NDArray[np.int64]
COLUMNS = ("late", "focus", "window")
_WINDOW, _STEP = 32, 16


@dataclass(frozen=True, slots=True)
class PassageTokens:
    """The token vectors of some passages, one after the other: ``rows`` are the places of those that have any among ``count``."""

    vectors: Vectors
    offsets: Ids
    lengths: Ids
    rows: tuple[int, ...]
    count: int

    @classmethod
    def of(cls, codes: Mapping[int, bytes], ids: Sequence[int]) -> "PassageTokens":
        """The tokens of the passages with these ids, from their codes."""
        found = [(n, codes[i]) for n, i in enumerate(ids) if codes.get(i)]
        lengths = np.array([len(code) // WIDTH for _, code in found], dtype=np.int64)
        packed = np.frombuffer(b"".join(code for _, code in found), dtype=np.uint8).reshape(-1, WIDTH)
        vectors = shipped_codebook().decode(packed) if len(packed) else np.zeros((0, 0), dtype=np.float32)
        return cls(vectors, np.cumsum(lengths) - lengths, lengths, tuple(n for n, _ in found), len(ids))


def columns(tokens: Vectors, passages: PassageTokens) -> dict[str, Vectors]:
    """How well each passage matches the question's token vectors (m, d); zeros for all where there is nothing to compare.

    ``late``: the mean over the tokens of their best cosine. ``focus``: the same, each token weighed by how far its best match among
    the passages stands above the usual one, so that what every passage has does not count. ``window``: the best ``late`` of a
    stretch of some ``_WINDOW`` tokens. A passage without codes gets the middle of the others.
    """
    if not len(tokens) or not passages.rows:
        return {name: np.zeros(passages.count, dtype=np.float32) for name in COLUMNS}
    similar = passages.vectors @ tokens.T
    best = _filled(np.maximum.reduceat(similar, passages.offsets, axis=0), passages.rows, passages.count)
    weights = best.max(axis=0) - np.median(best, axis=0)
    focus = best @ (weights / weights.sum()) if weights.sum() > 0 else best.mean(axis=1)
    window = _filled(_windows(similar, passages.offsets, passages.lengths), passages.rows, passages.count)
    return {"late": best.mean(axis=1), "focus": focus.astype(np.float32), "window": window}


def _filled(values: Vectors, rows: Sequence[int], count: int) -> Vectors:
    """Values of some rows among ``count``, the others with the middle of them."""
    full = np.tile(np.median(values, axis=0), (count, *(1,) * (values.ndim - 1))).astype(np.float32)
    full[list(rows)] = values
    return full


def _windows(similar: Vectors, offsets: Ids, lengths: Ids) -> Vectors:
    """The best mean over windows of a passage; windows overlap by half."""
    starts: list[int] = []
    ends: list[int] = []
    first: list[int] = []
    for offset, length in zip(offsets.tolist(), lengths.tolist(), strict=True):
        first.append(len(starts))
        for start in range(0, max(1, length - _STEP), _STEP):
            starts.append(offset + start)
            ends.append(offset + min(length, start + _WINDOW))
    # reduceat takes pairs: the even places are the windows, the odd ones what lies between them
    edges = np.stack([starts, ends], axis=1).ravel()
    edges = edges[:-1] if edges[-1] == len(similar) else edges  # the last window ends where the array does
    means = np.maximum.reduceat(similar, edges, axis=0)[::2].mean(axis=1)
    best: Vectors = np.maximum.reduceat(means, np.array(first))
    return best
