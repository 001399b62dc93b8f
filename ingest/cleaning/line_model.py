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

from ingest.cleaning.heads import in_record
from ingest.cleaning.line_features import context_features, cues_of, is_paragraph, line_features, linked
from ingest.cleaning.page import Page

_FORMULA = re.compile(r"\$[^$]|\\[\[(a-zA-Z]|[≈→∑∈√]|[^=!<>]=[^=>]")
_LIKELY = 0.9  # the chance from which a line is cut in the head of a page
_HEAD = 120  # lines in which a head is looked for
_ENOUGH = 5.0  # the sum that a head or tail needs
_FALL = 8.0  # how far the sum may fall between two pieces of furniture of one head or tail
_LONELY = -2.5  # what one or two lines of text between furniture cost at most
_NEUTRAL = {"image", "decoration", "contents"}  # stand within a text as well as around it
_PLAIN = 0.8  # the chance of a line alone from which it is furniture without its neighbours
_CLEAR = 4  # such lines that a tail must show before text may be part of it
_TEXT = 0.2  # the chance of a line alone below which it is text, whatever stands around it
_LONG_TEXT = 0.97  # the same for a line written as a sentence
_KEPT = 0.3  # the same for a line that the rules cut for its neighbours
_DOUBT = 0.05  # the chance that text by itself has at most
_CLAUSE = re.compile(r"[，。；、]|, | [a-z]+ [a-z]+ [a-z]+ ")
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

    def alone_chances(self, page: Page) -> list[float]:
        """The chance of being furniture for each line of ``page.filled``, from what the line itself shows."""
        found = [_chance(self.alone, features) for features in line_features(page)]
        return [0.01 if page.code[i] or page.is_row(i) else c for i, c in zip(page.filled, found, strict=True)]

    def chances(self, page: Page, cut: Sequence[bool]) -> list[float]:
        """The same, from the lines around it as well; ``cut`` tells which of them the rules cut."""
        return self.chances_among(page, self.alone_chances(page), cut)

    def chances_among(self, page: Page, alone: Sequence[float], cut: Sequence[bool]) -> list[float]:
        """As :meth:`chances`, from the chances of the lines alone."""
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
    if in_record(page, i):
        return False
    if any(_counted(page, i) == _counted(page, j) != "" for j in page.filled[max(n - 1, 0) : n] + page.filled[n + 1 : n + 2]):
        return False
    return above < 0 or bool(page.reason[above]) or not page.is_item(above)


def _counted(page: Page, i: int) -> str:
    """A line without its numbers, if it has both letters and numbers: «方法 3» beside «方法 4» is a counted list."""
    text = page.core[i]
    bare = re.sub(r"\d+", "", text)
    return bare if bare != text and any(char.isalpha() for char in bare) and not re.search(r"[-/:：年月]", bare) else ""


def cut_learned(page: Page) -> None:
    """Cut what the model holds for furniture: within the text what is nearly sure, in head and tail of the page what is likely.

    Each line is cut for the reason that its words give. What the rules cut for its neighbours alone comes back when it is text.
    """
    if len(page.filled) < 4:
        return
    model = line_model()
    alone = model.alone_chances(page)
    chances = model.chances_among(page, alone, [bool(page.reason[i]) for i in page.filled])
    title = title_line(page, chances)
    judged = [min(c, a, _DOUBT) if is_text(page, i, a) else c for i, c, a in zip(page.filled, chances, alone, strict=True)]
    head, tail = ends(page, judged)
    tail = _begun(page, alone, tail)
    for n, i in enumerate(page.filled[:tail]):
        if i in page.guessed and alone[n] < _KEPT:
            page.reason[i] = ""  # the rules went by its neighbours; by itself it is text
    for n, i in enumerate(page.filled):
        within = head <= n < tail
        sure = chances[n] >= (model.threshold if within else _LIKELY) and n != title and may_be_cut(page, n)
        sure = sure and (within or (alone[n] >= 0.5 and not _may_be_title(page, i) and not is_text(page, i, alone[n])))
        if not page.reason[i] and (sure or n >= tail):
            page.cut([i], next((reason for reason, words in _REASONS if words.search(page.core[i])), "page_furniture"))


def ends(page: Page, chances: Sequence[float]) -> tuple[int, int]:
    """Where the head of the page ends and where its tail begins (numbers of filled lines).

    Each line counts for or against, by its chance; the head is the beginning with the largest sum, the tail the end that has it.
    A line of text alone between furniture counts little: it is the beginning of another article, or a comment. The longest piece of
    text that furniture does not part belongs to neither.
    """
    filled = page.filled
    neutral = [page.reason[i] in _NEUTRAL for i in filled]
    gone = [bool(page.reason[i]) or c >= 0.5 for i, c in zip(filled, chances, strict=True)]
    values = [0.0] * len(filled)
    run: list[int] = []
    first, last, longest = 0, len(filled), 0.0
    for n in range(len(filled) + 1):
        if n < len(filled) and neutral[n]:
            continue
        if n < len(filled) and not gone[n]:
            run.append(n)
            continue
        size = sum((1 - chances[m]) * min(len(page.core[filled[m]]), 200) for m in run)
        if size > longest:
            first, last, longest = run[0], run[-1] + 1, size
        for m in run:
            values[m] = _value(page, filled[m], chances[m], len(run))
        if n < len(filled):
            values[n] = _value(page, filled[n], chances[n], 0)
        run = []
    return _best(values[: min(first, _HEAD)]), len(filled) - _best(values[: last - 1 : -1] if last else [])


def _begun(page: Page, alone: Sequence[float], tail: int) -> int:
    """Where a tail begins for sure: above text there must be several lines that are furniture by themselves.

    The last lines of a text can look like furniture only because of what follows them.
    """
    start, clear = tail, 0
    for n in range(tail, len(page.filled)):
        i = page.filled[n]
        if page.reason[i] in _NEUTRAL:
            continue
        if page.reason[i] or alone[n] >= _PLAIN:
            clear += 1
        elif clear < _CLEAR and not (linked(page, i) or page.core[i].endswith(("...", "…"))):
            start, clear = n + 1, 0
    return start


def _may_be_title(page: Page, i: int) -> bool:
    """Whether a line of the head is long enough for a title, and neither links nor speaks of the page."""
    text = page.core[i]
    if not 8 <= len(text) <= 120 or _NO_TITLE.search(text) or linked(page, i) or page.rules.words_of(text)[0]:
        return False
    return all(kind in ("content", "ask") for _, kind in cues_of(text))


def is_text(page: Page, i: int, alone: float) -> bool:
    """Whether a line is text by itself, whatever stands around it: no link, no teaser of another article, but a sentence."""
    text = page.core[i]
    if page.reason[i] or linked(page, i) or text.endswith(("...", "…", "..")):
        return False
    return alone < _TEXT or (len(text) >= 30 and bool(_CLAUSE.search(text)) and alone < _LONG_TEXT)


def _value(page: Page, i: int, chance: float, run: int) -> float:
    """What a line adds to a head or tail; ``run`` is the number of lines of text that it stands among."""
    if page.reason[i] and i not in page.guessed:
        return 3.0
    if page.code[i] or page.is_row(i) or (_FORMULA.search(page.core[i]) and "://" not in page.core[i]):
        return -8.0
    value = max(min(math.log(max(chance, 1e-9) / max(1 - chance, 1e-9)), 3.0), -4.0)
    if value < 0 and (page.is_heading(i) or page.is_item(i)):
        return -6.0
    if value < 0 and run <= 2:
        return max(value, _LONELY)
    return value * (1.5 if value < 0 and len(page.core[i]) > 40 else 1.0)


def _best(values: Sequence[float]) -> int:
    """How many of the values, from the first on, have the largest sum; none where it is small. A deep fall ends the search."""
    total = highest = 0.0
    best = 0
    for n, value in enumerate(values, 1):
        total += value
        if total > highest:
            highest, best = total, n
        elif total < highest - _FALL:
            break
    return best if highest >= _ENOUGH else 0


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
