"""Advertising: lines with several kinds of advertising words, and blocks of such lines.

Words within quotation marks are spoken about, not spoken: a note on filtering «免费领取» is no advertisement.
"""

import re
from bisect import bisect_right

from ingest.cleaning.page import BULLET, Page

QUOTED = re.compile(r"[「『“\"'‘][^「」『』“”\"'‘’\n]{1,40}[」』”\"'’]")
MENTIONED = re.compile(
    r"(?:例如|比如|诸如|像|类似|叫做?|包含|含有|删除|去掉|过滤|出现|写着|标为|识别|如|把|将)\s*[「『“\"]|[」』”\"]\s*(?:之类|这类|等|这样的|这种|字样|的行)"
)
"""What shows that a line speaks about words within quotation marks."""
_TERMS = 4  # kinds of words that the terms of a site have and an answer has not together
_LONGEST = 400  # characters of a line that can be an advertisement as a whole


def cut_promotion(page: Page) -> None:
    """Cut advertising lines and blocks."""
    hard: dict[int, set[str]] = {}
    soft: dict[int, set[str]] = {}
    terms: dict[int, int] = {}
    for i, line in page.open_lines():
        if page.is_row(i) or not page.rules.advertises.search(line):
            continue
        spoken = QUOTED.sub("", line)
        kinds = {name for name, pattern in page.rules.hard.items() if pattern.search(spoken)}
        called = bool(page.rules.call.search(spoken))
        if kinds:
            hard[i] = kinds
        others = {name for name, pattern in page.rules.soft.items() if pattern.search(spoken)}
        if others:
            soft[i] = others
        if len(line) <= _LONGEST and (found := sum(bool(pattern.search(spoken)) for pattern in page.rules.terms.values())) >= 2:
            terms[i] = found
        asks = page.is_item(i)
        several = len(kinds) >= (3 if asks else 2)
        if len(line) <= _LONGEST and (
            (several and (called or len(kinds) >= 3 or len(line) <= 120))
            or (kinds and called and len(line) <= 160 and not asks)
            or (len(line) <= 80 and not asks and page.rules.gesture.search(spoken))
        ):
            page.cut([i], "promotion")
    _cut_terms(page, terms)
    _cut_blocks(page, hard, soft)


def _cut_terms(page: Page, terms: dict[int, int]) -> None:
    """Lines about the terms of the site, numbered or not: one that shows many kinds of their words, and others beside it."""
    place = {i: n for n, i in enumerate(page.filled)} if terms else {}
    for order in (sorted(terms), sorted(terms, reverse=True)):
        found = -9
        for i in order:
            if page.reason[i] == "" and terms[i] >= (2 if abs(place[i] - found) <= 2 else _TERMS):
                page.cut([i], "promotion")
                found = place[i]


def _cut_blocks(page: Page, hard: dict[int, set[str]], soft: dict[int, set[str]]) -> None:
    filled = [i for i, text in enumerate(page.plain) if text]
    place = {i: n for n, i in enumerate(filled)}
    hits = sorted(place[i] for i in {*hard, *soft} if i in place)
    done = -1
    for n, i in enumerate(filled):
        # The first fifth of a page is its title and introduction, whatever it sounds like.
        if n <= done or n * 5 < len(filled) or page.code[i] or len(page.plain[i]) > 40:
            continue
        if not page.rules.start.fullmatch(page.core[i].strip("# 【】[]0123456789.、")):
            continue
        region = _region(n, hits)
        if region and region[0] - n <= 3 and page.reason[filled[region[0]]] == "promotion":
            done = region[0]  # the title of an advertisement that was cut line by line
            page.cut(range(i, filled[done]), "promotion")
        kinds_hard = {kind for m in region for kind in hard.get(filled[m], ())}
        kinds = kinds_hard | {kind for m in region for kind in soft.get(filled[m], ())}
        if region and len(kinds_hard) >= 2 and len(kinds) >= 3:
            done = region[-1]
            while done + 1 < len(filled) and BULLET.match(page.lines[filled[done + 1]].strip()) and region[-1] != n:
                done += 1  # the list under the last advertising line
            page.cut(range(i, filled[done] + 1), "promotion")


def _region(start: int, hits: list[int]) -> list[int]:
    """Advertising lines that follow ``start`` closely enough to be one block (numbers of non-blank lines)."""
    region: list[int] = []
    last, gap = start, 12
    for hit in hits[bisect_right(hits, start) :]:
        if hit - last > gap:
            break
        region.append(hit)
        last, gap = hit, 24
    return region
