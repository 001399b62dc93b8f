"""The line model: what it sees of a line, what it cuts that no rule knows, and what it never touches."""

import pytest

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


def test_the_weights_say_what_they_were_fitted_on() -> None:
    model = line_model()
    assert 0.9 <= model.threshold < 1 and model.alone and model.context
