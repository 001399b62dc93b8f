"""What is quoted: the structure of a text, and pairs whole."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from assistant.answers.quotable import FORMULA, HEAD, ITEM, LEAD, PROSE, ROW, quotables, with_needs
from assistant.answers.quoting import Material, QuoteModel, Region, Unit, chosen, shipped_model, token_places
from assistant.retrieval.values import Hit
from ingest.document import Passage, QuestionAnswer
from ingest.storage.vectors import Vectors

LIST = "区别如下：\n- 甲更快一些。\n- 乙更省显存。\n- 丙两者都有。"
ZERO: Vectors = np.zeros(0, dtype=np.float32)


def kinds(text: str) -> list[tuple[str, int]]:
    return [(q.kind, q.needs) for q in quotables(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LIST, [(LEAD, -1), (ITEM, 0), (ITEM, 0), (ITEM, 0)]),
        ("| 甲 | 乙 |\n|---|---|\n| 1 | 2 |", [(HEAD, -1), (ROW, 0)]),
        ("大小为\n\n$$a = b$$\n\n其中 $a$ 是显存大小。", [(FORMULA, -1), (PROSE, 0)]),
        ("缓存很大。它占显存。", [(PROSE, -1), (PROSE, 0)]),
    ],
)
def test_what_belongs_together(text: str, expected: list[tuple[str, int]]) -> None:
    assert kinds(text) == expected


def test_everything_but_white_space_can_be_quoted() -> None:
    for path in sorted((Path(__file__).parents[1] / "ingest" / "samples").glob("*.md")):
        text = path.read_text("utf-8")
        found = quotables(text)
        assert all(a.end <= b.start for a, b in pairwise(found))
        left = "".join(text[a:b] for a, b in zip([0, *(q.end for q in found)], [*(q.start for q in found), len(text)], strict=True))
        assert not left.strip()
        assert all(q.needs < n for n, q in enumerate(found))


def test_an_item_brings_its_lead_in() -> None:
    assert with_needs([2], quotables(LIST)) == {0, 2}


def material(text: str, chances: dict[int, float], pair: QuestionAnswer | None, question: float = 0.0) -> Material:
    hit = Hit(Passage("a.md", 50, 50 + len(text), text), 1.0, {"question": question}, 0.9, pair)
    found = tuple(quotables(text))
    units = tuple(Unit(0, n, {"late": late}, ZERO) for n, late in chances.items())
    return Material("问", (Region("a.md", 50, text, found, hit, pair),), units, (hit,))


MODEL = QuoteModel({"late": 1.0}, {"intercept": -3.0, "question": 6.0}, 0.6, 0.2, 25, 100, 200)


def test_the_answer_of_a_matching_pair_is_quoted_whole() -> None:
    pair = QuestionAnswer("a.md", "区别？", 0, 3, LIST, 50, 50 + len(LIST))
    quotation = chosen(material(LIST, {1: -5.0}, pair, 1.0), MODEL)
    assert [s.text for s in quotation.sentences] == [LIST]
    assert not quotation.shortened
    (citation,) = quotation.sentences[0].citations
    assert (citation.number, citation.start, citation.end) == (1, 50, 50 + len(LIST))


def test_one_that_is_too_long_is_shortened_and_says_so() -> None:
    text = LIST + "".join(f"\n- 第{n}个很长很长很长很长的条目。" for n in range(30))
    pair = QuestionAnswer("a.md", "区别？", 0, 3, text, 50, 50 + len(text))
    quotation = chosen(material(text, {2: 3.0}, pair, 1.0), MODEL)
    assert quotation.shortened
    assert [s.text for s in quotation.sentences] == ["区别如下：", "- 乙更省显存。"]


def test_otherwise_the_best_units_within_the_room_and_lists_completed() -> None:
    found = chosen(material(LIST, {1: 1.0, 2: 0.5, 3: -9.0}, None), MODEL).sentences
    assert [s.text for s in found] == ["区别如下：\n- 甲更快一些。\n- 乙更省显存。"]


def test_the_places_of_tokens_end_with_the_text() -> None:
    passage = Passage("a", 0, 6, "缓存保存键值", ("标题",))
    places = token_places(passage, 8)
    assert len(places) == 7
    assert places[-1] == 8
    assert (np.diff(places) >= 0).all()


def test_the_shipped_weights_are_of_known_features() -> None:
    from assistant.answers.quoting import FEATURES, PAIR_FEATURES

    assert set(shipped_model().units) == {"intercept", *FEATURES}
    assert set(shipped_model().pairs) == {"intercept", *PAIR_FEATURES}
