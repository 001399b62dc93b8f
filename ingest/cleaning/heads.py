"""The first lines of a page: the title of its window, lines about author and date, menus.

What stands there needs less evidence than further down: a date alone, a name and a date, «作者: …» or «分享» say there who wrote
the page, and within an answer something else.
"""

import re
from collections import Counter

from ingest.cleaning.page import BULLET, Page

_EARLY = 10  # lines that are not blank
_TITLE_LINES = 15
_SUFFIX = re.compile(r"\s*(?:[-_|–—·,，].{1,30}|\.(?:docx?|pdf|pptx?)\S{0,6}|\s?\[.{1,8}\])")
_ALT = re.compile(r"\s*[,，_]\s*(?:\S{1,8}|第\s*\d+\s*张)")
_PATH = re.compile(r"(?:[^<>›»。=]{0,59}[^<>›»。=\s-]\s*(?:[>›»]\s*){1,2}){1,6}(?P<title>[^<>›»]{6,120})")
_TITLES = 40  # lines in which the title of a page can stand twice
_LONG = 120  # characters a title has at most
_ABOVE_PATH = 60  # lines above a path like «Home › Notes › title» that can be the menus of the site
_MENU = 12  # lines a menu has at least
_SENTENCE = re.compile(r"[。！？!?；;：:]|[,，].{6}")
_FIELD = re.compile(r"[^\s:：,，。]{1,12}\s?[:：]\s*\S")
_BARE_FIELD = re.compile(
    r"(?:作者|机构|单位|学校|来源|出处|时间|日期|(?:发表|发布)(?:时间|日期)|研究方向|标签|Authors?)\s?[:：]\s*\S", re.I
)
_DATE = re.compile(r"\d{4}[-/.年]\d{1,2}[-/.月]")
_CONTINUED = re.compile(r"^[\s:：,，、(（]")


def cut_early(page: Page) -> None:
    """Cut what the first lines of a page show to be furniture."""
    _cut_window_title(page)
    _cut_menu(page)
    _cut_above_path(page)
    _cut_between_titles(page)
    _cut_cards(page)
    early = page.filled[:_EARLY]
    for n, i in enumerate(early):
        if page.reason[i] or page.code[i] or page.is_row(i) or page.is_heading(i) or page.is_item(i):
            continue
        if in_record(page, i) or (n and page.plain[early[n - 1]].endswith((":", "：")) and not page.reason[early[n - 1]]):
            continue
        below = early[n + 1] if n + 1 < len(early) else None
        if below is not None and _CONTINUED.match(page.plain[below]):
            continue
        reason = page.rules.early.reason(page.core[i]) or (page.rules.below_title.reason(page.core[i]) if 0 < n <= 4 else "")
        page.reason[i] = reason


def in_record(page: Page, i: int) -> bool:
    """Whether a line «name: value» stands in a block of such lines that says more than who wrote the page: the data of a paper."""
    if not _BARE_FIELD.match(page.plain[i]):
        return False
    others = 0
    for step in (-1, 1):
        j = i + step
        while 0 <= j < len(page.lines) and abs(j - i) <= 8 and _FIELD.match(page.plain[j]):
            others += not (page.reason[j] or page.rules.early.reason(page.core[j]) or page.rules.weak.reason(page.core[j]))
            j += step
    return others > 0


def _cut_window_title(page: Page) -> None:
    """«title - name of the site» above the title itself, and the title with a word behind it: the description of an image."""
    top = page.filled[:_TITLE_LINES]
    titles = {page.core[i] for i in top if 8 <= len(page.core[i]) <= 100}
    for n, i in enumerate(top):
        text = page.core[i]
        if page.reason[i] or len(text) > 160:
            continue
        for title in titles:
            if text != title and text.startswith(title) and _SUFFIX.fullmatch(text, len(title)) and n <= 4:
                page.reason[i] = "navigation"
    name = next((page.core[i] for i in top if not page.reason[i] and len(page.core[i]) >= 8), "")
    if name and len(name) <= 100:
        for i in page.filled:
            if (
                not page.reason[i]
                and not page.code[i]
                and page.core[i].startswith(name)
                and _ALT.fullmatch(page.core[i], len(name))
            ):
                page.reason[i] = "image"


def _cut_menu(page: Page) -> None:
    """A long run of short lines above the text, many of which come twice (for wide and narrow windows) or are buttons."""
    run: list[int] = []
    for i in page.filled[:400]:
        text = page.plain[i]
        if page.code[i] or page.is_row(i) or page.is_heading(i) or _SENTENCE.search(text) or page.is_item(i):
            break
        if len(text) > (40 if len(run) < 2 or BULLET.match(page.lines[i].strip()) or page.reason[i] else 14):
            break
        run.append(i)
    times = Counter(page.plain[i] for i in run)
    twice = [page.plain[i] for i in run if times[page.plain[i]] > 1]
    known = [n for n, i in enumerate(run) if times[page.plain[i]] > 1 or page.rules.words_of(page.core[i])[0] or page.reason[i]]
    buttons = sum(bool(page.rules.words_of(page.core[i])[0]) for i in run)
    if len(run) < _MENU or len(known) * 3 < len(run) or buttons < 2 or len(twice) * 5 < len(run):
        return
    end = known[-1]
    while end + 1 < len(run) and len(page.plain[run[end + 1]]) <= 24 and BULLET.match(page.lines[run[end + 1]].strip()):
        end += 1
    page.cut(run[: end + 1], "navigation")


def _cut_above_path(page: Page) -> None:
    """All above «Home › Notes › title» when that title stands below it and nothing above it is written as text."""
    top = page.filled[:_ABOVE_PATH]
    for n, i in enumerate(top):
        text = page.plain[i]
        if page.code[i] or page.is_row(i) or page.is_heading(i) or (len(text) > 160 and not page.reason[i]) or text[-1:] == "。":
            return
        path = _PATH.fullmatch(text)
        title = _letters(path["title"]) if path else ""
        below = page.filled[n + 1 : n + 8]
        at = next((k for k, j in enumerate(below) if title and _letters(page.core[j]) == title), -1)
        if at >= 0:
            page.cut([j for j in page.filled[: n + 1] if _letters(page.core[j]) != title], "navigation")
            page.cut([j for j in below[:at] if page.is_short(j)], "navigation")
            return


def _letters(text: str) -> str:
    return re.sub(r"\W+", "", text)


def _cut_between_titles(page: Page) -> None:
    """What stands above the first and between two lines with the title of the page, when none of it is text."""
    top = page.filled[:_TITLES]
    places: dict[str, list[int]] = {}
    for n, i in enumerate(top):
        if page.code[i] or page.is_row(i) or page.is_numbered(i) or page.is_heading(i):
            break
        text = page.plain[i]
        if (
            12 <= len(text) <= _LONG
            and len(_letters(text)) >= 8
            and not page.reason[i]
            and not _DATE.search(text)
            and text[-1] not in "。；;：:."
        ):
            places.setdefault(text, []).append(n)
    title = max((text for text, found in places.items() if len(found) > 1), key=len, default="")
    if not title:
        return
    first, last = places[title][0], places[title][-1]
    for block in (top[:first], top[first + 1 : last]):
        between = [i for i in block if not page.reason[i] and page.plain[i] != title]
        if len(block) <= 20 and all(page.is_short(i) and len(page.plain[i]) <= len(title) and not page.is_item(i) for i in between):
            page.cut(between, "navigation")


def _cut_cards(page: Page) -> None:
    """«关于作者» and the lines or list right below it, «推荐链接» and its links."""
    for n, i in enumerate(page.filled):
        if len(page.core[i]) > 20 or page.reason[i] or page.code[i] or not page.rules.cards.fullmatch(page.core[i].rstrip(":： ")):
            continue
        if page.is_heading(i) or BULLET.match(page.lines[i].strip()):
            continue
        card: list[int] = []
        for j in page.filled[n + 1 : n + 10]:
            bulleted = bool(BULLET.match(page.lines[j].strip()))
            ended = card and (j - card[-1] > 1 + bulleted or bulleted != bool(BULLET.match(page.lines[card[0]].strip())))
            if ended or len(page.plain[j]) > 80 or page.plain[j][-1:] in "。；;?？" or page.code[j] or page.is_heading(j):
                break
            card.append(j)
        if card and (card[0] - i == 1 or BULLET.match(page.lines[card[0]].strip())):
            page.cut([i, *card], "author")
