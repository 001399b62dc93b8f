"""Copies are found, what only looks alike is not, and neither the order of ingest nor a removal changes what hangs together."""

import itertools
import random
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.storage import duplicates
from ingest.storage.checks import problems
from ingest.storage.duplicates import BANDS, ROWS, SIMILAR, band_keys, folded, numbers_agree, print_of, shingles, similarity
from ingest.storage.library import Library
from tests import copies
from tests.small_library import parsed, publish

TEXT = copies.passages()[3]


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as library:
        yield library


def groups(library: Library) -> set[frozenset[str]]:
    """The groups as sets of passages, named by document and place, which do not depend on ids."""
    found: dict[int, set[str]] = {}
    for p in library.all_passages():
        found.setdefault(library.groups([p.id])[p.id], set()).add(f"{p.document}:{p.start}")
    return {frozenset(group) for group in found.values()}


def are_copies(one: str, other: str) -> bool:
    """What the library would say of two passages (without headings)."""
    if folded(one) == folded(other) and print_of(one, ()) == print_of(other, ()):
        return True
    if min(len(folded(one)), len(folded(other))) < duplicates.SHORTEST:
        return False
    (first, keys), (second, others) = shape(one), shape(other)
    return bool(keys & others) and similarity(first, second) >= SIMILAR and numbers_agree(one, other)


@lru_cache(maxsize=1000)
def shape(text: str) -> tuple[duplicates.Hashes, frozenset[int]]:
    values = shingles(folded(text))
    return values, frozenset(band_keys(values))


def test_what_makes_no_difference_is_folded_away() -> None:
    assert folded("**ＲｏＰＥ**（旋转 位置编码）_") == "rope旋转位置编码"
    assert print_of("旋转，位置 编码。" * 8, ()) == print_of("旋转 位置编码" * 8, ("另一个标题",))


def test_a_copy_in_traditional_characters_is_a_copy() -> None:
    assert folded("注意力機制與鍵值快取") == folded("注意力机制与键值快取")


def test_shingles_by_hand() -> None:
    assert len(shingles("abcde")) == 2  # abcd, bcde
    assert len(shingles("aaaaaaaa")) == 1
    assert len(shingles("ab")) == 1
    # abcd bcde cdef | bcde cdef defg: two of four
    assert similarity(shingles("abcdef"), shingles("bcdefg")) == 0.5


def test_band_keys_follow_minhash() -> None:
    """The share of equal minima estimates the similarity (Broder), so the chance of a shared band follows from it."""
    chance = random.Random(1)
    shared = {0.2: 0, 0.8: 0}
    for _ in range(120):
        for wanted in shared:
            values = np.array([chance.getrandbits(64) for _ in range(180)], dtype=np.uint64)
            both = round(wanted * 100)
            rest = (100 - both) // 2
            one, other = values[: both + rest], np.concatenate([values[:both], values[both + rest : both + 2 * rest]])
            shared[wanted] += bool(set(band_keys(one)) & set(band_keys(other)))
    for similar, count in shared.items():
        expected = 1 - (1 - similar**ROWS) ** BANDS
        assert count / 120 == pytest.approx(expected, abs=0.12)


def test_long_texts_are_hashed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    values = shingles(folded("".join(copies.passages()[:20])))
    whole = band_keys(values)
    monkeypatch.setattr(duplicates, "_LANES", 100)
    assert band_keys(values) == whole


def test_precision_and_recall_on_the_edited_copies() -> None:
    """The figures of the note: what is found of every kind of edit, and that nothing that only looks alike is."""
    found: dict[str, list[bool]] = {}
    for name, one, other in copies.copies():
        found.setdefault(name, []).append(are_copies(one, other))
    recall = {name: sum(values) / len(values) for name, values in found.items()}
    print({name: round(value, 3) for name, value in recall.items()})
    everything = [value for values in found.values() for value in values]
    alike = [
        *itertools.combinations(copies.passages(), 2),
        *copies.REWORDED,
        *(pair for frame in copies.templates() for pair in itertools.combinations(frame, 2)),
    ]
    wrong = [(one, other) for one, other in alike if are_copies(one, other)]
    print(f"recall {sum(everything) / len(everything):.3f}, {len(wrong)} of {len(alike)} different pairs taken for copies")
    assert wrong == []
    for name in ("words", "shape", "surrounded", "1 % of characters", "3 % of characters"):
        assert recall[name] >= 0.99, name
    assert recall["combined"] >= 0.97 and recall["5 % of characters"] >= 0.97
    assert recall["8 % of characters"] >= 0.85 and recall["shortened"] >= 0.85


def test_short_passages_are_copies_only_word_for_word_and_under_the_same_headings(library: Library) -> None:
    publish(
        library,
        parsed("a.md", ["显存占用更低，速度更快。"], headings=("LoRA", "优点")),
        parsed("b.md", ["显存占用更低,速度更快."], headings=("LoRA", "优点")),
        parsed("c.md", ["显存占用更低，速度更快。"], headings=("量化", "优点")),
        parsed("d.md", ["显存占用更高，速度更快。"], headings=("LoRA", "优点")),
    )
    assert groups(library) == {frozenset({"a.md:0", "b.md:0"}), frozenset({"c.md:0"}), frozenset({"d.md:0"})}


def test_numbers_tell_a_frame_from_a_copy() -> None:
    frame = "显存估算：权重占 {} GB，批量 {} 时缓存约 {} MB，再加激活与碎片，所以选用它的时候总要留出一些余量，不然很容易溢出。"
    assert not numbers_agree(frame.format(14, 8, 512), frame.format(26, 4, 900))
    assert numbers_agree(frame.format(14, 8, 512), frame.format(14, 8, 520))
    assert numbers_agree("一个数 7", "另一个 8") and numbers_agree("1.5 与 2", "发布于 2024，1.5 与 2")
    assert print_of(frame.format(1.5, 2, 3), ()) != print_of(frame.format(15, 2, 3), ())


def test_copies_across_and_within_documents(library: Library) -> None:
    chance = random.Random(5)
    other = copies.passages()[9]
    publish(
        library,
        parsed("csdn.md", [copies.combined(TEXT, chance), other]),
        parsed("zhihu.md", [TEXT]),
        parsed("twice.md", [copies.shape(TEXT, chance), "别的一段话。", TEXT]),
    )
    first, alone = library.all_passages("csdn.md")
    assert [p.document for p in library.copies([first.id])[first.id]] == ["zhihu.md", "twice.md", "twice.md"]
    assert library.copies([alone.id, 999]) == {alone.id: (), 999: ()}
    zhihu = library.all_passages("zhihu.md")[0]
    assert [p.document for p in library.copies([zhihu.id])[zhihu.id]] == ["csdn.md", "twice.md", "twice.md"]
    assert library.groups([zhihu.id, alone.id]) == {zhihu.id: first.id, alone.id: alone.id}
    assert problems(library) == []


def test_removing_the_first_copy_promotes_the_next(library: Library) -> None:
    publish(library, *(parsed(f"{n}.md", [TEXT]) for n in range(3)))
    publish(library, removed=["0.md"])
    one, two = (library.all_passages(f"{n}.md")[0].id for n in (1, 2))
    assert library.groups([one, two]) == {one: one, two: one}
    publish(library, parsed("0.md", [TEXT]))
    assert len(groups(library)) == 1
    publish(library, removed=["0.md", "1.md", "2.md"])
    assert library.read("SELECT count(*) FROM bands") == [(0,)]
    assert problems(library) == []


def chain() -> list[str]:
    """Passages of which each is a copy of the next, and of no other: four sentences that move on by one."""
    sentences = [s + "。" for text in copies.passages()[20:40] for s in text.replace("\n", "").split("。") if 25 < len(s) < 40][:9]
    return ["".join(sentences[n : n + 5]) for n in (0, 1, 3, 4)]


def test_the_chain_is_one() -> None:
    a, b, c, d = chain()
    assert are_copies(a, b) and are_copies(c, d) and not are_copies(a, c) and not are_copies(a, d)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_order_of_ingest_makes_no_difference(tmp_path: Path, order: tuple[int, ...]) -> None:
    chance = random.Random(2)
    documents = [
        parsed("a.md", [TEXT, copies.passages()[9]]),
        parsed("b.md", [copies.combined(TEXT, chance), chain()[0], "短。"]),
        parsed("c.md", [chain()[1], copies.characters(0.03)(copies.passages()[9], chance)]),
        parsed("d.md", [copies.shape(TEXT, chance), "短。", chain()[2]]),
    ]
    expected = [
        {"a.md:0", "b.md:0", "d.md:0"},
        {f"a.md:{len(TEXT) + 2}", f"c.md:{len(chain()[1]) + 2}"},
        {f"b.md:{documents[1].passages[1].start}", "c.md:0"},
        {f"b.md:{documents[1].passages[2].start}", f"d.md:{documents[3].passages[1].start}"},
        {f"d.md:{documents[3].passages[2].start}"},
    ]
    with Library.open(tmp_path, create=True) as library:
        for n in order:
            publish(library, documents[n])
        assert groups(library) == {frozenset(group) for group in expected}
        assert problems(library) == []


POOL = [
    TEXT,
    *(copies.characters(0.04)(TEXT, random.Random(n)) for n in range(3)),
    *chain(),
    copies.passages()[9],
    copies.shape(copies.passages()[9], random.Random(1)),
    "短的一段。",
    "短的 一段",
]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.lists(st.integers(0, len(POOL) - 1), max_size=4)), max_size=8))
def test_after_any_history_the_groups_are_those_of_a_new_library(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[int, list[int]]]
) -> None:
    """Documents are added, replaced and removed (an empty one is a removal); what is left decides alone."""
    folder = tmp_path_factory.mktemp("history")
    last: dict[int, list[int]] = {}
    with Library.open(folder / "one", create=True) as library, Library.open(folder / "new", create=True) as fresh:
        for name, texts in history:
            last[name] = texts
            document = [parsed(f"{name}.md", [POOL[n] for n in texts])] if texts else []
            publish(library, *document, removed=[] if texts else [f"{name}.md"])
        publish(fresh, *(parsed(f"{name}.md", [POOL[n] for n in texts]) for name, texts in sorted(last.items()) if texts))
        assert groups(library) == groups(fresh)
        bands = "SELECT key, print FROM bands ORDER BY key, print"
        assert library.read(bands) == fresh.read(bands)
        assert problems(library) == []


def test_a_library_of_before_gets_its_groups(library: Library) -> None:
    publish(library, parsed("a.md", [TEXT]), parsed("b.md", [TEXT]))
    expected = groups(library)
    with library.transaction() as connection:
        connection.execute("UPDATE passages SET print = 0, copy_of = id")
        connection.execute("DELETE FROM bands")
    assert len(groups(library)) == 2
    assert library.place_copies(1) == 1 and library.place_copies() == 1 and library.place_copies() == 0
    assert groups(library) == expected
    assert problems(library) == []


def test_ten_thousand_copies_of_one_passage_stay_cheap(library: Library) -> None:
    """What stands under every page of a site must not be compared with itself over and over."""
    began = time.perf_counter()
    for n in range(4):
        publish(library, parsed(f"{n}.md", [TEXT] * 500))
    assert len(groups(library)) == 1
    assert library.read("SELECT count(*) FROM bands") == [(BANDS,)]
    assert time.perf_counter() - began < 60
