"""The full text beside BM25 worked out from the texts themselves, whatever the order in which passages came and went."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from ingest.storage import bm25, postings
from ingest.storage.bm25 import FIELD_WEIGHTS, K1, B
from ingest.storage.checks import problems
from ingest.storage.fulltext import words
from ingest.storage.library import Library
from ingest.storage.postings import FIELDS
from tests.small_library import parsed, publish, small_library

Table = Mapping[int, postings.Fields]


def expected(table: Table, terms: Mapping[str, float], weights: Mapping[str, float]) -> list[tuple[int, float, list[float]]]:
    """(id, score, field scores) of every passage that has a word, best first: the formula, term by term, in plain Python."""
    means = []
    for f in range(3):
        lengths = [len(fields[f]) for fields in table.values() if fields[f]]
        means.append(sum(lengths) / len(lengths) if lengths else 1.0)
    holding = {term: max(sum(term in fields[f] for fields in table.values()) for f in range(3)) for term in terms}
    idf = {term: math.log(1 + (len(table) - n + 0.5) / (n + 0.5)) for term, n in holding.items()}
    found = []
    for i, fields in table.items():
        scores = [0.0, 0.0, 0.0]
        for f, field in enumerate(fields):
            for term, weight in terms.items():
                tf = field.count(term)
                scores[f] += weight * idf[term] * (K1 + 1) * tf / (tf + K1 * (1 - B + B * len(field) / means[f]))
        total = sum(weights.get(name, 0.0) * score for name, score in zip(FIELDS, scores, strict=True))
        if total > 0:
            found.append((i, total, scores))
    return sorted(found, key=lambda row: (-row[1], row[0]))


def same(found: Sequence[bm25.WordMatch], truth: Sequence[tuple[int, float, list[float]]]) -> None:
    assert [m.id for m in found] == [i for i, *_ in truth]
    for match, (_, total, scores) in zip(found, truth, strict=True):
        assert match.score == pytest.approx(total, rel=1e-5)
        assert [match.fields[name] for name in FIELDS] == pytest.approx(scores, rel=1e-5)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with small_library(tmp_path) as library:
        yield library


def test_a_score_by_hand(library: Library) -> None:
    """Three passages of one, one and two words; «kv» in two of them: idf ln(1 + 1.5/2.5), mean length 4/3."""
    publish(library, parsed("a.md", ["kv"]), parsed("b.md", ["cache"]), parsed("c.md", ["kv cache"]))
    ids = {p.text: p.id for p in library.all_passages()}
    first, second = library.match_fields("kv", 9)
    idf = math.log(1.6)
    assert (first.id, second.id) == (ids["kv"], ids["kv cache"])
    assert first.score == pytest.approx(idf * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 0.75)), rel=1e-6)
    assert second.score == pytest.approx(idf * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 1.5)), rel=1e-6)
    assert library.match_fields({"kv": 0.5}, 1)[0].score == pytest.approx(first.score / 2)
    assert library.match_fields({"kv": 0.0}, 1) == library.match_fields("kv", 0) == library.match_fields("nothing", 9) == []


def test_text_heading_and_question_are_fields_of_their_own(library: Library) -> None:
    publish(
        library,
        parsed("a.md", ["显存不够"]),
        parsed("b.md", ["别的内容"], headings=("显存",)),
        parsed("c.md", [], [("显存要多少？", "看长度。")]),
    )
    ids = {p.document: p.id for p in library.all_passages()}
    fields = {m.id: {name for name, score in m.fields.items() if score > 0} for m in library.match_fields("显存", 9)}
    assert fields == {ids["a.md"]: {"text"}, ids["b.md"]: {"heading"}, ids["c.md"]: {"text", "question"}}
    assert [m.id for m in library.match_fields("显存", 9, {"question": 1.0})] == [ids["c.md"]]
    assert [m.id for m in library.match_fields("显存", 9, {"heading": 2.0})] == [ids["b.md"]]
    scores = library.score_words({"显存": 1.0}, [ids["c.md"], 999, ids["b.md"], -1])
    assert (scores["heading"][0], scores["heading"][2] > 0, scores["question"][0] > 0) == (0.0, True, True)
    assert all(scores[name][1] == scores[name][3] == 0 for name in FIELDS)
    held = library.words_held(["显存", "要多"], [ids["c.md"], ids["a.md"]])
    assert held.tolist() == [[[1, 0, 1], [1, 0, 1]], [[1, 0, 0], [0, 0, 0]]]
    assert library.word_counts(["显存", "要多", "没有"]) == {"显存": 3, "要多": 1, "没有": 0}


def passages(chance: random.Random, first: int, count: int) -> dict[int, postings.Fields]:
    """Random passages over a vocabulary in which word n is n times as rare as word 1."""
    vocabulary = [f"w{n}" for n in range(1, 60)]
    weights = [1 / n for n in range(1, 60)]

    def some(most: int) -> list[str]:
        return chance.choices(vocabulary, weights, k=chance.randint(0, most))

    return {first + n: ([*some(30), "every"], some(4), some(6) if chance.random() < 0.5 else []) for n in range(count)}


@pytest.mark.parametrize("pruned", [0, 1 << 16])
def test_the_best_are_those_of_the_formula(library: Library, monkeypatch: pytest.MonkeyPatch, pruned: int) -> None:
    """Through forty publications and removals, merges of three levels, with MaxScore at work and without."""
    monkeypatch.setattr(bm25, "_PRUNED", pruned)
    monkeypatch.setattr(postings, "FAN", 3)
    monkeypatch.setattr(postings, "SMALL", 20)
    chance = random.Random(5)
    table: dict[int, postings.Fields] = {}
    first, levels = 1, set()
    for turn in range(40):
        new = passages(chance, first, chance.randint(1, 30))
        gone = chance.sample(sorted(table), len(table) // 7) if turn % 4 == 3 else []
        with library.transaction() as connection:
            postings.remove(connection, gone)
            postings.add(connection, list(new.items()))
        first += len(new) + chance.randint(0, 3)
        table = {i: fields for i, fields in {**table, **new}.items() if i not in gone}
        levels |= {level for (level,) in library.read("SELECT level FROM word_segments")}
        if turn % 5 == 4:
            assert postings.prints(library.read) == {i: postings.print_of(fields) for i, fields in table.items()}
            terms = {f"w{chance.randint(1, 59)}": chance.choice([1.0, 1.0, 0.4]) for _ in range(8)} | {"every": 1.0, "none": 1.0}
            for weights in (FIELD_WEIGHTS, {"text": 1.0}, {"text": 0.3, "heading": 2.0, "question": 1.0}):
                truth = expected(table, terms, weights)
                for k in (1, 7, 2000):
                    same(library.match_fields(terms, k, weights), truth[:k])
            scores = library.score_words(terms, [i for i, *_ in truth])
            assert np.allclose(np.stack([scores[name] for name in FIELDS]).T, [row for *_, row in truth], rtol=1e-5)
            assert library.word_counts(["w1"])["w1"] == sum("w1" in {*a, *b, *c} for a, b, c in table.values())
    assert levels >= {0, 1, 2} and library.read("SELECT count(*) FROM words_gone")[0][0] > 0


def test_a_transaction_sees_its_own_words_and_a_rollback_leaves_nothing(library: Library) -> None:
    publish(library, parsed("a.md", ["缓存"]))
    assert len(library.match_fields("缓存", 9)) == 1
    with pytest.raises(RuntimeError, match="stop"), library.transaction() as connection:
        postings.add(connection, [(77, (["缓存"], [], []))])
        assert [m.id for m in library.match_fields("缓存", 9)] == [1, 77]
        raise RuntimeError("stop")
    assert [m.id for m in library.match_fields("缓存", 9)] == [1]
    publish(library, parsed("b.md", ["缓存 缓存"]))  # the version that was rolled back, with other words
    assert {m.id for m in library.match_fields("缓存", 9)} == {p.id for p in library.all_passages()}
    assert problems(library) == []


def test_words_that_nobody_has_are_forgotten(library: Library) -> None:
    publish(library, parsed("a.md", ["秘密"]), parsed("b.md", ["缓存"]))
    publish(library, removed=["a.md"])
    library.forget_unused_embeddings()
    assert library.read("SELECT word FROM words") == [("缓存",)]


def test_the_index_is_the_words_of_the_passages(library: Library) -> None:
    document = parsed("a.md", ["缓存与显存"], [("什么是缓存？", "留下的键和值。"), ("显存？", "")], headings=("推理",))
    publish(library, document)
    ids = [p.id for p in library.all_passages()]
    fields = [
        (words("缓存与显存"), words("推理"), []),
        (words("什么是缓存？\n留下的键和值。"), words("推理"), words("什么是缓存？")),
    ]
    found = postings.prints(library.read)
    assert [found[i] for i in ids[:2]] == [postings.print_of(f) for f in fields]


def test_a_damaged_row_is_named(library: Library) -> None:
    publish(library, parsed("a.md", ["缓存"]))
    with library.transaction() as connection:
        connection.execute("UPDATE postings SET data = x'0900000001'")
    with pytest.raises(ValueError, match="belongs to no word or passage"):
        postings.prints(library.read)


def test_more_words_than_sqlite_takes_at_once(library: Library) -> None:
    publish(library, parsed("a.md", [" ".join(f"w{n}" for n in range(1500))]))
    (match,) = library.match_fields({f"w{n}": 1.0 for n in range(1500)}, 5)
    assert match.score > 1500 * 0.05
