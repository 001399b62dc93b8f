"""Numbers by value, names, and statements that point in opposite directions."""

import pytest

from assistant.answers.claims import Known, names, numbers, opposed


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1750亿参数", [1.75e11]),
        ("175B parameters", [1.75e11]),
        ("0.5 billion and 3 million", [5e8, 3e6]),
        ("两万亿不算，2万亿算", [2e12]),
        ("占 1,024 个，约 3.5%", [1024, 0.035]),
        ("4K 上下文", [4000]),
        ("８位", [8]),
        ("FP16 与 Llama-3", [16, 3]),
        ("5 bits, 7 km", [5, 7]),
        ("没有数", []),
    ],
)
def test_numbers(text: str, values: list[float]) -> None:
    assert [value for value, _ in numbers(text)] == pytest.approx(values)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("LoRA 与 qlora 都用 NF4", ["LoRA", "NF4"]),
        ("Attention weighs tokens; Google used BERT-large", ["Google", "BERT-large"]),
        ("由 Google 提出", ["Google"]),
        ("矩阵 A 和 B", []),
        ("The cache holds K and V", []),
        ("- RMSNorm is cheaper", ["RMSNorm"]),
    ],
)
def test_names(text: str, found: list[str]) -> None:
    assert names(text) == found


@pytest.mark.parametrize(
    ("text", "sentence", "foreign"),
    [
        ("GPT-3 有 1750 亿参数", "GPT-3 has 175B parameters", []),
        ("GPT-3 有 1750 亿参数", "GPT-3 有 1760 亿参数", ["1.76e+11"]),
        ("分为三个阶段", "分为 3 个阶段", []),
        ("分为三个阶段", "分为 4 个阶段", ["4"]),
        ("using KV-cache", "用 KV Cache 加速", []),
        ("大语言模型 (LLM)", "LLMs 很大", []),
        ("大语言模型 (LLM)", "由 OpenAI 提出", ["OpenAI"]),
        ("秩取 8 到 64", "秩取 8、64", []),
        ("1,024 个", "1024 个", []),
    ],
)
def test_what_no_text_vouches_for(text: str, sentence: str, foreign: list[str]) -> None:
    assert Known([text]).foreign(sentence) == foreign


@pytest.mark.parametrize(
    ("a", "b", "opposite"),
    [
        ("会增加推理延迟", "不增加推理延迟", True),
        ("不增加推理延迟", "不会增加推理延迟", False),
        ("减少显存占用", "增加显存占用", True),
        ("不增加延迟", "减少延迟", False),
        ("不依赖批大小", "与批大小无关", False),
        ("依赖批大小", "与批大小无关", True),
        ("梯度不稳定", "梯度更稳定", True),
        ("少于全量微调的 1%", "不到全量微调的 1%", False),
        ("不同的头关注不同位置", "各个头关注各自的位置", False),
        ("不仅更快而且更省", "更快也更省", False),
        ("It does not change the output", "It changes the output", True),
        ("It increases memory", "It reduces memory", True),
    ],
)
def test_opposed(a: str, b: str, opposite: bool) -> None:
    assert opposed(a, b) is opposite
    assert opposed(b, a) is opposite
