"""Questions with their exact answers in every form web copies have, and passages that keep to structure and length."""

import json
import time
from bisect import bisect_right
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.cleaning.clean import clean
from ingest.document import Document, ParsedDocument
from ingest.sources import files
from ingest.structure.lines import asks
from ingest.structure.splitting import LIMIT, estimate_tokens, split, title_of, token_costs
from tests.timing import in_step

SHARED = Path(__file__).parents[2] / "shared"


def parse(text: str, format: str = "text", name: str = "a.txt") -> ParsedDocument:
    return split(Document(name, f"/{name}", "标题", text, "0", format, "utf-8"))


def pairs(text: str, format: str = "text") -> list[tuple[str, str]]:
    return [(pair.question, pair.answer) for pair in parse(text, format).pairs]


# --- question-answer pairs, one form a test -------------------------------------------------------------------------


def test_markdown_headings() -> None:
    text = "# 缓存\n\n## 背景\n\n引子。\n\n## 问答\n\n### 缓存什么？\n\n键和值。\n\n- 每层一份\n\n### 为什么快？\n\n不必重算。\n\n## 参考\n\n某书。"
    assert pairs(text, "markdown") == [("缓存什么？", "键和值。\n\n- 每层一份"), ("为什么快？", "不必重算。")]
    assert parse(text, "markdown").pairs[0].headings == ("缓存", "问答")


def test_a_heading_of_another_level_without_a_question_mark_is_a_section() -> None:
    text = "# 甲\n\n## 为什么需要它\n\n正文。\n\n## 问答\n\n### 一？\n\n答一。\n\n### 二？\n\n答二。\n\n### 三？\n\n答三。"
    assert [question for question, _ in pairs(text, "markdown")] == ["一？", "二？", "三？"]


def test_numbered_markdown_headings_with_topics_among_them() -> None:
    text = "# 题\n## 基础\n### 1. 什么是召回？\n找回来。\n### 2. 召回的流程\n先切分。\n### 3. 如何评测？\n看比例。\n## 进阶\n### 4. 重排的作用\n往前排。"
    assert pairs(text, "markdown") == [
        ("什么是召回？", "找回来。"),
        ("召回的流程", "先切分。"),
        ("如何评测？", "看比例。"),
        ("重排的作用", "往前排。"),
    ]


def test_markdown_headings_numbered_without_a_sign() -> None:
    text = "# 题\n### 1 什么是残差\n加上输入。\n### 2 为什么归一化\n稳定。\n### 80 层的模型有多大？\n很大。"
    assert [question for question, _ in pairs(text, "markdown")] == ["什么是残差", "为什么归一化", "80 层的模型有多大？"]


def test_numbered_questions_with_numbered_lists_in_the_answers() -> None:
    text = (
        "题目汇总\n\n1、为什么要分开 Q 和 K？\n\n1、分开以后得分不对称。\n\n2、参数更多。\n\n2、为什么先升维？\n\n1、升维能分开特征。\n\n"
        "2、容量更大。\n\n3、再降回来方便相加。\n\n3、推导缩放因子，并说明假设。\n\n方差是维度。\n\n4.两种归一化有什么优缺点？\n\n1.前者稳。\n\n2.后者强。"
    )
    assert pairs(text) == [
        ("为什么要分开 Q 和 K？", "1、分开以后得分不对称。\n\n2、参数更多。"),
        ("为什么先升维？", "1、升维能分开特征。\n\n2、容量更大。\n\n3、再降回来方便相加。"),
        ("推导缩放因子，并说明假设。", "方差是维度。"),
        ("两种归一化有什么优缺点？", "1.前者稳。\n\n2.后者强。"),
    ]


def test_numbers_that_start_again_in_every_section() -> None:
    text = (
        "汇总\n\n一、基础篇\n\n1、什么是词表？\n词的集合。\n\n2、什么是合并？\n一种算法：\n1、统计\n2、合并\n\n二、训练篇\n\n1、什么是预热？\n逐步升高。\n\n"
        "2、为什么裁剪？\n防爆炸。"
    )
    assert pairs(text) == [
        ("什么是词表？", "词的集合。"),
        ("什么是合并？", "一种算法：\n1、统计\n2、合并"),
        ("什么是预热？", "逐步升高。"),
        ("为什么裁剪？", "防爆炸。"),
    ]
    assert [pair.headings[-1] for pair in parse(text).pairs] == ["基础篇", "基础篇", "训练篇", "训练篇"]


def test_sections_inside_the_answer_belong_to_it() -> None:
    text = (
        "面试题（三）\n\n1、说一下两种并行\n\n二者不同。\n\n甲方法\n\n定义\n把数据切开，各算各的，最后把梯度加起来求平均。\n\n1. 流程\n\n  • 切分：按样本\n\n"
        "2. 代价\n\n  • 通信：每步一次\n\n总结\n\n各有所长，看模型的大小和卡的数量来选择。\n\n2、数据怎样构建\n\n一、明确需求\n\n先看任务。\n\n二、收集\n\n再找数据。"
    )
    found = pairs(text)
    assert [question for question, _ in found] == ["说一下两种并行", "数据怎样构建"]
    assert found[0][1].startswith("二者不同。") and found[0][1].endswith("来选择。")
    assert found[1][1] == "一、明确需求\n\n先看任务。\n\n二、收集\n\n再找数据。"


def test_labelled_questions_below_numbered_sections() -> None:
    text = "1. 引言\n开场白写在这里。\n2. 基础\n2.1 问题：什么是层？\n回答：\n一次变换。\n2.2 问题：有几层？\n回答：\n很多。\n图解：层的结构\n3. 总结\n本文到此为止。"
    assert pairs(text) == [("什么是层？", "一次变换。"), ("有几层？", "很多。")]


@pytest.mark.parametrize(
    "text",
    [
        "问：什么是缓存？\n答：存下键和值。\n\n问：它多大？\n答：与长度成正比。",
        "问：什么是缓存？答：存下键和值。\n问：它多大？答：与长度成正比。",
        "【问题】什么是缓存？\n【答案】存下键和值。\n\n【问题】它多大？\n【答案】与长度成正比。",
        "Q：什么是缓存？\nA：存下键和值。\nQ：它多大？\nA：与长度成正比。",
        "Q1: 什么是缓存？\nA1: 存下键和值。\nQ2: 它多大？\nA2: 与长度成正比。",
        "面试题1：什么是缓存？\n参考答案：\n存下键和值。\n\n面试题2：它多大？\n参考答案：\n与长度成正比。",
        "第1题：什么是缓存？\n解析：存下键和值。\n第2题：它多大？\n解析：与长度成正比。",
        "面试官：什么是缓存？\n候选人：存下键和值。\n面试官：它多大？\n候选人：与长度成正比。",
        "**Q：什么是缓存？**\n\n**A：** 存下键和值。\n\n**Q：它多大？**\n\n**A：** 与长度成正比。",
        "**什么是缓存？**\n\n存下键和值。\n\n**它多大？**\n\n与长度成正比。",
        "**1. 什么是缓存？**\n存下键和值。\n**2. 它多大？**\n与长度成正比。",
        "1. **什么是缓存？**\n\n   存下键和值。\n\n2. **它多大？**\n\n   与长度成正比。",
        "一、什么是缓存？\n存下键和值。\n二、它多大？\n与长度成正比。",
        "（1）什么是缓存？\n存下键和值。\n（2）它多大？\n与长度成正比。",
        "什么是缓存？\n\n存下键和值。\n\n它多大？\n\n与长度成正比。",
        "1. 什么是缓存？存下键和值。\n2. 它多大？与长度成正比。",
        "#### Q1：什么是缓存？\n\n存下键和值。\n\n#### Q2：它多大？\n\n与长度成正比。",
        "1.1 什么是缓存？\n存下键和值。\n1.2 它多大？\n与长度成正比。",
    ],
)
def test_forms_of_question_and_answer(text: str) -> None:
    assert pairs(text, "markdown") == [("什么是缓存？", "存下键和值。"), ("它多大？", "与长度成正比。")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # questions followed up by indented ones inside the answer
        (
            "题目\n\n1. 什么是甲?\n\n  • 场景:基本功。\n\n  • 追问链条\n\n    1. :缺点是什么?\n      :占显存。\n\n    2. :改进呢?\n      :缩放。\n\n"
            "2. 乙放在哪里?\n\n  • 场景:细节。",
            [("什么是甲?", "• 场景:基本功。", ":缩放。"), ("乙放在哪里?", "• 场景:细节。", "• 场景:细节。")],
        ),
        # a label in every section
        (
            "宝典\n前言\n这里是前言的第一段话，讲了一些背景。\n1. 基础\n问题:请介绍甲?\n答案:\n包括:\n- 甲一。\n2. 训练\n问题:怎样训练?\n答案:\n先读后调。",
            [("请介绍甲?", "包括:", "- 甲一。"), ("怎样训练?", "先读后调。", "先读后调。")],
        ),
        # numbered sections with the numbers of the questions, inside an answer
        (
            "基础面\n\n1. 主流结构有哪些?\n\n有以下几种:\n\n1. 第一系列\n\n这一系列很重要，在很多任务里都有应用。\n\n甲系列\n  • 甲一:可以写文章。\n\n"
            "2. 第二系列\n\n这一系列仍在一些任务里使用。\n\n2. 甲与乙的区别是什么?\n\n方向不同。\n\n3. 丙是什么原因?\n\n说法不一。",
            [
                ("主流结构有哪些?", "有以下几种:", "使用。"),
                ("甲与乙的区别是什么?", "方向不同。", "方向不同。"),
                ("丙是什么原因?", "说法不一。", "说法不一。"),
            ],
        ),
        # chapter numbers on lines of their own
        (
            "攻略\n\n1\n\n基础面\n\nQ1:有哪些体系?\n\nA1:主要有:\n\n  • 甲。\n\n2\n\n进阶面\n\nQ2:怎样变长?\n\nA2:改编码。",
            [("有哪些体系?", "主要有:", "• 甲。"), ("怎样变长?", "改编码。", "改编码。")],
        ),
        # numbered labels, some of which name a problem
        (
            "导语\n最近大家常被问到这些题，所以整理了一下。\n一、基础篇\n问题 1:什么是甲?\n一种结构。\n问题 2:好处是什么?\n更准。\n二、常见问题篇\n"
            "这部分最容易被问。\n问题 3:内容缺失问题\n切片不合理。\n问题 4:格式错误\n不规范。",
            [
                ("什么是甲?", "一种", "结构。"),
                ("好处是什么?", "更准。", "更准。"),
                ("内容缺失问题", "切片", "合理。"),
                ("格式错误", "不规范。", "不规范。"),
            ],
        ),
        # remarks between the question and the label of its answer
        (
            "模拟面试\n面试官:你好!请先介绍甲,它解决了哪些问题?\n(考察:基础概念)\n参考答案:\n两步:\n- 检索;\n面试官:很好。你会选哪一种?为什么?\n(考察:选型)\n"
            "(提示:成本)\n参考答案:\n选甲。",
            [("你好!请先介绍甲,它解决了哪些问题?", "两步:", "- 检索;"), ("很好。你会选哪一种?为什么?", "选甲。", "选甲。")],
        ),
        # marks in colour before the labels
        (
            "五道题\n✅ 问题:什么是甲?\n最准确答案:\n先查，再写。\n💡 核心价值:\n开卷。\n✅ 问题:说一下乙?\n- 检索器",
            [("什么是甲?", "先查，再写。", "开卷。"), ("说一下乙?", "- 检索器", "- 检索器")],
        ),
        (
            "# 详解\n\n## 1. 🧠 甲是怎么来的？\n\n分阶段：\n\n### ① 数据\n\n- 去重\n\n---\n\n## 2. 🏗️ 两种结构的区别\n\n### 组件\n\n- 注意力\n\n## 3. 📦 什么是乙？\n\n切词。",
            [
                ("甲是怎么来的？", "分阶段：", "- 去重"),
                ("两种结构的区别", "### 组件", "- 注意力"),
                ("什么是乙？", "切词。", "切词。"),
            ],
        ),
        # labels in bold below bold or numbered headings
        (
            "# 手册\n\n### 一、基础\n\n#### 1.1 **什么是甲？**\n- **示例答案**：\n  - 一种结构。\n\n#### 1.2 乙呢？\n\n**解析：**\n\n```python\nx = 1  # 什么?\n```",
            [("什么是甲？", "- 一种结构。", "- 一种结构。"), ("乙呢？", "```python", "```")],
        ),
        (
            "# Q & A\n\n## 1. What is A?\n\n**Answer:**\nA network.\n\n**Key facts:**\n- big\n\n## 2. Explain B.\n\n**Answer:**\nIt attends.\n\n## 3. A vs. B\n\n**Answer:**\nOne is big.",
            [
                ("What is A?", "A network.", "- big"),
                ("Explain B.", "It attends.", "It attends."),
                ("A vs. B", "One is big.", "One is big."),
            ],
        ),
        # requests instead of questions, answers in one line
        (
            "130道\n1、有哪些体系,并介绍特点?\n考察甲、乙\n等的理解。\n2、解释甲和乙的区别,并给出案例。\n前者双向。\n3、简述甲的优势。\n生成式。",
            [
                ("有哪些体系,并介绍特点?", "考察甲、乙", "等的理解。"),
                ("解释甲和乙的区别,并给出案例。", "前者双向。", "前者双向。"),
                ("简述甲的优势。", "生成式。", "生成式。"),
            ],
        ),
    ],
)
def test_shapes_of_pages(text: str, expected: list[tuple[str, str, str]]) -> None:
    found = pairs(clean(text, "markdown").text, "markdown")
    assert [question for question, _ in found] == [question for question, _, _ in expected]
    for (_, answer), (_, head, tail) in zip(found, expected, strict=True):
        assert answer.startswith(head) and answer.endswith(tail)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "某厂一面\n1. 自我介绍\n2. 挑一个项目,讲讲目标,以及难点。\n3. 为什么要掩码?\n4. 前置还是后置?\n5. 算法题:遍历\n6. 反问",
            6,
        ),
        ("题库\n-\n你了解甲吗?\n-\n解释一下乙的概念\n-\n丙有哪些方案?\n-\n丁如何解决?", 4),
        ("常见的题目有：\n- 甲是什么？\n- 乙是如何工作的？\n- 丙的区别是什么？", 3),
    ],
)
def test_lists_of_open_questions(text: str, expected: int) -> None:
    found = pairs(text)
    assert len(found) == expected
    assert all(answer == "" for _, answer in found)


def test_english_questions() -> None:
    text = (
        "# Interview\n\n## Basics\n\n1. What is a token?\n\n   A unit of text.\n\n2. Explain byte pair encoding.\n\n   It merges pairs:\n\n   1. count\n   2. merge\n\n"
        "## Training\n\n3. How large should the batch be?\n\n   As large as fits.\n"
    )
    assert pairs(text, "markdown") == [
        ("What is a token?", "A unit of text."),
        ("Explain byte pair encoding.", "It merges pairs:\n\n   1. count\n   2. merge"),
        ("How large should the batch be?", "As large as fits."),
    ]


def test_questions_without_answers_are_open() -> None:
    text = "某厂一面\n\n1. 项目里为什么用它？\n2. 讲讲注意力机制\n3. 显存怎么算？\n4. 手撕多头注意力"
    found = parse(text).pairs
    assert [pair.question for pair in found] == ["项目里为什么用它？", "讲讲注意力机制", "显存怎么算？", "手撕多头注意力"]
    assert all(pair.answer == "" and pair.answer_start == pair.answer_end == pair.question_end for pair in found)


def test_an_open_question_that_is_answered_below_counts_once() -> None:
    text = "问题列表\n1. 什么是甲？\n2. 什么是乙？\n\n解答\n\n1. 什么是甲？\n\n第一个。\n\n2. 什么是乙？\n\n第二个。"
    assert pairs(text) == [("什么是甲？", "第一个。"), ("什么是乙？", "第二个。")]


@pytest.mark.parametrize(
    "text",
    [
        "# 架构\n\n1. 编码器：读入全文。\n2. 解码器：逐个生成。\n\n选择哪一种？看任务。",
        "注意力\n\nQ：查询矩阵\nK：键矩阵\nV：值矩阵",
        "```\n# 什么是注释？\n1. 为什么？\n```\n\n代码到此为止。",
        "特点\n\n1. 快\n2. 好\n3. 省\n\n因此大家都用它。",
        "- 长文本：如何应对遗忘。\n- 质量：如何评估。",
        "| 方法 | 为什么？ |\n| --- | --- |\n| 什么？ | 某物 |",
    ],
)
def test_what_is_no_question(text: str) -> None:
    assert pairs(text, "markdown") == []


def test_the_last_answer_ends_before_the_page_says_good_bye() -> None:
    text = "1、什么是甲？\n第一个。\n2、什么是乙？\n第二个。\n以上就是全部题目，希望对你有帮助。"
    assert pairs(text)[-1] == ("什么是乙？", "第二个。")
    text = "1、什么是甲？\n第一个。\n2、什么是乙？\n第二个。\n参考资料\n某一篇论文，某一本书，某一个网页。"
    assert pairs(text)[-1] == ("什么是乙？", "第二个。")


@pytest.mark.parametrize(
    ("title", "score"),
    [
        ("什么是注意力?", 3), ("注意力是什么？（高频）", 3), ("注意力如何计算", 2), ("Explain attention", 1), ("How does it work", 2), ("两者的区别", 1),
        ("假设头数为 h，计算显存", 2), ("分别是多少?假设有 L 层。", 2), ("编码器:读入全文,如何如何", 0), ("它先读入。怎样都行。", 0), ("注意力", 0), ("", 0),
        ("引用是否必要（is each needed?）。", 2),
    ],
)  # fmt: skip
def test_how_much_a_title_asks(title: str, score: int) -> None:
    assert asks(title) == score


# --- passages -------------------------------------------------------------------------------------------------------


def test_a_short_answer_shares_the_passage_of_its_question() -> None:
    passages = parse("题\n\n一、基础\n\n1、什么是甲？\n\n第一个。\n\n2、什么是乙？\n\n第二个。").passages
    assert [(p.headings, p.text, p.line) for p in passages] == [
        (("题", "基础"), "什么是甲？\n\n第一个。", 5),
        (("题", "基础"), "什么是乙？\n\n第二个。", 9),
    ]


def test_every_part_of_a_long_answer_names_its_question() -> None:
    answer = "\n\n".join(
        f"{i}、第{i}点说的是模型在训练时的一种现象，它和前面几点都不一样，需要单独解释清楚，也需要实验来支持。"
        for i in range(1, 15)
    )
    passages = parse(f"题目\n\n1、为什么会这样？\n\n{answer}").passages
    assert len(passages) >= 3
    assert all(p.headings == ("题目", "为什么会这样？") for p in passages)
    assert passages[0].text.startswith("为什么会这样？\n\n1、")
    sizes = [estimate_tokens(p.text) for p in passages]
    assert max(sizes) < 1.5 * min(sizes)


def test_tiny_sections_are_joined_and_keep_their_titles() -> None:
    passages = parse("# 题\n\n## 甲\n\n短。\n\n## 乙\n\n也短。\n\n## 丙\n\n同样短。", "markdown").passages
    assert [(p.headings, p.text) for p in passages] == [(("题",), "## 甲\n\n短。\n\n## 乙\n\n也短。\n\n## 丙\n\n同样短。")]


def test_a_formula_a_code_block_and_a_table_row_are_not_cut() -> None:
    formula = "$$\n" + " +\n".join(f"x_{{{i}}}" for i in range(30)) + "\n$$"
    code = "```python\n" + "\n".join(f"value_{i} = compute(value_{i - 1})" for i in range(1, 25)) + "\n```"
    row = "| " + " | ".join(f"第{i}列的内容" for i in range(12)) + " |"
    filler = "这一段是普通的文字，说明上面与下面的内容有什么关系。" * 4
    text = f"# 题\n\n{filler}\n\n{formula}\n\n{filler}\n\n{code}\n\n{filler}\n\n" + "\n".join([row] * 8)
    passages = parse(text, "markdown").passages
    assert sum(formula in p.text for p in passages) == 1
    assert sum(code in p.text for p in passages) == 1
    assert sum(p.text.count(row) for p in passages) == 8


def test_a_long_sentence_is_cut_at_its_ends_and_around_inline_formulas() -> None:
    text = "因此" + "得到$a_{1}, b_{2} = c_{3}$这个结果" * 60  # every clause ends inside a formula
    passages = parse(text).passages
    assert len(passages) > 2
    assert all(p.text.count("$") % 2 == 0 for p in passages)
    sentences = "模型先看见问题，再看见段落，最后写出答案。" * 60
    assert all(p.text.endswith("。") for p in parse(sentences).passages)


def test_long_headings_leave_less_room_for_the_passage() -> None:
    code = "```\n" + "\n".join(f"line {i} = {i * 37}" for i in range(60)) + "\n```"
    assert LIMIT - 80 < estimate_tokens(code) < LIMIT
    assert [p.text for p in parse(f"# 短\n\n## 题\n\n{code}", "markdown").passages] == [code]
    passages = parse(f"# {'很长的标题' * 20}\n\n## {'同样长的标题' * 20}\n\n{code}", "markdown").passages
    assert len(passages) >= 2
    assert all(estimate_tokens(p.embedding_text) <= LIMIT for p in passages)


def test_how_headings_nest() -> None:
    text = "题\n\n一、甲\n\n正文写在这里。\n\n1. 小甲\n\n正文写在这里。\n\n2. 小乙\n\n正文写在这里。\n\n二、乙\n\n正文写在这里。\n\n1. 小丙\n\n正文写在这里。"
    assert [(h.level, h.title) for h in parse(text).headings] == [
        (1, "题"),
        (2, "甲"),
        (3, "小甲"),
        (3, "小乙"),
        (2, "乙"),
        (3, "小丙"),
    ]
    text = "题\n\n1 概述\n正文写在这里。\n1.1 甲\n正文写在这里。\n1.2 乙\n正文写在这里。\n1.2.1 丙\n正文写在这里。\n2.1 丁\n正文写在这里。"
    assert [(h.level, h.title) for h in parse(text).headings if h.title in "甲乙丙丁"] == [
        (2, "甲"),
        (2, "乙"),
        (3, "丙"),
        (2, "丁"),
    ]
    text = "# 题\n\n## 甲\n\n**粗**\n\n正文。\n\n**体**\n\n正文。\n\n## 乙\n\n小节\n----\n\n正文。"
    assert [(h.level, h.title) for h in parse(text, "markdown").headings] == [
        (1, "题"),
        (2, "甲"),
        (3, "粗"),
        (3, "体"),
        (2, "乙"),
        (2, "小节"),
    ]


def test_only_headings_still_make_passages() -> None:
    passages = parse("# 甲\n## 乙\n## 丙\n# 丁", "markdown").passages
    assert "".join(p.text for p in passages).replace("\n", "") != ""


def test_title_of_a_document() -> None:
    assert title_of("《一页笔记》\n\n正文在这里。", "text", "a/b.txt") == "一页笔记"
    assert title_of("# 缓存\n\n正文。", "markdown", "b.md") == "缓存"
    assert title_of("正文从第一行就开始了，没有标题。\n第二行。", "text", "a/b.txt") == "b"
    assert title_of("# 缓存", "markdown", "b.md", (("title", "前言里的题目"),)) == "前言里的题目"


def test_costs_are_sums() -> None:
    costs = token_costs("ab 中\n1")
    assert costs.tolist() == [0, 2, 4, 7, 14, 17, 23]


# --- any text -------------------------------------------------------------------------------------------------------


def check(parsed: ParsedDocument) -> None:
    """What holds for every text: exact spans, order, lines, limits, nothing but heading lines left out."""
    text = parsed.document.text
    newlines = [i + 1 for i, char in enumerate(text) if char == "\n"]
    position = 0
    covered = bytearray(len(text))
    for p in parsed.passages:
        assert text[p.start : p.end] == p.text != ""
        assert p.start >= position
        assert p.line == bisect_right(newlines, p.start) + 1
        assert estimate_tokens(p.embedding_text) <= LIMIT + 2 or p.end - p.start == 1
        position = p.end
        covered[p.start : p.end] = b"\1" * (p.end - p.start)
    for h in parsed.headings:
        assert 0 <= h.start <= h.end <= len(text)
        covered[h.start : h.end] = b"\1" * (h.end - h.start)
    for q in parsed.pairs:
        assert text[q.question_start : q.question_end] == q.question != ""
        assert text[q.answer_start : q.answer_end] == q.answer == q.answer.strip()
        assert q.question_end <= q.answer_start <= q.answer_end
    for i, char in enumerate(text):
        assert covered[i] or char.isspace() or char in "=-", (i, text[max(0, i - 20) : i + 20])


PARTS = st.sampled_from(
    ["", "# 标题", "## 什么是它？", "### 2. 小节", "1. 什么？", "2、为什么？", "3. 如何做到？", "1. 快", "一、基础", "二、进阶", "2.1 问题：什么？", "回答：", "答：某物。",
     "问：什么？答：某物。", "Q: why?", "A: because.", "**加粗？**", "**小结**", "- 一项", "  • 二项", "| a | b |", "```", "$$", "x = $a$", "正文说了一些话，然后结束。",
     "短标题", "1", "02.", "-", "•", "问题 3：什么？", "**Q：什么？**", "总结", "参考资料", "====", "---", "（1）什么？", "① 甲", "第1题：什么？", "很长的一句话" * 40, "长句。" * 120, "$x$" * 200, "a" * 700, "  缩进的一行"]
)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(st.lists(PARTS, max_size=30).map("\n".join), st.sampled_from(["text", "markdown"]))
def test_spans_always_reconstruct(text: str, format: str) -> None:
    check(parse(text, format))


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=400), st.sampled_from(["text", "markdown"]))
def test_any_text(text: str, format: str) -> None:
    check(parse("".join(text.splitlines(keepends=True)), format))


@pytest.mark.parametrize(
    "text",
    ["字" * 200_000, "a" * 200_000, "行\n" * 20_000, "。" * 100_000, "# 题\n" * 10_000, "1. 什么？\n" * 10_000, "$a " * 50_000, "$$\n" * 20_000, "`" * 100_000,
     "![" * 50_000, "【" * 100_000, "问：" * 50_000, "**" * 50_000, "甲乙\n\n" * 10_000, "1. 题\n说明文字在这里，足够长，也有句号。\n" * 4_000],
    ids=lambda text: repr(text[:6]),
)  # fmt: skip
def test_pathological_texts_are_linear_and_within_the_limit(text: str) -> None:
    def seconds(size: int) -> float:
        started = time.process_time()
        parsed = parse(clean(text[:size], "markdown").text or "x", "markdown")
        spent = time.process_time() - started
        assert all(estimate_tokens(p.embedding_text) <= LIMIT + 2 for p in parsed.passages)
        return spent

    assert in_step(seconds, len(text) // 2, floor=0.5)


# --- the seeds ------------------------------------------------------------------------------------------------------


def seed(name: str) -> ParsedDocument:
    raw = files.read(SHARED / "seeds" / name)
    cleaned = clean(raw.text, raw.format)
    return parse(cleaned.text, raw.format, name)


@pytest.mark.skipif(not SHARED.exists(), reason="the labelled seeds are not here")
def test_pairs_of_the_seeds() -> None:
    labels = [json.loads(line) for line in (SHARED / "eval" / "seed_qa_pairs.jsonl").read_text("utf-8").splitlines()]
    wanted = {
        (label["document"], label["question"], label["answer_first_30_chars"], label["answer_last_30_chars"]) for label in labels
    }
    found = {
        (name, pair.question, pair.answer[:30], pair.answer[-30:])
        for name in {label["document"] for label in labels}
        for pair in seed(name).pairs
    }
    both = len(found & wanted)
    print(f"pairs of the seeds: precision {both / len(found):.3f}, recall {both / len(wanted):.3f}")
    assert both / len(found) >= 0.95 and both / len(wanted) >= 0.95


@pytest.mark.skipif(not SHARED.exists(), reason="the labelled seeds are not here")
@pytest.mark.parametrize("number", range(5))
def test_passages_of_the_seeds(number: int) -> None:
    check(seed(sorted(path.name for path in (SHARED / "seeds").iterdir())[number]))


def test_the_starter_notes_give_every_question_they_hold() -> None:
    for path in sorted((Path(__file__).parents[1] / "ingest" / "samples").glob("*.md")):
        text = path.read_text("utf-8")
        asked = [line[4:].strip() for line in text.splitlines() if line.startswith("### ")]
        parsed = parse(clean(text, "markdown").text, "markdown", path.name)
        check(parsed)
        assert [pair.question for pair in parsed.pairs] == asked
        assert all(pair.answer for pair in parsed.pairs)
