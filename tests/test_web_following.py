"""Questions to ask next: about what the question names, then about what is linked to it, none that was answered."""

from datetime import datetime
from pathlib import Path

import pytest

from assistant.answers import history
from assistant.interviews.questions import question_bank
from ingest.storage.library import Library
from kg.concepts import Glossary
from kg.graph import ConceptGraph
from tests import web_desk
from tests.small_library import GLOSSARY, parsed, small_library
from tests.web_desk import T
from web import chat
from web.desk import Desk
from web.following import following

notes, desk = web_desk.notes, web_desk.desk  # fixtures
PAIRS = [
    ("KV 缓存为什么能加速解码？", "KV 缓存不再重算自注意力的键和值。"),
    ("KV 缓存占多少显存？", "随长度增长。"),
    ("自注意力的复杂度是多少？", "平方。KV 缓存让自注意力少算。"),
    ("LoRA 的秩怎么选？", "先试 8。"),
    ("What is the KV cache?", "Keys and values kept."),
]


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return small_library(tmp_path / "library", parsed("a.md", [], PAIRS), parsed("b.md", [], [("RAG 是什么？", "先检索。")]))


def test_what_is_near_the_question_is_offered_one_a_concept(library: Library) -> None:
    with library:
        graph = ConceptGraph.build(library, Glossary.parse(GLOSSARY))
        bank = question_bank(library, graph.glossary)
        assert following("KV 缓存是什么？", (), (), bank, graph)[0] == PAIRS[0][0]
        asked = [PAIRS[0][0]]
        assert following("KV 缓存是什么？", (), asked, bank, graph)[0] == PAIRS[1][0]
        assert PAIRS[4][0] == following("What does a KV cache hold?", (), (), bank, graph)[0]
        assert following("天气怎么样？", (), (), bank, graph) == ()


def test_chats_stand_under_the_day_they_were_written_to(desk: Desk) -> None:
    now = datetime(2025, 3, 10, 12).astimezone()
    for day, title in ((10, "a"), (9, "b"), (5, "c"), (1, "d")):
        history.new_chat(desk.library, title, datetime(2025, 3, day, 9).astimezone())
    shown = chat.chat_list(desk, 0, T, now=now)
    order = ["今天", ">a<", "昨天", ">b<", "一周内", ">c<", "更早", ">d<"]
    assert [shown.index(word) for word in order] == sorted(shown.index(word) for word in order)
