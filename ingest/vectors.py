"""The FAISS file of a library: passages and the questions of pairs in one inner-product index.

Passage ids are kept as they are; pair ids are shifted by ``PAIR_BASE`` so that one file, and one generation, holds both.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss as _faiss
import numpy as np
import numpy.typing as npt

faiss: Any = _faiss  # its stubs are made from the C++ side and contradict the Python functions
Index = Any
"""A ``faiss.IndexIDMap2`` over ``IndexFlatIP``."""
PAIR_BASE = 1 << 40
Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


def empty(dimension: int) -> Index:
    """An exact inner-product index; on unit vectors the inner product is the cosine."""
    return faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))


def changed(index: Index, remove: Sequence[int], ids: Sequence[int], vectors: Vectors) -> Index:
    """A copy of the index without the ids in ``remove`` and with ``vectors`` (n, d) under ``ids``; the original stays."""
    copy = faiss.clone_index(index)
    if len(remove):
        copy.remove_ids(np.asarray(remove, dtype=np.int64))
    if len(ids):
        copy.add_with_ids(np.ascontiguousarray(vectors, dtype=np.float32), np.asarray(ids, dtype=np.int64))
    return copy


def search(index: Index, vector: Vectors, k: int, *, pairs: bool) -> list[tuple[int, float]]:
    """The ``k`` nearest of one kind as (id, cosine), best first; ``vector`` has shape (d,) and unit length."""
    if index.ntotal == 0 or k <= 0:
        return []
    low, high = (PAIR_BASE, 2 * PAIR_BASE) if pairs else (0, PAIR_BASE)
    selector = faiss.IDSelectorRange(low, high)
    scores, ids = index.search(
        np.ascontiguousarray(vector.reshape(1, -1), dtype=np.float32),
        min(k, index.ntotal),
        params=faiss.SearchParameters(sel=selector),
    )
    return [(int(i) - low, float(s)) for i, s in zip(ids[0], scores[0], strict=True) if i >= 0]


def contents(index: Index) -> tuple[Ids, Vectors]:
    """All ids (n,) and vectors (n, d) of an index, in its order."""
    ids = np.array(faiss.vector_to_array(index.id_map), dtype=np.int64)
    return ids, np.asarray(index.index.reconstruct_n(0, len(ids)), dtype=np.float32)


def write(index: Index, path: Path) -> str:
    """Write the index beside its final name, flush it to the disk, move it into place; returns its SHA-256."""
    data = faiss.serialize_index(index).tobytes()
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return hashlib.sha256(data).hexdigest()


def read(path: Path, sha256: str) -> Index | None:
    """The index in the file, or None when the file is missing or is not the one that was written."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest() != sha256:
        return None
    return faiss.deserialize_index(np.frombuffer(data, dtype=np.uint8))
