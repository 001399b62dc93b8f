"""The loop guard: it must stop what repeats and leave alone what only looks alike."""

import pytest

from assistant.engine.llm import LoopGuard


def stops_at(text: str, size: int = 3) -> int | None:
    """The number of characters written when the guard speaks up, None when it never does; the text comes in pieces of ``size``."""
    guard = LoopGuard()
    for at in range(0, len(text), size):
        if guard.add(text[at : at + size]):
            return at + size
    return None


@pytest.mark.parametrize(
    "text",
    [
        "先预填充。再解码。再解码。再解码。",
        "- 减少显存占用\n- 减少显存占用\n",
        "注意力的复杂度与长度的平方成正比。\n其次，\n注意力的复杂度与长度的平方成正比。\n最后，\n注意力的复杂度与长度的平方成正比。\n",
        "注意力的复杂度与长度的平方成正比。因此它很慢。注意力的复杂度与长度的平方成正比。所以它很贵。注意力的复杂度与长度的平方成正比。",
        "结果是 " + "很好，" * 20,
        "the model the model the model the model the model the model the model",
        "\n".join(f"{n}. 深度模型开启了 ZeRO-3，但仍然爆显存。" for n in range(1, 4)),
        " ".join(f"Fact {n}: The base model is quantized. This leads to differences in performance." for n in range(1, 5)),
    ],
)
def test_a_loop_is_noticed(text: str) -> None:
    assert stops_at(text) is not None


def test_a_cycle_is_noticed_before_much_is_written() -> None:
    at = stops_at("答案：" + "很好，" * 200)
    assert at is not None
    assert at < 60


@pytest.mark.parametrize(
    "text",
    [
        "LoRA 冻结权重。QLoRA 也冻结权重，并把它量化到 4 位。",
        "| 方法 | 显存 |\n|------|------|\n| MHA  | 大   |\n| GQA  | 小   |\n| MQA  | 最小 |\n",
        "\n".join(f"- 第 {n} 层的注意力头有 {n * 8} 个" for n in range(1, 20)),
        "优点：\n- 快\n缺点：\n- 难\n优点：\n- 省\n",
        "损失是 0.000000000000000000000000000000000000001。",
        "--------------------------------------------------------",
        "首先归一化。然后注意力。首先归一化。然后前馈。",
        "It is 3.5 GB. It is 4.5 GB. It is 5.5 GB. See e.g. the paper. See e.g. the book.",
        "\n".join(f"{n}. 第 {n} 层需要 {n * 4} GB 的显存空间" for n in range(1, 6)),
        "\n".join(f"| {n}B | {2 * n} GB | 参数量与显存之间的关系 |" for n in (1, 3, 7, 13)),
        "for i in range(10):\n    x = f(x)\n\nfor j in range(10):\n    y = g(y)\n",
    ],
)
def test_what_only_looks_alike_passes(text: str) -> None:
    assert stops_at(text) is None
    assert stops_at(text, 1) is None
