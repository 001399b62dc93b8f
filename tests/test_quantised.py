"""Codes beside exact search, and a large library beside a small one: the same answers whatever was added, removed, written or lost."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from ingest.document import ParsedDocument
from ingest.storage import quantised, vector_index
from ingest.storage.checks import problems
from ingest.storage.library import Library, passage_hash, question_hash
from ingest.storage.quantised import Quantised
from ingest.storage.vectors import PAIR_BASE, Ids, Vectors
from tests.small_library import parsed

DIMENSION = 32


def unit(count: int, seed: int) -> Vectors:
    values = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture
def vectors() -> tuple[Ids, Vectors]:
    ids = np.array([*range(1, 1501), *(PAIR_BASE + i for i in range(1, 501))], dtype=np.int64)
    return ids, unit(2000, 0)


@pytest.fixture
def codes(vectors: tuple[Ids, Vectors]) -> Quantised:
    ids, values = vectors
    return Quantised.empty(values[:1500], values[1500:]).with_changes(set(), ids, values)


def truth(ids: Ids, values: Vectors, question: Vectors, k: int, pairs: bool) -> list[int]:
    kind = (ids >= PAIR_BASE) == pairs
    return [int(i) for i in ids[kind][np.argsort(-(values[kind] @ question))[:k]]]


@pytest.mark.parametrize("pairs", [False, True])
def test_all_candidates_give_the_nearest(codes: Quantised, vectors: tuple[Ids, Vectors], pairs: bool) -> None:
    """With more candidates than vectors only the long codes decide: one step of a dimension is all they are off."""
    for question in unit(20, 1):
        found = codes.search(question, 20, pairs=pairs)
        assert len(found) == 20 and set(truth(*vectors, question, 10, pairs)) <= set(found)


def test_few_candidates_find_most(codes: Quantised, vectors: tuple[Ids, Vectors], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "DEPTH", 150)
    shared = [len({*codes.search(q, 20, pairs=False)} & {*truth(*vectors, q, 10, False)}) for q in unit(50, 2)]
    assert np.mean(shared) > 9.0


def test_what_is_gone_is_passed_over(codes: Quantised, vectors: tuple[Ids, Vectors]) -> None:
    question = unit(1, 3)[0]
    best = truth(*vectors, question, 30, False)
    codes.gone |= set(best[:15])
    assert len(codes) == 1985 and not set(codes.ids().tolist()) & codes.gone
    assert set(best[15:25]) <= set(codes.search(question, 20, pairs=False))
    after = codes.with_changes(codes.gone, np.array([PAIR_BASE + 900, 1900]), np.stack([question, question]))
    assert len(after) == 1987 and after.search(question, 1, pairs=False) == [1900]
    assert after.search(question, 1, pairs=True) == [PAIR_BASE + 900]
    assert np.array_equal(after.all_ids, np.sort(after.all_ids))


def test_a_file_is_read_as_it_was_written_or_not_at_all(codes: Quantised, tmp_path: Path) -> None:
    path = tmp_path / "vectors-1.faiss"
    codes.write(path)
    again = Quantised.read(path)
    assert again is not None and np.array_equal(again.all_ids, codes.all_ids)
    for question in unit(10, 4):
        assert again.search(question, 9, pairs=False) == codes.search(question, 9, pairs=False)
    data = path.read_bytes()
    for damaged in (data[:-1], data[:200], data[::-1], data.replace(data[-80_000:-79_990], bytes(10)), b"", data[:9]):
        path.write_bytes(damaged)
        assert Quantised.read(path) is None
    assert Quantised.read(tmp_path / "none") is None


def test_a_library_without_pairs(vectors: tuple[Ids, Vectors]) -> None:
    ids, values = vectors[0][:1500], vectors[1][:1500]
    codes = Quantised.empty(values, values[:0]).with_changes(set(), ids, values)
    assert codes.search(values[7], 1, pairs=False) == [8] and codes.search(values[7], 1, pairs=True) == []


# --- a library ---------------------------------------------------------------------------------------------------


def vector(text: str) -> Vectors:
    made: Vectors = unit(1, int.from_bytes(passage_hash(text)[:8].encode(), "big"))[0]
    return made


def document(number: int, count: int = 8) -> ParsedDocument:
    return parsed(f"{number}.md", [f"第{number}篇第{n}段" for n in range(count)], [(f"第{number}问是什么？", f"第{number}答。")])


def put(library: Library, documents: Sequence[ParsedDocument], removed: Sequence[str] = ()) -> None:
    library.use_embedder("fake", DIMENSION)
    for d in documents:
        texts = [p.embedding_text for p in d.passages]
        library.put_embeddings([passage_hash(t) for t in texts], np.stack([vector(t) for t in texts]))
        library.put_embeddings([question_hash(q.question) for q in d.pairs], np.stack([vector(q.question) for q in d.pairs]))
    library.publish(documents, "1", removed)


def agrees(library: Library) -> None:
    """Every search gives what NumPy finds in the database itself, with exact cosines."""
    passages, pairs = library.all_passages(), library.all_pairs()
    table = np.stack([vector(p.embedding_text) for p in passages])
    asked = np.stack([vector(q.question) for q in pairs])
    for question in unit(5, 9):
        for found, ids, rows in (
            (library.nearest_passages(question, 10), [p.id for p in passages], table),
            (library.nearest_questions(question, 10), [q.id for q in pairs], asked),
        ):
            scores = rows @ question
            order = np.argsort(-scores)[:10]
            assert [i for i, _ in found] == [ids[n] for n in order]
            assert np.allclose([score for _, score in found], scores[order], atol=1e-6)
    assert np.array_equal(library.vectors_of([p.id for p in passages]), table)
    assert problems(library) == []


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    monkeypatch.setattr(vector_index, "SWITCH", 60)
    monkeypatch.setattr(vector_index, "_SMALL", 10)
    with Library.open(tmp_path / "library", create=True) as library:
        yield library


def is_coded(library: Library) -> bool:
    return library._vectors._codes is not None


def test_a_library_grows_past_the_switch_and_changes(library: Library) -> None:
    for number in range(5):
        put(library, [document(number)])
    agrees(library)
    assert not is_coded(library)
    put(library, [document(number) for number in range(5, 12)])
    agrees(library)
    assert is_coded(library)
    put(library, [document(3, 5), document(20)], removed=["7.md", "11.md"])
    agrees(library)
    library.write_vectors()
    agrees(library)
    put(library, [], removed=["0.md"])
    agrees(library)
    with Library.open(library.folder) as again:
        agrees(again)
        assert is_coded(again)
        put(again, [document(30)])
    agrees(library)  # what another connection published


@pytest.mark.parametrize("damage", ["delete", "truncate", "other"])
def test_a_lost_file_is_made_again(library: Library, damage: str) -> None:
    put(library, [document(number) for number in range(12)])
    library.write_vectors()
    path = next(library.folder.glob("vectors-*.faiss"))
    data = path.read_bytes()
    assert data.startswith(quantised.MAGIC)
    path.unlink()  # what is open maps the file: it goes by its name, never by its content
    if damage != "delete":
        path.write_bytes(data[:-5] if damage == "truncate" else data[::-1])
    with Library.open(library.folder) as again:
        agrees(again)
    assert Quantised.read(next(library.folder.glob("vectors-*.faiss"))) is not None


def test_opening_reads_no_vector_again(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    put(library, [document(number) for number in range(12)])
    library.write_vectors()
    with Library.open(library.folder) as again:
        monkeypatch.setattr(vector_index.VectorIndex, "_catch_up", lambda _: pytest.fail("the file is of this moment"))
        assert len(again.nearest_passages(unit(1, 9)[0], 5)) == 5


def test_the_doctor_reads_what_is_only_mapped(library: Library) -> None:
    put(library, [document(number) for number in range(12)])
    library.write_vectors()
    path = next(library.folder.glob("vectors-*.faiss"))
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-5] + bytes(5))
    assert [line for line in problems(library) if "is damaged" in line]
