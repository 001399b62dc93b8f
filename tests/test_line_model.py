"""The line model: what it sees of a line, what it cuts that no rule knows, and what it never touches."""

import pytest

from ingest.cleaning import line_model as line_model_module
from ingest.cleaning.clean import clean, cut_by_rules
from ingest.cleaning.line_features import cues_of, line_features, n_grams
from ingest.cleaning.line_model import LineModel, line_model, may_be_cut, title_line
from ingest.cleaning.page import Page

TEXT = "多头注意力把维度拆成若干份，各自计算注意力，再拼接起来，因此能同时关注不同的关系，代价却几乎不变。"


def test_cues_are_the_longest_words_and_latin_ones_are_whole() -> None:
    assert cues_of("版权声明") == [("版权", "legal"), ("声明", "legal")]
    assert cues_of("相关推荐") == [("相关推荐", "related")]
    assert [word for word, _ in cues_of("Sign in homework")] == ["sign in"]


def test_n_grams_of_a_short_line() -> None:
    assert n_grams("写留言 Log in") == ["=in", "=log", "=log in", "=写留", "=写留言", "=留言"]


def test_the_place_of_a_line_is_a_feature() -> None:
    features = line_features(Page(f"标题\n\n{TEXT}\n\n{TEXT}\n\n换一换"))
    assert "above the paragraphs 1" in features[0]
    assert "below the paragraphs 1" in features[3] and "from bottom 0" in features[3]


def test_a_chance_is_the_logistic_of_the_weights() -> None:
    page = Page("一\n二")
    model = LineModel({"": 0.0}, {"": 0.0, "at -1 edge": 2.0}, 0.5)
    assert model.chances(page, [False, False]) == [pytest.approx(0.8808, abs=1e-4), 0.5]


@pytest.mark.parametrize("line", ["```", "| a | b |", "# 标题", "1. 评论", "有帮助吗？", "$x$", "y = wx"])
def test_what_is_never_judged(line: str) -> None:
    page = Page(f"{TEXT}\n{line}")
    assert not may_be_cut(page, 1)


def test_an_answer_below_its_question_is_never_judged() -> None:
    page = Page(f"{TEXT}\n要不要加偏置？\n不要\n换一换")
    assert [may_be_cut(page, n) for n in range(4)] == [True, False, False, True]


def test_items_that_are_counted_out_are_never_judged() -> None:
    page = Page(f"{TEXT}\n方法 3\n方法 4\n阅读 12\n换一换")
    assert [may_be_cut(page, n) for n in range(5)] == [True, False, False, True, True]


def test_the_title_is_the_least_like_furniture_above_the_first_paragraph() -> None:
    page = Page(f"某某社区\n注意力的代价\n2024-01-02\n{TEXT}")
    assert title_line(page, [0.9, 0.5, 0.4, 0.1]) == 1


def test_a_tail_that_no_rule_knows_is_cut_with_a_reason() -> None:
    tail = ["技术热门专栏", "我要投稿", "青少年守护", "主页登录", "查看更多热门活动", "社区精品课程", "本站客服", "收藏本站"]
    body = "\n\n".join([f"{TEXT}第{n}次。" for n in range(6)])
    raw = "注意力的代价\n\n" + body + "\n\n" + "\n".join(tail)
    ruled = Page(raw)
    cut_by_rules(ruled, "text")
    assert not any(ruled.reason)
    cleaned = clean(raw, "text")
    assert cleaned.text == "注意力的代价\n\n" + body
    assert {cut.reason for cut in cleaned.cuts if cut.reason != "blank"} <= {
        "page_furniture",
        "navigation",
        "promotion",
        "counters",
    }


TEASERS = [
    line
    for n in range(6)
    for line in (
        f"读懂分词的第{n}步",
        "小船的博客",
        f"0{n + 1}-12",
        "阅读 1532",
        f"分词器把句子切成词元，词表越大序列越短，第{n}步讲的是怎样合并最常见的一对，并说明训练语料为什么要先清洗。",
    )
]


def test_teasers_of_other_articles_go_and_the_last_sentence_stays() -> None:
    body = "\n\n".join([f"{TEXT}第{n}次。" for n in range(4)])
    raw = (
        "# 注意力的代价\n\n"
        + body
        + "\n\n"
        + "\n\n".join(["[关注](javascript:;)", "专栏目录", *TEASERS, "“相关推荐”对你有帮助么？"])
    )
    assert clean(raw, "markdown").text == "# 注意力的代价\n\n" + body


def test_a_tail_begins_behind_text_unless_furniture_is_clear_above_it() -> None:
    page = Page(f"一\n{TEXT}\n点赞 3\n评论 4\n收藏 5\n分享 6\n{TEXT}\n举报")
    alone = [0.5, 0.1, 0.9, 0.9, 0.9, 0.9, 0.1, 0.9]
    assert line_model_module._begun(page, alone, 1) == 2
    alone[3] = 0.4  # three clear lines are not enough
    assert line_model_module._begun(page, alone, 2) == 7


def test_what_the_rules_cut_for_its_neighbours_comes_back_when_it_is_text() -> None:
    page = Page(f"{TEXT}\n{TEXT}再一次。\n{TEXT}又一次。\n{TEXT}最后一次。")
    page.reason[1], page.guessed = "navigation", {1}
    page.reason[2] = "navigation"
    line_model_module.cut_learned(page)
    assert page.reason == ["", "", "navigation", ""]


def test_a_line_of_the_head_without_a_word_about_the_page_may_be_its_title() -> None:
    page = Page("注意力为什么要缩放\n关注我的公众号不迷路\n[链接着的标题也很长](https://a.example)")
    assert [line_model_module._may_be_title(page, i) for i in range(3)] == [True, False, False]


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("[关注](javascript:;)", "nowhere"),
        ("[前言](#t1)", "the page"),
        ("[分词](https://a.example/tag/3)", "a listing"),
        ("[某站](https://a.example/)", "a site"),
        ("[分词器](https://a.example/p/17.html)", "an article"),
    ],
)
def test_what_a_link_leads_to(line: str, target: str) -> None:
    (features,) = line_features(Page(line))
    assert f"links to {target}" in features


def test_the_weights_say_what_they_were_fitted_on() -> None:
    model = line_model()
    assert 0.9 <= model.threshold < 1 and model.alone and model.context
