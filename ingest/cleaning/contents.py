"""Tables of contents: a title and the list under it, or a list of links into the page."""

import re
from collections.abc import Mapping
from functools import lru_cache

from ingest.cleaning.page import BULLET, Page

_TITLE = re.compile(
    r"^#*\s*[*_【\[]*(?:.{0,8}(?:快捷|文章|本文|内容|全文)?目\s*录(?:\s*CONTENTS?|如下|一览|导航|索引|[(（].{0,8}[)）])?"
    r"|(?:table of )?contents|toc|导航|(?:本文|章节|内容|课程|本章)?大纲|on this page)"
    r"[*_】\]]*\s*[:：。]?\s*$",
    re.I,
)
_NUMBER = re.compile(r"^[(（]?(?:\d{1,3}(?:\.\d+)*|[一二三四五六七八九十]{1,3})\s*[.、)）:：．]?\s*")
_DECIMAL = re.compile(r"\d{1,2}\.\d")
_LINK_ITEM = re.compile(r"^(?:\d+[.、)]\s*)?\[[^\]]*\]\(#[^)]*\)$")
_LINKS = re.compile(r"(?:\[[^\[\]\n]{1,100}\]\([^()\s]*#[^()\s]+\)[\s|·•,，、]*){3,}")
_TOP = 80  # lines in which a table of contents without a title is looked for
_BUTTON = re.compile(r"收起|展开|hide|show|收起全文", re.I)


def cut_contents(page: Page) -> None:
    """Cut tables of contents. A list of questions under such a title stays unless its titles come again below."""
    early = page.filled[len(page.filled) // 3] if page.filled else 0
    last: dict[str, int] = {}
    headings: set[str] | None = None
    for i, line in page.open_lines():
        if _LINKS.fullmatch(line.strip()):
            page.cut([i], "contents")
        if len(page.core[i]) > 40 or not (_TITLE.match(page.plain[i]) or _TITLE.match(page.core[i])):
            continue
        last = last or {_key(text): j for j, text in enumerate(page.plain) if text and len(text) <= 80}
        if headings is None:
            headings = {_key(page.core[j].strip("# ")) for j in page.filled if page.is_heading(j)}
        items = _short_list(page, i + 1)
        again = sum(1 for j in items if last[_key(page.plain[j])] > items[-1] or _key(page.plain[j]) in headings) if items else 0
        asks = sum(1 for j in items if page.plain[j].endswith(("?", "？")))
        links = sum("](" in page.lines[j] for j in items)
        if len(items) >= 2 and (again * 2 >= len(items) or (not asks and (i <= early or links * 2 >= len(items)))):
            page.cut([i, *items], "contents")
            _cut_first_item(page, i, items)
            continue
        found = _repeated_titles(page, i, last)
        if len(found) >= 2:
            page.cut([i, *found], "contents")
    _cut_untitled(page)
    run: list[int] = []
    for i, text in enumerate([*page.plain, "end"]):
        if _LINK_ITEM.match(text):
            run.append(i)
        elif text:
            if len(run) >= 2:
                page.cut(run, "contents")
            run = []


def _cut_untitled(page: Page) -> None:
    """A list near the top whose items come again below, most of them and in their order."""
    run: list[int] = []
    for i in [*page.filled[:_TOP], -1]:
        bulleted = i >= 0 and BULLET.match(page.lines[i].strip()) and not (page.code[i] or page.reason[i])
        if bulleted and len(page.plain[i]) <= 60 and re.search(r"[^\W\d]{2}", page.plain[i]):
            run.append(i)
            continue
        if len(run) >= 4:
            places = {_key(text): j for j, text in enumerate(page.plain) if j > run[-1] and text and len(text) <= 80}
            places = {key: j for key, j in places.items() if not BULLET.match(page.lines[j].strip())}
            again = [places[key] for j in run if (key := _key(page.plain[j])) in places]
            if len(again) * 5 >= len(run) * 3 and again == sorted(again):
                page.cut(run, "contents")
        run = []


def _short_list(page: Page, start: int) -> list[int]:
    """Lines of a list of short titles from ``start`` on; ends at the first line that is no item of the first one's kind."""
    items: list[int] = []
    keys: set[str] = set()
    bulleted = numbered = False
    for i in range(start, min(start + 400, len(page.lines))):
        text = page.plain[i]
        if not text:
            continue
        is_bulleted = bool(BULLET.match(page.lines[i].strip()))
        is_numbered = bool(_NUMBER.match(text))
        if not items:
            bulleted, numbered = is_bulleted, is_numbered
        ordinary = (is_bulleted, is_numbered) == (bulleted, numbered) or (is_bulleted and bulleted) or _LINK_ITEM.match(text)
        if len(text) > 80 or text[-1] in "。；;" or not (is_bulleted or is_numbered) or not ordinary or page.lines[i][0] == "#":
            break
        if items and _DECIMAL.match(page.plain[items[-1]]) and _top(text) < _top(page.plain[items[-1]]):
            break  # the numbers begin anew: the first section
        key = _key(text)
        if items and not bulleted and key in keys:
            break  # the first section begins with the title of the first item
        items.append(i)
        keys.add(key)
    return items


def _repeated_titles(page: Page, title: int, places: Mapping[str, int]) -> list[int]:
    """Lines without bullets or numbers below a title, as long as each comes again further down; with a button above them."""

    def last(i: int) -> int:
        return places.get(_key(page.plain[i]), -1)

    found: list[int] = []
    buttons: list[int] = []
    for i in range(title + 1, min(title + 200, len(page.lines))):
        text = page.plain[i]
        if not text:
            continue
        if _BUTTON.fullmatch(text) and not found:
            buttons.append(i)
        elif len(text) <= 60 and last(i) > i and not page.code[i] and (not found or last(i) > found[-1] + 1):
            if found and last(found[0]) == i:
                break
            found.append(i)
        else:
            break
    while found and last(found[0]) <= found[-1]:
        found.pop()  # the list has run into the sections themselves
    return [*buttons, *found] if len(found) >= 2 else []


def _cut_first_item(page: Page, title: int, items: list[int]) -> None:
    """A list that begins at 2 has lost its first item to the line above its title."""
    first = re.match(r"\d+", page.plain[items[0]])
    above = next((i for i in range(title - 1, max(title - 4, -1), -1) if page.plain[i]), None)
    if (
        first
        and first[0] == "2"
        and above is not None
        and re.match(r"1\s*[.、]", page.plain[above])
        and len(page.plain[above]) <= 40
    ):
        page.cut([above], "contents")


def _top(text: str) -> int:
    found = re.match(r"\d{1,3}", text)
    return int(found[0]) if found else 1000


@lru_cache(maxsize=4096)
def _key(text: str) -> str:
    """A title without its number and marks, for finding it again."""
    text = re.sub(r"\]\([^)]*\)|[\[\]*#`_]", "", text)
    return re.sub(r"\s+", "", _NUMBER.sub("", text.strip())).lower()
