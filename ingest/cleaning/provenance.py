"""Author, date and address of a page, read from what was cut out of it."""

import re
from collections.abc import Sequence

_DATE = re.compile(r"(?<!\d)((?:19|20)\d{2})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})(?!\d)")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_ENGLISH_DATE = re.compile(r"\b(" + "|".join(_MONTHS) + r")[a-z]{0,6}\.? (\d{1,2}),? ((?:19|20)\d{2})\b", re.I)
_ADDRESS = re.compile(r"https?://[^\s<>()（）\[\]「」《》，。；、\"']{4,500}")
_OWN_ADDRESS = re.compile(r"(?:本文|原文|文章)(?:链接|地址)|(?:出处|来源|链接|转载自|address|source|url)\s*[:：]|版权声明", re.I)
_AUTHORS = (
    re.compile(
        r"(?:本文|原文|文章)?作者\s*(?:[:：|｜丨／]|(?<=文章作者)\s)\s*(?P<name>[^\s|｜:：,，。·]{1,30}(?: [A-Z][^\s|]{0,20})?)"
    ),
    re.compile(
        r"^(?P<name>(?!发布|发表|首发|编辑|修改|更新|最新|本文|文章)[^\s|｜:：,，。·]{1,30})\s*已?于\s*(?:19|20)\d{2}[-/.年]"
    ),
    re.compile(r"(?:撰文|文)\s*[|｜丨／]\s*(?P<name>[^\s|｜,，。]{1,30})"),
    re.compile(r"原创\s+(?P<name>\S{1,30})\s+\S.{0,60}\d{4}\s*[年/.-]"),
    re.compile(r"博主[「“](?P<name>[^」”]{1,40})[」”]的原创"),
    re.compile(r"posted (?:@|on) \d{4}\S* \d{1,2}:\d{2}\s+(?P<name>\S{1,40})\s+阅读"),
    re.compile(r"\b(?:written|posted|published|authored) by[:\s]+(?P<name>[A-Z][\w.'-]*(?: [A-Z][\w.'-]*){0,3})", re.I),
)
_NOT_THE_DATE = re.compile(r"回复|©|copyright|备案|ICP", re.I)
_SAYS_WHEN = re.compile(r"发布|发表|首发|原创|编辑|修改|更新|转载|posted|published|written|updated|edited|modified", re.I)
_SOURCES = frozenset({"author", "page_furniture", "navigation", "counters", "promotion", "repeated"})


def provenance(lines: Sequence[tuple[str, str, bool]]) -> tuple[tuple[str, str], ...]:
    """Pairs with the keys author, date (ISO) and address, each at most once: the first that is found, from the top of the page.

    ``lines`` are those that were cut, each as (reason, text, whether it stands early on the page): a bare date further down is that
    of a comment. A date of publication goes before one of an edit; an address counts only where the line says
    that it is the page's own.
    """
    author = date = address = ""
    edited = False
    for reason, text, early in lines:
        line = text.strip()
        if reason not in _SOURCES or len(line) > 300:
            continue
        author = author or _author(line)
        if _OWN_ADDRESS.search(line) and (found := _ADDRESS.search(line)):
            address = address or found[0].rstrip(".,;")
        if (early or _SAYS_WHEN.search(line)) and not _NOT_THE_DATE.search(line) and (stated := _date(line)):
            later = bool(re.search(r"修改|编辑于|更新|updated|modified|edited", line, re.I))
            if not date or (edited and not later):
                date, edited = stated, later
    found_pairs = (("author", author), ("date", date), ("address", address))
    return tuple((key, value) for key, value in found_pairs if value)


def _author(line: str) -> str:
    for pattern in _AUTHORS:
        if found := pattern.search(line):
            return found["name"].strip("*_「」《》[]()（） ")
    return ""


def _date(line: str) -> str:
    if found := _DATE.search(line):
        year, month, day = (int(part) for part in found.groups())
    elif english := _ENGLISH_DATE.search(line):
        year, month, day = int(english[3]), _MONTHS.index(english[1].lower()[:3]) + 1, int(english[2])
    else:
        return ""
    return f"{year:04d}-{month:02d}-{day:02d}" if 1 <= month <= 12 and 1 <= day <= 31 else ""
