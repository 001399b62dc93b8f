"""Index words: the same for the text and the question, whatever width or case."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.storage.fulltext import match_expression, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GPT-3", ["gpt", "3"]),
        ("ＧＰＴ", ["gpt"]),
        ("3.5", ["3", "5", "3_5"]),
        ("KV cache", ["kv", "cache"]),
        ("图", ["图"]),
        ("显存", ["显存"]),
        ("注意力", ["注意", "意力", "注意力"]),
        ("除以√d，然后", ["除以", "d", "然后"]),
        ("", []),
        ("！？", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_bigrams_find_what_the_dictionary_cuts_differently() -> None:
    assert set(words("旋转位置编码")) & set(words("位置编码怎么旋转")) >= {"旋转", "位置", "编码"}


@given(st.text(max_size=60))
def test_any_question_is_a_valid_expression(question: str) -> None:
    expression = match_expression(words(question))
    if expression:
        connection = sqlite3.connect(":memory:")
        try:
            connection.execute(
                "CREATE VIRTUAL TABLE t USING fts5 (body, tokenize = \"unicode61 remove_diacritics 0 tokenchars '_'\")"
            )
            connection.execute("INSERT INTO t VALUES (?)", (" ".join(words(question)),))
            assert connection.execute("SELECT count(*) FROM t WHERE t MATCH ?", (expression,)).fetchone() == (1,)
        finally:
            connection.close()


def test_each_word_is_asked_once() -> None:
    assert match_expression(["a", "b", "a"]) == '"a" OR "b"'
    assert match_expression(['a"b']) == '"a""b"'
