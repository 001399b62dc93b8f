"""Lines that several documents have at their head or tail: headers of a site, signatures, footers that no rule knows.

What a document shows (:func:`edges_of`) depends on its raw text alone, and what is repeated on the set of documents alone, so the
result does not depend on the order in which they came.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from zlib import crc32

from ingest.cleaning.page import Page
from ingest.document import fold
from ingest.structure.lines import FRAME_TITLE, asks, is_answer_label, parse_lines

LEAST = 3
"""In how many documents a line has to stand; copies of one article count as one document."""
EDGE = 12  # lines at the head and at the tail of a page
_LONGEST = 80  # characters of a line that can be furniture
_BODY = 25  # characters of a line that tells one article from another
_SAME = 0.3  # two documents that share this part of their longer lines are copies of one article
_GENERIC = re.compile(
    r"(?:答案?|参考答案|解析|题目?|面试题.{0,4}|问答|基础|进阶|其他|其它|补充|注意|提示|说明|示例|代码|示意图|前言|背景|思路|要点|知识点)\s*[:：]?"
)


@dataclass(frozen=True, slots=True)
class Edges:
    """What a document shows of repetition: folded lines at its edges, and checksums of its longer lines (32 bits each)."""

    lines: frozenset[str]
    body: frozenset[int]


def edges_of(raw: str) -> Edges:
    """The evidence of one raw text."""
    page = Page(raw)
    edge = {*page.filled[:EDGE], *page.filled[-EDGE:]}
    lines = frozenset(fold(page.lines[i]) for i in edge if _may_be_furniture(page, i))
    return Edges(lines, frozenset(crc32(fold(page.lines[i]).encode()) for i in page.filled if len(page.plain[i]) >= _BODY))


def repeated_lines(documents: Mapping[str, Edges]) -> frozenset[str]:
    """The folded lines that stand at the edges of at least ``LEAST`` different articles."""
    holders: defaultdict[str, list[str]] = defaultdict(list)
    for name, edges in documents.items():
        for line in edges.lines:
            holders[line].append(name)
    common = {line: names for line, names in holders.items() if len(names) >= LEAST}
    return frozenset(line for line, names in common.items() if _articles([documents[name] for name in sorted(names)]) >= LEAST)


def _articles(documents: list[Edges]) -> int:
    """How many different articles there are among documents; counting stops when there are enough."""
    different: list[Edges] = []
    for document in documents:
        if not any(_are_copies(document, other) for other in different):
            different.append(document)
            if len(different) >= LEAST:
                break
    return len(different)


def _are_copies(one: Edges, other: Edges) -> bool:
    smaller = min(len(one.body), len(other.body))
    return smaller > 0 and len(one.body & other.body) >= _SAME * smaller


def cut_repeated(page: Page, repeated: frozenset[str]) -> None:
    """Cut repeated lines at the head and tail: only lines with nothing but furniture, or one title, between them and the edge."""
    if not repeated:
        return
    for order in (page.filled[: EDGE * 3], page.filled[: -EDGE * 3 - 1 : -1]):
        titles = 0
        for i in order:
            if page.reason[i]:
                continue
            if fold(page.lines[i]) in repeated and _may_be_furniture(page, i) and not _answers(page, i):
                page.reason[i] = "repeated"
            else:
                titles += 1
                if titles > 1 or not page.is_short(i):
                    break


def _answers(page: Page, i: int) -> bool:
    """Whether the line stands right below a question or a heading (the page's own title excepted): it is what that is about."""
    above = next((j for j in range(i - 1, max(i - 4, -1), -1) if not page.blank[j]), -1)
    if above < 0 or page.reason[above]:
        return False
    heads = page.is_heading(above) and above != page.filled[0]
    return heads or page.is_item(above) or page.plain[above].endswith((":", "："))


def _may_be_furniture(page: Page, i: int) -> bool:
    text = page.plain[i]
    if not 2 <= len(text) <= _LONGEST or page.code[i] or page.is_row(i) or page.is_heading(i) or page.is_item(i):
        return False
    if asks(text) or FRAME_TITLE.fullmatch(text) or _GENERIC.fullmatch(text) or not any(char.isalpha() for char in text):
        return False
    return not any(is_answer_label(line) for line in parse_lines(page.lines[i], markdown=False))
