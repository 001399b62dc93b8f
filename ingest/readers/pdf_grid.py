"""The ruling lines of a page -> the grids they form."""

from collections.abc import Sequence
from dataclasses import dataclass

from ingest.readers.pdf_text import Rule

_TOLERANCE = 3.0  # points by which lines that meet may miss each other
_MOST_RULES = 4000  # of one page; a drawing with more is no table


@dataclass(frozen=True, slots=True)
class Grid:
    """A table drawn with lines: the places of its columns' edges and of its horizontal lines, ascending.

    Where only horizontal lines are drawn, ``ys`` are the first and the last of them, and ``xs`` may be nothing but the outer edges.
    """

    xs: tuple[float, ...]
    ys: tuple[float, ...]

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies in the table."""
        return self.xs[0] - 2 <= x <= self.xs[-1] + 2 and self.ys[0] < y < self.ys[-1] + 1


def grids(rules: Sequence[Rule]) -> list[Grid]:
    """The grids of at least two columns and two rows: groups of lines that touch each other.

    >>> lines = [Rule(0, y, 90, y) for y in (0, 20, 40)] + [Rule(x, 0, x, 40) for x in (0, 30, 90)]
    >>> grids(lines)
    [Grid(xs=(0, 30, 90), ys=(0, 20, 40))]
    """
    if len(rules) > _MOST_RULES:
        return []
    found = []
    alone: list[Rule] = []
    for group in _connected(rules):
        xs = _places([r.x0 for r in group if r.y1 > r.y0])
        ys = _places([r.y0 for r in group if r.x1 > r.x0])
        if len(xs) >= 3 and len(ys) >= 3:
            found.append(Grid(xs, ys))
        elif len(xs) < 3:
            alone += [r for r in group if r.x1 > r.x0]
    return found + [grid for grid in _ruled(alone) if not any(g.holds(grid.xs[0] + 3, grid.ys[0] + 3) for g in found)]


def _ruled(rules: Sequence[Rule]) -> list[Grid]:
    """Tables with horizontal lines only: lines of the same extent above each other, whole or drawn cell by cell."""
    rows: list[list[Rule]] = []
    for rule in sorted(rules, key=lambda r: (r.y0, r.x0)):
        if rows and abs(rows[-1][0].y0 - rule.y0) <= 1 and 0 <= rule.x0 - rows[-1][-1].x1 + _TOLERANCE < 3 * _TOLERANCE:
            rows[-1].append(rule)
        else:
            rows.append([rule])
    open_tables: dict[tuple[int, int], list[list[Rule]]] = {}
    for row in rows:
        if row[-1].x1 - row[0].x0 > 60:
            open_tables.setdefault((round(row[0].x0 / 4), round(row[-1].x1 / 4)), []).append(row)
    out = []
    for same in open_tables.values():
        parted = max(same, key=len)
        if len(same) >= 3 or (len(same) == 2 and len(parted) > 1):
            xs = _places([*(r.x0 for r in parted), parted[-1].x1])
            out.append(Grid(xs, (same[0][0].y0, same[-1][0].y0)))
    return out


def _connected(rules: Sequence[Rule]) -> list[list[Rule]]:
    """Groups of lines that touch each other; a sweep over the lines by their left ends."""
    parent = list(range(len(rules)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    order = sorted(range(len(rules)), key=lambda i: rules[i].x0)
    active: list[int] = []
    for i in order:
        here = rules[i]
        active = [j for j in active if rules[j].x1 >= here.x0 - _TOLERANCE]
        for j in active:
            if rules[j].y0 <= here.y1 + _TOLERANCE and here.y0 <= rules[j].y1 + _TOLERANCE:
                parent[root(i)] = root(j)
        active.append(i)
    groups: dict[int, list[Rule]] = {}
    for i, rule in enumerate(rules):
        groups.setdefault(root(i), []).append(rule)
    return list(groups.values())


def _places(found: Sequence[float]) -> tuple[float, ...]:
    """Places of lines, those closer than the tolerance as one (the first)."""
    out: list[float] = []
    for place in sorted(found):
        if not out or place - out[-1] > _TOLERANCE:
            out.append(place)
    return tuple(out)
