"""A question is asked once, however many documents hold it; what the learner did with it is not forgotten."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from fsrs import Rating

from assistant.interviews import schedule
from assistant.interviews.questions import pair_of, question_bank
from ingest.storage.library import Library
from kg.concepts import Glossary
from tests.small_library import GLOSSARY, parsed, publish, small_library

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def test_copies_of_a_question_are_one(tmp_path: Path) -> None:
    with small_library(
        tmp_path,
        parsed("a.md", [], [("什么是 RoPE？", "旋转位置编码。"), ("C 是什么？", "一种语言。")]),
        parsed(
            "b.md", [], [("什么是RoPE?", "旋转位置编码，把位置写成角度。"), ("C++ 是什么？", "另一种语言。"), ("3.5 版？", "是。")]
        ),
        parsed("c.md", [], [("“什么是ＲｏＰＥ”", ""), ("35 版？", "是。")]),
    ) as library:
        bank = question_bank(library, Glossary.parse(GLOSSARY))
        assert [(q.text, q.document) for q in bank.questions] == [
            ("什么是RoPE?", "b.md"),  # the longest answer
            ("C 是什么？", "a.md"),
            ("C++ 是什么？", "b.md"),
            ("3.5 版？", "b.md"),
            ("35 版？", "c.md"),
        ]


@pytest.mark.parametrize(("question", "asked"), [("什么是 RoPE？", "什么是 RoPE？"), ("“什么是RoPE”", "什么是RoPE?")])
def test_the_copy_with_a_card_is_the_one_that_is_asked(tmp_path: Path, question: str, asked: str) -> None:
    """Unless it has no answer while another has: then there would be nothing to mark by."""
    with small_library(
        tmp_path,
        parsed("a.md", [], [("什么是 RoPE？", "旋转位置编码。")]),
        parsed("b.md", [], [("什么是RoPE?", "旋转位置编码，把位置写成角度。"), ("“什么是RoPE”", "")]),
    ) as library:
        key = next(pair.key for pair in library.all_pairs() if pair.question == question)
        schedule.review(library, key, question, Rating.Good, 80.0, "答", "{}", NOW)
        assert [q.text for q in question_bank(library, Glossary.parse(GLOSSARY)).questions] == [asked]


def test_a_question_whose_document_went_is_not_asked_but_not_forgotten(tmp_path: Path) -> None:
    with small_library(tmp_path, parsed("a.md", [], [("甲？", "答甲")]), parsed("b.md", [], [("乙？", "答乙")])) as library:
        keys = {pair.question: pair.key for pair in library.all_pairs()}
        for question, key in keys.items():
            schedule.review(library, key, question, Rating.Again, 10.0, "答", "{}", NOW)
        later = NOW.replace(year=2025)
        publish(library, removed=["a.md"])
        assert pair_of(library, keys["甲？"]) is None
        assert [q.text for q in question_bank(library, Glossary.parse(GLOSSARY)).questions] == ["乙？"]
        assert [card.question for card in schedule.due(library, later)] == ["乙？"]
        assert [card.question for card in schedule.sleeping(library)] == ["甲？"]
        assert schedule.statistics(library, later).cards == 1 and schedule.statistics(library, later).sleeping == 1
        assert schedule.card_of(library, keys["甲？"]) is not None
        publish(library, parsed("c.md", [], [("甲?", "新的答案")]))
        assert {card.question for card in schedule.due(library, later)} == {"甲？", "乙？"}
        assert schedule.sleeping(library) == []


def test_a_removed_document_leaves_nothing(tmp_path: Path) -> None:
    """In no table but the learner's own does anything of it stand; nor in the vector file."""
    from kg.concepts import refresh_mentions

    with small_library(
        tmp_path, parsed("a.md", ["自注意力与多头注意力。"], [("什么是秘密？", "独一无二的答案。")]), parsed("b.md", ["KV 缓存。"])
    ) as library:
        refresh_mentions(library, Glossary.parse(GLOSSARY))
        key = library.all_pairs("a.md")[0].key
        schedule.review(library, key, "什么是秘密？", Rating.Good, 80.0, "我的回答", "{}", NOW)
        gone = [p.id for p in library.all_passages("a.md")]
        publish(library, removed=["a.md"])
        library.forget_unused_embeddings()
        counts = {
            table: library.read(f"SELECT count(*) FROM {table}")[0][0]
            for table in ("documents", "passages", "pairs", "words_gone", "mentions", "embeddings", "bands", "reviews", "cards")
        }
        assert counts == {
            "documents": 1, "passages": 1, "pairs": 0, "words_gone": 0, "mentions": 1, "embeddings": 1, "bands": 0,
            "reviews": 1, "cards": 1,
        }  # fmt: skip
        assert library.word_counts(["秘密"]) == {"秘密": 0}
        assert {word for (word,) in library.read("SELECT word FROM words")} == {"kv", "缓存"}
        assert not set(gone) & set(library.vector_contents()[0].tolist())
    with Library.open(tmp_path) as again:  # from the file
        assert again.vector_file_problem() is None
        assert len(again.vector_contents()[0]) == 1
