"""Passages of generated documents: nothing that must stay whole is cut, nothing is left out, and the time is linear."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.cleaning.clean import clean
from ingest.document import Document, ParsedDocument
from ingest.structure.splitting import LIMIT, estimate_tokens, split
from tests.timing import in_step, processor_seconds

WORDS = ["模型", "注意力", "缓存", "显存", "训练", "位置", "编码", "量化", "解码", "权重", "梯度", "损失"]
SYMBOLS = [r"x_{i}", r"\alpha", r"y^{2}", r"\frac{a}{b}", r"\sum_{k}", r"z"]


def parse(text: str) -> ParsedDocument:
    return split(Document("a.md", "/a.md", "甲", text, "0", "markdown", "utf-8"))


def sentence(count: int) -> str:
    return "".join(WORDS[n % len(WORDS)] for n in range(count)) + "。"


def code(lines: int) -> str:
    return "```python\n" + "\n".join(f"value_{n} = compute(value_{n}); print('a; b。c')" for n in range(lines)) + "\n```"


def formula(kind: str, lines: int) -> str:
    body = "\n".join(f"{SYMBOLS[n % len(SYMBOLS)]} = {n} ; ? \\\\" for n in range(lines))
    begin, end = {
        "dollars": ("$$\n", "\n$$"),
        "brackets": ("\\[\n", "\n\\]"),
        "begin": ("\\begin{align}\n", "\n\\end{align}"),
        "nested": ("$$\n\\begin{aligned}\n", "\n\\end{aligned}\n$$"),
        "same line": ("$$ a = b\n", "\nc = d $$"),
    }[kind]
    return begin + body + end


def table(rows: int, width: int) -> str:
    lines = ["| " + " | ".join(f"列{n}" for n in range(width)) + " |", "|" + " --- |" * width]
    return "\n".join([*lines, *("| " + " | ".join(f"第{r}行；第{n}格。" for n in range(width)) + " |" for r in range(rows))])


WHOLE = st.one_of(
    st.builds(code, st.integers(1, 20)),
    st.builds(formula, st.sampled_from(["dollars", "brackets", "begin", "nested", "same line"]), st.integers(1, 14)),
)
TABLE = st.builds(table, st.integers(1, 40), st.integers(2, 6))
INLINE = st.builds(lambda n: f"其中 ${'+'.join(SYMBOLS[:n])}, y = 1; z = 2$ 是结果", st.integers(1, 6))
PROSE = st.one_of(
    st.builds(sentence, st.integers(1, 200)),
    st.lists(INLINE, min_size=1, max_size=30).map("，".join),
    st.sampled_from(["# 题", "## 节", "### 什么是缓存？", "1. 什么是注意力？", "𝒳 是集合，😀 是符号。", "- 一项\n- 二项"]),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(WHOLE, TABLE, PROSE), min_size=1, max_size=14))
def test_blocks_stay_whole_and_everything_is_covered_once(blocks: list[str]) -> None:
    text = "\n\n".join(blocks)
    parsed = parse(text)
    covered = bytearray(len(text))
    for p in parsed.passages:
        assert text[p.start : p.end] == p.text
        assert not any(covered[p.start : p.end])
        covered[p.start : p.end] = b"\1" * (p.end - p.start)
    for h in parsed.headings:
        covered[h.start : h.end] = b"\1" * (h.end - h.start)
    assert all(covered[i] or char.isspace() for i, char in enumerate(text))
    position = 0
    for block in blocks:
        start = text.index(block, position)
        position = start + len(block)
        holders = [p for p in parsed.passages if p.start < position and p.end > start]
        heads = sum(estimate_tokens(title) + 1 for title in holders[0].headings[-2:]) if holders else 0
        if block[0] in "`$\\" and estimate_tokens(block) < LIMIT - heads - 2:
            assert len(holders) == 1, block
        if block[0] == "|":
            at = start
            for row in block.split("\n"):
                assert any(p.start <= at and at + len(row) <= p.end for p in holders), row
                at += len(row) + 1
    for p in parsed.passages:
        inline = p.text.replace("$$", "")
        assert inline.count("$") % 2 == 0


def test_a_long_code_block_is_cut_between_lines() -> None:
    text = "# 题\n\n" + code(120)
    passages = parse(text).passages
    assert len(passages) > 3
    for p in passages:
        assert all(line in text.split("\n") for line in p.text.split("\n"))


def test_a_long_table_is_cut_between_rows_and_repeats_nothing() -> None:
    text = "# 题\n\n" + table(200, 5)
    passages = parse(text).passages
    assert len(passages) > 5
    assert "\n".join(p.text for p in passages) == text[len("# 题\n\n") :]
    assert {p.headings for p in passages} == {("题",)}


@pytest.mark.parametrize(
    "make",
    [
        lambda n: "普通的一行文字，说的是缓存与显存。\n" * n,
        lambda n: "短行\n" * n,
        lambda n: "评论\n\n" * n,
        lambda n: "关注我 12 收藏\n点赞\n" * n,
        lambda n: "一行没有尽头的文字，里面有 words 也有 123，" * n,
        lambda n: "a" * (20 * n),
        lambda n: "推荐阅读\n某篇文章的标题\n" * n,
        lambda n: "| a | b |\n" * n,
        lambda n: "- 点赞\n" * n,
        lambda n: "\\begin{x}\n" * n,
        lambda n: "目录\n" + "标题\n" * n,
        lambda n: "扫码领取学习资料，加微信进群\n一行文字\n" * n,
    ],
    ids=range(12),
)
def test_time_is_linear(make: Callable[[int], str]) -> None:
    def seconds(lines: int) -> float:
        text = make(lines)
        return processor_seconds(lambda: parse(clean(text, "markdown").text or "x"), rounds=1)

    seconds(100)
    assert in_step(seconds, 6_000, floor=0.6)
