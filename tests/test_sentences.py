"""Sentences and their spans, whole text and stream."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.answers.sentences import SentenceStream, Span, split, states_something, without_marker


def cut(text: str) -> list[str]:
    return [text[s.start : s.end] for s in split(text)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        ("  \n\n ", []),
        ("先预填充。再解码！为什么？因为;快", ["先预填充。", "再解码！", "为什么？", "因为;快"]),
        ("一是快；二是省。", ["一是快；", "二是省。"]),
        ("It is fast. It saves memory! Why? Caching.", ["It is fast.", "It saves memory!", "Why?", "Caching."]),
        ("占 3.5 GB，版本 v1.2.3。See Fig. 3, e.g. the left one.", ["占 3.5 GB，版本 v1.2.3。", "See Fig. 3, e.g. the left one."]),
        ("他说“好。”然后走了。", ["他说“好。”", "然后走了。"]),
        ("等等……然后呢？！", ["等等……", "然后呢？！"]),
        ("1. 预训练\n2) 微调\n（3）对齐\n④部署", ["1. 预训练", "2) 微调", "（3）对齐", "④部署"]),
        ("- 快。省。\n* **稳**：不变", ["- 快。", "省。", "* **稳**：不变"]),
        ("3.5 倍\n2024 年", ["3.5 倍", "2024 年"]),
        ("令 $a=1. b$，则 \\(x! y\\) 成立。下一句", ["令 $a=1. b$，则 \\(x! y\\) 成立。", "下一句"]),
        ("公式:\n$$\nx = 1。\ny\n$$\n其中 x 是数。", ["公式:", "$$\nx = 1。\ny\n$$", "其中 x 是数。"]),
        ("\\begin{aligned}a。\nb\\end{aligned}\n完。", ["\\begin{aligned}a。\nb\\end{aligned}", "完。"]),
        ("代码:\n```python\nx = 1. \n# 好。\n```\n完。", ["代码:", "```python\nx = 1. \n# 好。\n```", "完。"]),
        ("用 `a.b? c` 即可。U.S. firms do.", ["用 `a.b? c` 即可。", "U.S. firms do."]),
        ("| 方法 | 显存 |\n| MHA | 大 |", ["| 方法 | 显存 |", "| MHA | 大 |"]),
        ("```\n没有结束。\n还在写", ["```\n没有结束。\n还在写"]),
    ],
)
def test_split(text: str, sentences: list[str]) -> None:
    assert cut(text) == sentences


PIECES = st.lists(
    st.sampled_from(
        [
            "注意力",
            "。",
            "？",
            "\n",
            "- ",
            "1. ",
            "3",
            ".",
            " ",
            "5",
            "$",
            "`",
            "```\n",
            "KV",
            "；",
            "”",
            "“",
            "|",
            "e.g.",
            "$$",
            "\\[",
        ]
    ),
    max_size=40,
)


@given(PIECES)
def test_spans_are_in_order_and_lose_nothing_but_blanks(pieces: list[str]) -> None:
    text = "".join(pieces)
    spans = split(text)
    assert all(a.end <= b.start for a, b in pairwise(spans))
    assert all(text[s.start : s.end] == text[s.start : s.end].strip() != "" for s in spans)
    outside, at = "", 0
    for span in [*spans, Span(len(text), len(text))]:
        outside += text[at : span.start]
        at = span.end
    assert outside.strip() == ""


@given(PIECES)
def test_a_stream_tells_every_sentence_once_in_order(pieces: list[str]) -> None:
    stream = SentenceStream()
    spans = [span for piece in pieces for span in stream.feed(piece)] + stream.finish()
    assert stream.text == "".join(pieces)
    assert all(a.end <= b.start for a, b in pairwise(spans))
    assert "".join("".join(stream.text[s.start : s.end].split()) for s in spans) == "".join(stream.text.split())


@pytest.mark.parametrize(
    "text",
    [
        "KV 缓存保存键和值。它占 3.5 GB。\n\n1. 快。\n2. 省；稳。\n\n```py\nx = 1. \n```\n完。",
        "公式 $a. b$ 与 $$\nx。\n$$ 之后。U.S. firms, e.g. these. End",
    ],
)
def test_a_stream_of_characters_gives_what_the_whole_text_gives(text: str) -> None:
    stream = SentenceStream()
    spans = [span for character in text for span in stream.feed(character)] + stream.finish()
    assert spans == split(text)


def test_a_sentence_is_told_as_soon_as_the_next_one_begins() -> None:
    stream = SentenceStream()
    assert stream.feed("先预填充。") == []  # «。» may still be followed by a closing quotation mark
    assert stream.feed("再") == [Span(0, 5)]
    assert stream.finish() == [Span(5, 6)]


@pytest.mark.parametrize(
    ("item", "body"), [("1. 预训练", "预训练"), ("- 快", "快"), ("(2) 省", "省"), ("3.5 倍", "3.5 倍"), ("2024 年", "2024 年")]
)
def test_without_marker(item: str, body: str) -> None:
    assert without_marker(item) == body


@pytest.mark.parametrize("text", ["## 优点", "**优点**：", "|---|---|", "主要区别如下：", "为什么需要它？", "---", "。", "$$"])
def test_what_states_nothing(text: str) -> None:
    assert not states_something(text)


@pytest.mark.parametrize("text", ["它更快。", "- **冻结**：不更新权重", "| MHA | 大 |", "GPT", "**结论**：它更快。"])
def test_what_states_something(text: str) -> None:
    assert states_something(text)


def test_only_a_marker_at_the_beginning_is_taken_off() -> None:
    assert without_marker("1. self-attention") == "self-attention"
    assert without_marker("self-attention 取 (1,0) 为例") == "self-attention 取 (1,0) 为例"
