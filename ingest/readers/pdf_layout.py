"""The fragments of one PDF page -> its lines in reading order, with tables and columns found by where the text stands.

What is not in a table is read column by column: where a gutter runs through the page, whatever lies across it divides the page into
bands, and in each band the left side is read before the right one (a recursive form of the X-Y cut, Nagy and Seth 1984).
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from ingest.readers.pdf_lines import Line, line_text, main_piece, segments_of
from ingest.readers.pdf_tables import aligned, tables_of
from ingest.readers.pdf_text import PageText

_COLUMN_LINES = 4  # lines on each side that make a column
_MOST_STEPS = 2000  # places at which a gutter is looked for
_DEPTH = 5  # columns within columns
_LISTED = re.compile(r"^(?:[•●○◦▪■□▫‣➢➤✓❖◆◇–-]|\d{1,2}[.、)）])")


def reading_order(page: PageText) -> list[Line]:
    """The lines and tables of a page in the order in which they are read."""
    segments = tables_of(segments_of(page.fragments), page)
    ordered: list[Line] = []
    _order(segments, ordered, [0], _DEPTH)
    return ordered


def _order(items: list[Line], out: list[Line], flow: list[int], depth: int) -> None:
    gutter = _gutter(items) if depth else None
    if gutter is None:
        _single_column(items, out, flow)
        return
    band: list[Line] = []

    def emit() -> None:
        for side in ([s for s in band if s.x1 <= gutter + 1], [s for s in band if s.x1 > gutter + 1]):
            if side:
                _order(side, out, flow, depth - 1)
        band.clear()

    crossing: list[Line] = []
    for item in sorted(items, key=lambda s: s.top):
        if item.x0 < gutter - 1 and item.x1 > gutter + 1:
            emit()
            crossing.append(item)
        else:
            if crossing:
                _order(crossing, out, flow, 0)
                crossing = []
            band.append(item)
    emit()
    if crossing:
        _order(crossing, out, flow, 0)


def _gutter(items: Sequence[Line]) -> float | None:
    """The middle of a vertical strip that separates two columns of running text, or None.

    At least ``_COLUMN_LINES`` lines stand on each side, next to each other, and mostly fill their side; what crosses the strip is
    less than twice what stands on its poorer side.
    """
    if sum(s.weight for s in items) < 2 * _COLUMN_LINES:
        return None
    left, right = min(s.x0 for s in items), max(s.x1 for s in items)
    step = max(2.0, (right - left) / _MOST_STEPS)
    steps = int((right - left) / step)
    if steps < 20:
        return None
    change = [0.0] * (steps + 2)
    for s in items:
        change[min(max(int((s.x0 - left) / step), 0), steps)] += s.weight
        change[min(max(int((s.x1 - left) / step) + 1, 0), steps + 1)] -= s.weight
    cover, level = [], 0.0
    for value in change[: steps + 1]:
        level += value
        cover.append(level)
    lowest = min(cover[steps // 6 : steps - steps // 6], default=0.0)
    runs: list[tuple[int, int]] = []
    for at in range(steps // 6, steps - steps // 6):
        if cover[at] <= lowest + 0.04 * len(items):
            if runs and runs[-1][1] == at - 1:
                runs[-1] = (runs[-1][0], at)
            else:
                runs.append((at, at))
    for start, end in sorted(runs, key=lambda run: run[0] - run[1])[:3]:
        x = left + step * (start + end + 1) / 2
        if _separates(items, x):
            return x
    return None


def _separates(items: Sequence[Line], x: float) -> bool:
    before = [s for s in items if s.x1 <= x + 1]
    after = [s for s in items if s.x0 >= x - 1]
    left, right = sum(s.weight for s in before), sum(s.weight for s in after)
    across = sum(s.weight for s in items) - left - right
    if min(left, right) < _COLUMN_LINES or across > 2 * min(left, right):
        return False
    rows = sorted(s.baseline for s in after)
    beside = sum(s.weight for s in before if bisect_right(rows, s.bottom + s.size) > bisect_left(rows, s.baseline - s.size))
    lines = sorted(s.baseline for s in before)
    other = sum(s.weight for s in after if bisect_right(lines, s.bottom + s.size) > bisect_left(lines, s.baseline - s.size))
    return max(beside, other) >= _COLUMN_LINES and _filled(before) and _filled(after)


def _filled(items: Sequence[Line]) -> bool:
    """Whether lines look like running text (most reach over most of a column that is not narrow) or like the items of a list."""
    width = max(s.x1 for s in items) - min(s.x0 for s in items)
    listed = sum(1 for s in items if s.cells or _LISTED.match(s.pieces[0].text))
    long = sum(1 for s in items if s.x1 - s.x0 > 0.7 * width)
    return listed * 3 >= len(items) or (long * 2 >= len(items) and width > 10 * items[0].size)


def _single_column(items: list[Line], out: list[Line], flow: list[int]) -> None:
    """From top to bottom; segments on one baseline are one line."""
    lines: list[Line] = []
    for item in sorted(aligned(items), key=lambda s: (s.top, s.x0)):
        last = lines[-1] if lines else None
        if last and not last.cells and not item.cells and abs(last.baseline - item.baseline) <= 0.3 * max(last.size, item.size):
            last.pieces = sorted([*last.pieces, *item.pieces], key=lambda f: f.x0)
            last.x0, last.x1 = min(last.x0, item.x0), max(last.x1, item.x1)
            last.bottom = max(last.bottom, item.bottom)
            main = main_piece(last.pieces)
            last.baseline, last.size = main.baseline, main.size
        else:
            lines.append(item)
    ends = sorted(s.x1 for s in lines)
    left, right = min((s.x0 for s in lines), default=0.0), ends[-1] if ends else 0.0
    for line in lines:
        line.left, line.right, line.flow = left, right, flow[0]
        line.text = line.text or line_text(line)
    flow[0] += 1
    out += lines
