"""What several documents have at their edges is furniture; what they say is not."""

import random

from ingest.cleaning.clean import clean
from ingest.cleaning.page import Page
from ingest.cleaning.repetition import cut_repeated, edges_of, repeated_lines

BODIES = (
    "缓存把键和值留下来，解码的时候就不用再算一遍，代价是显存。",
    "量化把权重变成整数，显存因此变小，精度会有一点点的下降。",
    "位置编码告诉模型词的次序，没有它注意力对次序不敏感，是集合。",
    "归一化让每一层的输入稳定，训练因此变快，学习率也可以更大。",
)


def page(body: str, head: str = "蓝鲸研习社 · 每日一练", tail: str = "蓝鲸研习社出品") -> str:
    return f"{head}\n\n{body[:2]}的笔记\n\n什么是{body[:2]}？\n\n{body}\n\n什么是最大长度？\n\n4096\n\n{tail}"


def documents(*texts: str) -> dict[str, str]:
    return {str(n): text for n, text in enumerate(texts)}


def repeated(texts: dict[str, str]) -> frozenset[str]:
    return repeated_lines({name: edges_of(text) for name, text in texts.items()})


def test_headers_and_footers_of_a_site_are_found_and_cut() -> None:
    found = repeated(documents(*(page(body) for body in BODIES)))
    assert {"蓝鲸研习社 · 每日一练", "蓝鲸研习社出品"} <= found
    cleaned = clean(page(BODIES[0]), "text", repeated=found)
    assert cleaned.text == f"缓存的笔记\n\n什么是缓存？\n\n{BODIES[0]}\n\n什么是最大长度？\n\n4096"
    assert [cut.reason for cut in cleaned.cuts] == ["repeated", "repeated"]


def test_two_documents_are_not_enough_and_copies_count_once() -> None:
    assert "蓝鲸研习社出品" not in repeated(documents(page(BODIES[0]), page(BODIES[1])))
    assert repeated(documents(*[page(BODIES[0]) + "\n" * n for n in range(5)])) == frozenset()


def test_questions_answers_and_titles_are_content_however_often_they_occur() -> None:
    texts = documents(
        *(f"面试题\n\n## 基础\n\n什么是缓存？\n\n{body}\n\n1. 什么归一化？\n\nRMSNorm\n\n总结\n\n参考答案" for body in BODIES)
    )
    found = repeated(texts)
    assert not any(line in found for line in ("什么是缓存？", "## 基础", "总结", "参考答案", "1. 什么归一化？"))
    for text in texts.values():
        assert clean(text, "markdown", repeated=found | {"rmsnorm"}).text == text


def test_a_repeated_line_in_the_middle_stays() -> None:
    text = f"题目\n\n{BODIES[0]}\n\n蓝鲸研习社出品\n\n{BODIES[1]}\n\n{BODIES[2]}"
    assert clean(text, "text", repeated=frozenset(["蓝鲸研习社出品"])).text == text


def test_the_order_of_documents_does_not_matter() -> None:
    texts = list(documents(*(page(body) for body in BODIES)).items())
    wanted = repeated(dict(texts))
    for seed in range(5):
        random.Random(seed).shuffle(texts)
        assert repeated(dict(texts)) == wanted


def test_a_line_right_below_a_heading_is_content_and_one_below_the_title_is_not() -> None:
    below_heading = Page("# 一篇\n\n正文讲的是注意力的计算。\n\n## 总结\n\n就是这样算的")
    cut_repeated(below_heading, frozenset({"就是这样算的"}))
    assert not any(below_heading.reason)
    below_title = Page("# 一篇\n\n苍山夜读的每周一篇\n\n正文讲的是注意力的计算。\n\n## 总结\n\n它由相似度决定。")
    cut_repeated(below_title, frozenset({"苍山夜读的每周一篇"}))
    assert below_title.reason[2] == "repeated"
