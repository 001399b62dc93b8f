"""Each kind of furniture is cut with its reason, and what could be an answer stays."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.cleaning.clean import clean
from ingest.cleaning.page import Page
from ingest.cleaning.rules import reason_name
from ingest.sources import files

SHARED = Path(__file__).parents[2] / "shared"
ANSWER = "多头注意力把维度拆成若干份，各自计算注意力，再拼接起来，因此能同时关注不同的关系。"


def cuts(text: str, format: str = "text") -> list[tuple[str, str]]:
    return [(cut.reason, cut.text.strip()) for cut in clean(text, format).cuts if cut.reason != "blank"]


@pytest.mark.parametrize(
    "line",
    [
        "在这里插入图片描述",
        "[图片]",
        "![结构图](images/1.png)",
        '<img src="a.png" width="40">',
        "- ![](a.png)",
        "> ![a](b.png)",
        "image-20240801.png",
    ],
)
def test_a_line_that_is_only_an_image_is_cut(line: str) -> None:
    cleaned = clean(f"{ANSWER}\n\n{line}\n\n下一段说的是别的事情。", "markdown")
    assert cleaned.text == f"{ANSWER}\n\n下一段说的是别的事情。"
    assert [cut.reason for cut in cleaned.cuts] == ["image"]


def test_an_image_within_a_line_leaves_the_line() -> None:
    assert clean("结构见下图。![结构](a.png)注意箭头。", "markdown").text == "结构见下图。注意箭头。"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("原创 某某 某某的账号 2024年05月06日 08:00 北京", "author"),
        ("作者 | 张三", "author"),
        ("发布于 2023-10-15 20:21・IP 属地北京", "author"),
        ("版权声明：本文为博主原创文章，遵循 CC 4.0 BY-SA 版权协议", "author"),
        ("posted @ 2023-09-01 10:22 somebody 阅读(12) 评论(0) 编辑 收藏 举报", "author"),
        ("阅读量1.2k", "counters"),
        ("赞同 12", "counters"),
        ("觉得不错？一键收藏", "counters"),
        ("还没有评论，发表第一个评论吧", "counters"),
        ("添加红包", "payment"),
        ("钱包余额 0", "payment"),
        ("上一篇：怎样写论文", "navigation"),
        ("推荐阅读", "navigation"),
        ("◇ 面试专栏 ◇", "decoration"),
        ("---", "decoration"),
        ("需要资料的朋友可以扫描下方二维码免费领取", "promotion"),
        ("想要更多题目，欢迎关注公众号，进群一起学习", "promotion"),
        ("喜欢本文记得点赞、收藏、关注", "promotion"),
        ("前排提示，文末有独家资料包哦", "promotion"),
        ("您的位置：首页 > 科技 > 正文", "navigation"),
        ("本文字数：2046 字", "counters"),
        ("最低0.47元/天 解锁文章", "counters"),
    ],
)
def test_furniture_is_cut_with_its_reason(line: str, reason: str) -> None:
    assert cuts(f"标题\n\n{ANSWER}\n\n{line}\n\n{ANSWER}再说一遍。") == [(reason, line)]


@pytest.mark.parametrize(
    "text",
    [
        ANSWER,
        "推荐系统里，用户的点赞、收藏、关注、转发都是隐式反馈，可以加权后当作标签。",
        "评论",
        "1. 评论\n2. 点赞\n3. 收藏行为的建模",
        "原理\n\n把查询与键相乘。\n\n作用\n\n捕捉长距离依赖。",
        "扫码支付场景的大模型客服要先识别意图，再调用工具，最后生成回答，并且把结果写回订单系统。",
        "课程学习先给模型容易的样本，再给困难的样本。",
        "| 方法 | 显存 |\n| --- | --- |\n| LoRA | 少 |",
        "10\n\n20\n\n30\n\n是三种批大小。",
        "思维链让模型先写推理步骤，再写答案。",
        "输出 100\n得分 3.5",
        "为什么要关注长尾？因为长尾样本的损失大。",
        "该卫星已于2008年6月9日发射升空。",
        "最后，参考答案要点：先检索，再重排，最后生成。",
    ],
)
def test_an_answer_is_never_cut(text: str) -> None:
    page = f"标题\n\n{text}\n\n{ANSWER}"
    assert clean(page, "markdown").text == page


def test_buttons_are_cut_only_among_furniture() -> None:
    page = f"{ANSWER}\n\n  • 44\n    点赞\n  • 31\n    收藏\n    不错就一键收藏\n  • 0\n    评论\n提交"
    assert clean(page, "text").text == ANSWER
    assert clean(f"点赞\n\n{ANSWER}", "text").text == f"点赞\n\n{ANSWER}"


def test_an_account_blurb_takes_the_account_name_with_it() -> None:
    page = f"某某研究所\n\n我们分享有趣的论文，欢迎一起讨论。 88篇原创内容\n\n公众号\n\n{ANSWER}\n\n某某研究所"
    assert clean(page, "text").text == ANSWER


def test_code_is_never_touched() -> None:
    code = "```\n在这里插入图片描述\n添加红包\n\n\n\n---\n```"
    assert clean(f"{ANSWER}\n\n{code}\n\n添加红包\n\n{ANSWER}", "markdown").text == f"{ANSWER}\n\n{code}\n\n{ANSWER}"


def test_a_table_of_contents_is_cut_when_its_titles_come_again() -> None:
    body = "一、注意力\n\n正文一。\n\n二、位置编码\n\n正文二。"
    assert clean(f"目录\n\n- 注意力\n- 位置编码\n\n{body}", "text").text == body
    assert clean(f"- [注意力](#a)\n- [位置编码](#b)\n\n{body}", "markdown").text == body


def test_a_list_of_open_questions_is_not_a_table_of_contents() -> None:
    page = "面试题目录\n\n1. 什么是注意力？\n2. 为什么要位置编码？\n3. 怎样归一化？"
    assert clean(page, "text").text == page


def test_an_advertising_tail_is_cut_to_its_end_and_no_further() -> None:
    promotion = (
        "如何系统学习大模型？\n\n新岗位越来越多，先学会的人有竞争优势。\n\n我把学习资料和视频教程都整理好了，免费分享给大家。\n\n"
        "第一阶段（10天）：初阶应用\n\n- 提示工程\n- 检索增强\n\n朋友们如果需要，可以微信扫描下方二维码免费领取"
    )
    page = f"面试题\n\n1、什么是注意力？\n\n{ANSWER}\n\n{ANSWER}\n\n{promotion}"
    assert clean(page, "text").text == f"面试题\n\n1、什么是注意力？\n\n{ANSWER}\n\n{ANSWER}"


PAGE = "面试题\n\n" + "\n\n".join(f"{i}、第{i}个问题是什么？\n\n{ANSWER}" for i in range(1, 9))
PROMOTIONS = (
    # a list of chapters without an advertising word of their own
    "如何系统地去学习大模型？\n\n我整理的学习资料免费分享出来，朋友们可以扫描下方二维码免费领取。\n\n一、全套学习路线\n\n从基础到前沿，掌握核心技能。\n\n"
    "二、报告合集\n\n涵盖了理论、技术与行业。\n\n三、书籍\n\n随着技术的发展，书也多了。\n\n四、落地方案\n\n作为普通人，需要持续学习。",
    "技术交流群\n\n求职内推、面试交流，与很多开发者一起互动。\n\n想要进交流群、获取资料的同学，可以直接加微信号：abc，备注研究方向。",
    "普通人如何抓住大模型的风口？\n\n领取方式在文末\n\n为什么要学大模型？\n\n掌握它的人薪资水涨船高。\n\n第一级：了解背景\n\n适用人群：零基础小白\n\n"
    "学习资料免费领取，扫描二维码即可。",
    "点击上方蓝字关注我们\n\n今天的内容就到这里，喜欢的话记得点赞。\n\n往期推荐\n\n某篇讲位置编码的文章\n\n某篇讲量化的文章",
)


@pytest.mark.parametrize("promotion", PROMOTIONS)
@pytest.mark.parametrize("buttons", ["", "\n\n  • 44\n    点赞\n  • 0\n    评论\n添加红包\n余额充值"])
def test_kinds_of_advertising_tails(promotion: str, buttons: str) -> None:
    assert clean(f"{PAGE}\n\n{promotion}{buttons}", "text").text == PAGE


def test_what_follows_an_advertisement_stays() -> None:
    rest = f"9、第九个问题是什么？\n\n{ANSWER}"
    assert clean(f"{PAGE}\n\n{PROMOTIONS[0]}\n\n{rest}", "text").text == f"{PAGE}\n\n{rest}"


def test_a_real_question_about_learning_stays() -> None:
    page = f"面试题\n\n{ANSWER}\n\n如何学习大模型？\n\n先读论文，再读源码，然后做一个小项目，把每一步的显存和时间都量出来。\n\n{ANSWER}"
    assert clean(page, "text").text == page


def test_front_matter_becomes_metadata() -> None:
    page = "---\ntitle: 注意力笔记\ntags:\n- 面试\n- 注意力\n---\n# 正文\n\n内容"
    cleaned = clean(page, "markdown")
    assert cleaned.metadata == (("title", "注意力笔记"), ("tags", "面试, 注意力"))
    assert cleaned.text == "# 正文\n\n内容"
    assert cleaned.cuts[0].reason == "front_matter"
    assert clean(page, "text").metadata == ()


def test_an_underlined_title_keeps_its_line() -> None:
    page = f"标题\n====\n\n小节\n---\n\n{ANSWER}"
    assert clean(page, "markdown").text == page


def test_every_reason_has_a_name_in_both_languages() -> None:
    for reason in (
        "image",
        "author",
        "counters",
        "payment",
        "navigation",
        "contents",
        "promotion",
        "decoration",
        "blank",
        "front_matter",
    ):
        assert reason_name(reason, "zh") != reason
        assert reason_name(reason, "en").isascii()


LINES = st.sampled_from(
    ["", " ", ANSWER, "# 标题", "目录", "- 一", "1. 什么？", "点赞", "12", "添加红包", "```", "在这里插入图片描述", "a![x](y)b", "---", "===", "上一篇", "公众号",
     "如何学习大模型", "扫码免费领取学习资料", "3篇原创内容", "$$", "| a | b |", "title: x"]
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.lists(LINES, max_size=25).map("\n".join), st.text(max_size=200)), st.sampled_from(["text", "markdown"]))
def test_text_and_cuts_together_are_the_raw_text(raw: str, format: str) -> None:
    cleaned = clean(raw, format)
    rebuilt, position, shift = "", 0, 0
    for cut in cleaned.cuts:
        assert cut.start >= position and cut.end > cut.start
        assert cut.text == raw[cut.start : cut.end]
        rebuilt += cleaned.text[position - shift : cut.start - shift] + cut.text
        shift += cut.end - cut.start
        position = cut.end
    assert rebuilt + cleaned.text[position - shift :] == raw


@pytest.mark.skipif(not SHARED.exists(), reason="the labelled seeds are not here")
def test_boilerplate_of_the_seeds() -> None:
    labels: dict[str, list[tuple[int, int]]] = {}
    for line in (SHARED / "eval" / "seed_boilerplate.jsonl").read_text("utf-8").splitlines():
        label = json.loads(line)
        labels.setdefault(label["document"], []).append((label["start"], label["end"]))
    found = wanted = both = 0
    for name, spans in labels.items():
        raw = files.read(SHARED / "seeds" / name)
        marked = {i for start, end in spans for i in range(start, end) if not raw.text[i].isspace()}
        cut = {i for c in clean(raw.text, raw.format).cuts for i in range(c.start, c.end) if not raw.text[i].isspace()}
        found, wanted, both = found + len(cut), wanted + len(marked), both + len(cut & marked)
    print(f"boilerplate of the seeds, in characters: precision {both / found:.3f}, recall {both / wanted:.3f}")
    assert both / found >= 0.98 and both / wanted >= 0.95


def test_the_brackets_of_a_link_over_several_lines_go() -> None:
    page = f"{ANSWER}\n\n[\n\n缓存\n\n](https://a.example/t/1)\n\n{ANSWER}"
    assert "](" not in clean(page, "markdown").text
    assert clean(f"{ANSWER}\n\n[\n\n缓存", "markdown").text.count("[") == 1  # a bracket that opens no link stays


def test_contents_below_the_text_go() -> None:
    body = f"## 前缀共享\n\n{ANSWER}\n\n## 显存怎么算\n\n{ANSWER}"
    assert clean(f"{body}\n\n目录\n\n- 前缀共享\n\n- 显存怎么算", "markdown").text == body


def test_marks_that_converters_leave_do_not_hide_a_line() -> None:
    page = f'{ANSWER}\n\n粉丝 \\- 12\n\n<a id="t0"></a>点赞\n\n_[图片：网络结构]_'
    assert clean(page, "markdown").text == ANSWER
    assert Page("粉丝 \\- 12\\").core == ["粉丝 - 12"]
