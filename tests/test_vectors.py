"""The vector file beside NumPy: search is brute force over unit vectors, and a file is read only if it is the one that was written."""

from pathlib import Path

import numpy as np
import pytest

from ingest.storage import vectors
from ingest.storage.vectors import PAIR_BASE, Index, Vectors


def unit(count: int, dimension: int, seed: int = 0) -> Vectors:
    values = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / norms, dtype=np.float32)


def index_of(dimension: int, ids: list[int], values: Vectors) -> Index:
    index = vectors.empty(dimension)
    vectors.change(index, [], ids, values)
    return index


@pytest.mark.parametrize("pairs", [False, True])
def test_search_equals_numpy(pairs: bool) -> None:
    values, questions = unit(200, 16), unit(5, 16, seed=1)
    ids = [i * 3 + 1 for i in range(120)] + [PAIR_BASE + i * 7 for i in range(80)]
    index = index_of(16, ids, values)
    chosen = range(120, 200) if pairs else range(120)
    for question in questions:
        scores = values[list(chosen)] @ question
        order = np.argsort(-scores)[:10]
        expected = [((ids[chosen[n]] - PAIR_BASE) if pairs else ids[chosen[n]]) for n in order]
        found = vectors.search(index, question, 10, pairs=pairs)
        assert [i for i, _ in found] == expected
        assert np.allclose([score for _, score in found], scores[order], atol=1e-6)


def test_search_asks_for_no_more_than_there_is() -> None:
    index = index_of(4, [1, 2, PAIR_BASE], unit(3, 4))
    assert len(vectors.search(index, unit(1, 4)[0], 50, pairs=False)) == 2
    assert len(vectors.search(index, unit(1, 4)[0], 50, pairs=True)) == 1
    assert vectors.search(vectors.empty(4), unit(1, 4)[0], 5, pairs=False) == []
    assert vectors.search(index, unit(1, 4)[0], 0, pairs=False) == []


def test_changing_a_clone_leaves_the_original() -> None:
    values = unit(4, 4)
    first = index_of(4, [1, 2, 3], values[:3])
    second = vectors.clone(first)
    vectors.change(second, [2, 99], [4], values[3:])
    assert sorted(vectors.ids(first).tolist()) == [1, 2, 3]
    ids, stored = vectors.contents(second)
    assert sorted(ids.tolist()) == [1, 3, 4]
    for i, vector in zip(ids.tolist(), stored, strict=True):
        assert np.array_equal(vector, values[i - 1])


def test_a_file_is_read_only_if_it_is_the_one_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "vectors-1.faiss"
    index = index_of(4, [1, 2, PAIR_BASE + 5], unit(3, 4))
    digest = vectors.write(index, tmp_path / "new")
    vectors.move(tmp_path / "new", path)
    assert vectors.digest(path) == digest
    assert [p.name for p in tmp_path.iterdir()] == ["vectors-1.faiss"]
    again = vectors.read(path, digest)
    assert np.array_equal(vectors.contents(again)[1], vectors.contents(index)[1])
    assert vectors.read(path, "0" * 64) is None
    path.write_bytes(path.read_bytes()[:-1])
    assert vectors.read(path, digest) is None
    path.unlink()
    assert vectors.read(path, digest) is None


def test_a_disk_that_is_full_is_an_error_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with pytest.raises(OSError, match="No space left"):
        vectors.write(index_of(4, [1], unit(1, 4)), tmp_path / "new")
