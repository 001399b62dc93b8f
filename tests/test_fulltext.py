"""Index words: the same for the text and the question, whatever width or case."""

import pytest

from ingest.storage.fulltext import words


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
