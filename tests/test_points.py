import pytest

from assistant.interviews.points import MOST, KeyPoint, key_points


def texts(reference: str, question: str = "") -> list[str]:
    return [p.text for p in key_points(reference, question)]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        # a list: its items, without the line that leads in
        ("主要有以下几点:\n1. 省显存,只训练低秩矩阵\n2. 推理时可以合并权重", ["省显存,只训练低秩矩阵", "推理时可以合并权重"]),
        ("包括:\n- 词表里的每个词一个向量\n- 位置编码加在词向量上", ["词表里的每个词一个向量", "位置编码加在词向量上"]),
        ("1、模型容量更大\n\n2、训练更加稳定", ["模型容量更大", "训练更加稳定"]),
        ("① 参数量更大一些\n② 推理速度更快一些", ["参数量更大一些", "推理速度更快一些"]),
        # what leads in may itself state something
        (
            "自注意力是它的核心机制。优点如下:\n- 可以并行计算序列\n- 能捕捉长距离依赖",
            ["自注意力是它的核心机制。", "可以并行计算序列", "能捕捉长距离依赖"],
        ),
        (
            "自注意力是它的核心机制。这种结构在自然语言处理、语音识别和计算机视觉的各种任务里都被广泛采用并且带来的好处主要体现为:\n- 可以并行计算序列",
            ["自注意力是它的核心机制。", "可以并行计算序列"],
        ),
        # prose: its sentences
        ("旋转位置编码把位置写进查询和键。内积只依赖相对位置。", ["旋转位置编码把位置写进查询和键。", "内积只依赖相对位置。"]),
        (
            "It rotates queries and keys. The product depends on the distance only.",
            ["It rotates queries and keys.", "The product depends on the distance only."],
        ),
        # numbers and hyphens are no list marks
        ("它占 3.5 GB 显存,是 pre-norm 结构。", ["它占 3.5 GB 显存,是 pre-norm 结构。"]),
        ("- GPT-3.5 与 self-attention 的关系很近", ["GPT-3.5 与 self-attention 的关系很近"]),
        # a fragment goes with what stands before it
        ("分数会随维度变大,softmax 会饱和。很难训。", ["分数会随维度变大,softmax 会饱和。很难训。"]),
        # marks of Markdown, links and code are left out
        (
            "- **省显存**:只训练[低秩矩阵](http://x)\n```python\nx = 1\n```\n- 权重 `W` 是冻结不动的",
            ["省显存:只训练低秩矩阵", "权重 W 是冻结不动的"],
        ),
        # an item's further lines belong to it
        ("1. 切分优化器状态\n   每卡只存一份\n2. 再切分梯度和参数", ["切分优化器状态每卡只存一份", "再切分梯度和参数"]),
        # what closes or points elsewhere states nothing of its own
        ("用滑动窗口限制注意力范围。以上就是全部内容,希望对你有帮助。", ["用滑动窗口限制注意力范围。"]),
        ("用滑动窗口限制注意力范围。\n\n以上就是全部内容。", ["用滑动窗口限制注意力范围。"]),
        ("", []),
        ("\n\n", []),
        ("如下图:", []),
    ],
)
def test_key_points(reference: str, expected: list[str]) -> None:
    assert texts(reference) == expected


def test_a_heading_inside_the_answer_names_its_section() -> None:
    sections = "\n".join(
        f"{mark}、第{mark}个步骤\n先做准备工作,再把事情做完整。\n然后检查一遍结果是否正确。" for mark in "一二三四五"
    )
    found = texts(sections)
    assert len(found) == 5
    assert found[0].startswith("第一个步骤：先做准备工作")


def test_never_more_than_a_person_can_hold_in_mind() -> None:
    many = "\n".join(f"- 第{i}条说明,内容各不相同,涉及机制{i}" for i in range(20)) + "\n- 短的一条在最后面"
    found = texts(many)
    assert len(found) == MOST
    assert "短的一条在最后面" not in found  # the least informative goes first
    assert found == sorted(found, key=many.index)  # the author's order stays


def test_weights_follow_what_a_point_says_beyond_the_question() -> None:
    question = "LoRA 为什么省显存?"
    points = key_points("- LoRA 省显存的原因在这里\n- 只训练两个低秩矩阵,优化器状态随可训练参数一起变少,梯度也少", question)
    assert points[0].weight < points[1].weight
    assert all(0.25 <= p.weight <= 2.0 for p in points)
    plain, example = key_points("- 温度低时分布更尖锐一些\n- 例如温度低时分布更尖锐")
    assert example.weight < 0.75 * plain.weight


def test_key_point_is_a_value() -> None:
    assert KeyPoint("一") == KeyPoint("一", 1.0)
