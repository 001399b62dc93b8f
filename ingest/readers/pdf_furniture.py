"""Running heads, feet and page numbers of a PDF: short lines that come again at the same place of many pages."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from ingest.document import fold
from ingest.readers.pdf_lines import Line

_MARGIN = 0.15  # share of the page's height, above and below, in which running lines stand
_PLACE = 4.0  # points by which their height may differ
_PAGE_NUMBER = re.compile(
    r"[\W_]*(?:第\s*)?(?:page\s*|p\.?\s*)?(\d{1,4})(?:\s*页)?(?:\s*(?:/|of|,|，|共)\s*(?:共\s*)?\d{1,4}(?:\s*页)?)?[\W_]*", re.I
)
_APART = 1.8  # ems between the baselines of a running line and of the text
_DIGITS = re.compile(r"\d+")
_Placed = tuple[float, int, Line]  # height, page, line
_ROMAN = re.compile(r"[\W_]*[ivxl]{1,6}[\W_]*", re.I)


def running_lines(pages: Sequence[Sequence[Line]], heights: Sequence[float], body: float) -> dict[int, str]:
    """``id`` of a line -> «page_header» or «page_number».

    A line counts when it stands in the outer ``_MARGIN`` of the page and the same text (digits may differ) stands at one height
    on three pages, or on all of two; a number when it grows with the pages. Lines in a larger type, which could be the titles of
    slides, must come on half of the pages.
    """
    places: defaultdict[tuple[str, bool], list[_Placed]] = defaultdict(list)
    numbers: list[tuple[int, float, int, Line]] = []
    for page, (lines, height) in enumerate(zip(pages, heights, strict=True)):
        for line in lines:
            if line.cells or _MARGIN * height < line.baseline < (1 - _MARGIN) * height or len(line.text) > 120:
                continue
            text = fold(line.text)
            places[_DIGITS.sub("#", text), line.baseline < height / 2].append((line.baseline, page, line))
            if number := _PAGE_NUMBER.fullmatch(text):
                numbers.append((int(number[1]) - page, line.baseline, page, line))
    out: dict[int, str] = {}
    for (key, _), found in places.items():
        if _PAGE_NUMBER.fullmatch(key.replace("#", "1")) or not key.strip("#"):
            continue
        for group in _same_place(found):
            needed = max(3, len(pages) // 2) if group[0][2].size > 1.25 * body else min(3, max(2, len(pages)))
            reason = "page_number" if _ROMAN.fullmatch(key) else "page_header"
            out.update({id(line): reason for line in _repeated(group, needed, len(pages))})
    grows = Counter(step for step, _, _, _ in numbers)
    for step, height, _, line in numbers:
        near = (
            sum(1 for other, y, _, _ in numbers if other == step and abs(y - height) <= _PLACE) if grows[step] < 50 else grows[step]
        )
        if near >= min(3, max(2, len(pages))) and line.size <= 1.25 * body:
            out[id(line)] = "page_number"
    return _outermost(pages, out)


def _outermost(pages: Sequence[Sequence[Line]], found: dict[int, str]) -> dict[int, str]:
    """Only what has no other text between itself and the edge of the page, and white space to the text inside.

    A sentence that comes again stands further in, or belongs to the lines below it.
    """
    kept: dict[int, str] = {}
    for lines in pages:
        order = sorted(lines, key=lambda line: line.baseline)
        for inwards in (order, order[::-1]):
            running: list[Line] = []
            inner: Line | None = None
            for n, line in enumerate(inwards):
                if id(line) in found:
                    running.append(line)
                elif not any(id(o) in found and abs(o.baseline - line.baseline) <= _PLACE for o in inwards[max(n - 3, 0) : n + 4]):
                    inner = line
                    break
            while running and inner is not None and found[id(running[-1])] != "page_number":
                if abs(running[-1].baseline - inner.baseline) >= _APART * min(inner.size, running[-1].size):
                    break
                inner = running.pop()
            kept.update({id(line): found[id(line)] for line in running})
    return kept


def _repeated(group: list[_Placed], needed: int, pages: int) -> list[Line]:
    """The lines of a group, alike but for their digits, that are running lines.

    Those with the same digits, or with a number that grows with the pages, on ``needed`` pages; all of them when they stand on half
    of the pages. («第 3 段» at the head of a page is no running line because «第 9 段» heads another one.)
    """
    if len({page for _, page, _ in group}) >= max(needed, pages // 2):
        return [line for _, _, line in group]
    kinds: defaultdict[tuple[int, object], list[Line]] = defaultdict(list)
    for _, page, line in group:
        digits = _DIGITS.findall(fold(line.text))
        for kind in {(-1, " ".join(digits)), *((n, int(d) - page) for n, d in enumerate(digits) if len(d) < 5)}:
            kinds[kind].append(line)
    return [line for lines in kinds.values() if len(lines) >= needed for line in lines]


def _same_place(found: list[_Placed]) -> list[list[_Placed]]:
    """Groups of lines at the same height."""
    groups: list[list[_Placed]] = []
    for entry in sorted(found, key=lambda e: (e[0], e[1])):
        if groups and entry[0] - groups[-1][-1][0] <= _PLACE:
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return groups
