"""Furniture that no rule knows: a chance for each line, learned from labelled pages, and a cut where it is nearly sure.

Two logistic regressions over named features (``line_features``): the first looks at a line alone, the second at the first's
judgement of the lines around it, which smooths the page into zones (stacked sequential learning, Cohen and Carvalho 2005). The
weights stand in ``line_weights.json``, which says what they were fitted on; ``tests/bench/fit_lines.py`` makes it.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from ingest.cleaning.line_features import context_features, is_paragraph, line_features
from ingest.cleaning.page import Page

_FORMULA = re.compile(r"\$[^$]|\\[\[(a-zA-Z]|[≈→∑∈√]|[^=!<>]=[^=>]")
_NO_TITLE = re.compile(r"\d{4}[-/.年]\s?\d|[:：]\s?$|://|^[\d\s.,:/kKwW万+]+$")
_REASONS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("comments", re.compile(r"评论|留言|回复|\b(?:comment|reply|responses?)", re.I)),
    (
        "promotion",
        re.compile(r"免费|领取|福利|二维码|扫码|公众号|微信|进群|名额|训练营|\b(?:subscribe|newsletter|free|offer)", re.I),
    ),
    (
        "author",
        re.compile(
            r"作者|版权|转载|著作权|来源|出处|发布于|发表于|编辑于|©|(?:19|20)\d\d\s?[-/.年]\s?\d|\b(?:by|posted|published|updated|copyright)\b",
            re.I,
        ),
    ),
    (
        "counters",
        re.compile(
            r"阅读|浏览|点赞|收藏|关注|分享|粉丝|^[\d.,]+\s?[kKwW万]?\+?$|\b(?:views|likes|share|follow|sign (?:in|up)|log in)\b",
            re.I,
        ),
    ),
    (
        "navigation",
        re.compile(r"首页|导航|菜单|上一|下一|推荐|相关|热门|返回|更多|\b(?:home|menu|next|previous|related|skip)\b", re.I),
    ),
)


@dataclass(frozen=True, slots=True)
class LineModel:
    """Weights by the name of the feature: of a line alone, and of a line among its neighbours; ``threshold`` is a chance."""

    alone: dict[str, float]
    context: dict[str, float]
    threshold: float

    def chances(self, page: Page, cut: Sequence[bool]) -> list[float]:
        """The chance of being furniture for each line of ``page.filled``; ``cut`` tells which of them the rules cut."""
        alone = [_chance(self.alone, features) for features in line_features(page)]
        alone = [0.01 if page.code[i] or page.is_row(i) else c for i, c in zip(page.filled, alone, strict=True)]
        return [_chance(self.context, features) for features in context_features(page, alone, cut)]


def _chance(weights: dict[str, float], features: Sequence[str]) -> float:
    score = weights[""] + sum(weights.get(name, 0.0) for name in features)
    return 1 / (1 + math.exp(-max(min(score, 30.0), -30.0)))


@lru_cache(maxsize=1)
def line_model() -> LineModel:
    """The model of ``line_weights.json``, read once."""
    table = json.loads(resources.files("ingest.cleaning").joinpath("line_weights.json").read_text("utf-8"))
    return LineModel(table["alone"], table["context"], table["threshold"])


def may_be_cut(page: Page, n: int) -> bool:
    """Whether the model may judge the ``n``-th filled line: no code, row, formula, heading or question, nor what answers one.

    Nor a line that differs from its neighbour in its number alone.
    """
    i = page.filled[n]
    if page.reason[i] or page.code[i] or page.is_row(i) or page.is_item(i) or page.is_heading(i):
        return False
    if len(page.core[i]) > 600 or (_FORMULA.search(page.core[i]) and "://" not in page.core[i]):
        return False
    above = page.filled[n - 1] if n else -1
    if any(_counted(page, i) == _counted(page, j) != "" for j in page.filled[max(n - 1, 0) : n] + page.filled[n + 1 : n + 2]):
        return False
    return above < 0 or bool(page.reason[above]) or not page.is_item(above)


def _counted(page: Page, i: int) -> str:
    """A line without its numbers, if it has both letters and numbers: «方法 3» beside «方法 4» is a counted list."""
    text = page.core[i]
    bare = re.sub(r"\d+", "", text)
    return bare if bare != text and any(char.isalpha() for char in bare) and not re.search(r"[-/:：年月]", bare) else ""


def cut_learned(page: Page) -> None:
    """Cut the lines that the model holds for furniture, each for the reason that its words or the cut beside it give."""
    if len(page.filled) < 4:
        return
    model = line_model()
    chances = model.chances(page, [bool(page.reason[i]) for i in page.filled])
    title = title_line(page, chances)
    for n, i in enumerate(page.filled):
        if not page.reason[i] and n != title and chances[n] >= model.threshold and may_be_cut(page, n):
            page.cut([i], next((reason for reason, words in _REASONS if words.search(page.core[i])), "page_furniture"))


def title_line(page: Page, chances: Sequence[float]) -> int:
    """Which filled line may be the title: the least like furniture above the first paragraph; -1 where a heading stands there."""
    best, found = 2.0, -1
    for n, i in enumerate(page.filled[:60]):
        if page.is_heading(i):
            return -1
        if is_paragraph(page, i):
            break
        text = page.core[i]
        if not page.reason[i] and 4 <= len(text) <= 120 and not _NO_TITLE.search(text) and chances[n] < best:
            best, found = chances[n], n
    return found
