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
_PIECE = 1 << 20


def empty(dimension: int) -> Index:
    """An exact inner-product index; on unit vectors the inner product is the cosine."""
    return faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))


def change(index: Index, remove: Sequence[int], ids: Sequence[int], vectors: Vectors) -> None:
    """Take the ids in ``remove`` out of the index and put ``vectors`` (n, d) in under ``ids``."""
    if len(remove):
        index.remove_ids(np.asarray(remove, dtype=np.int64))
    if len(ids):
        index.add_with_ids(np.ascontiguousarray(vectors, dtype=np.float32), np.asarray(ids, dtype=np.int64))


def clone(index: Index) -> Index:
    """A copy of the index that no change reaches."""
    return faiss.clone_index(index)


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


def ids(index: Index) -> Ids:
    """All ids (n,) of an index, in its order."""
    return np.array(faiss.vector_to_array(index.id_map), dtype=np.int64)


def contents(index: Index) -> tuple[Ids, Vectors]:
    """All ids (n,) and vectors (n, d) of an index, in its order."""
    found = ids(index)
    return found, np.asarray(index.index.reconstruct_n(0, len(found)), dtype=np.float32)


def write(index: Index, path: Path) -> str:
    """Write the index to a new file, a piece at a time, and flush it to the disk; returns its SHA-256. Raises OSError."""
    sha256 = hashlib.sha256()
    wrong: list[OSError] = []
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)

    def put(data: bytes) -> None:
        if wrong:
            return  # FAISS has no other way to be told than to be let finish
        sha256.update(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(file, view) :]
        except OSError as error:
            wrong.append(error)

    try:
        faiss.write_index(index, faiss.PyCallbackIOWriter(put, _PIECE))
        if wrong:
            raise wrong[0]
        os.fsync(file)
    finally:
        os.close(file)
    return sha256.hexdigest()


def move(temporary: Path, path: Path) -> None:
    """Move a written file to its final name, for good."""
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def digest(path: Path) -> str:
    """The SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path, sha256: str) -> Index | None:
    """The index in the file, or None when the file is missing or is not the one that was written."""
    try:
        return faiss.read_index(os.fspath(path)) if digest(path) == sha256 else None
    except (OSError, RuntimeError):
        return None
