"""Where the nodes of a concept map stand: round the centre in the order a spring layout finds, then pushed apart until all show."""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx

GAP = 10.0  # least distance between two labels, in pixels
MARGIN = 4.0
HEIGHT = 30.0
_SEED = 7


@dataclass(frozen=True, slots=True)
class Box:
    """A label's rectangle: its middle and its size, in pixels."""

    x: float
    y: float
    width: float
    height: float = HEIGHT


def label_width(label: str) -> float:
    """The width of a label's pill in pixels at 13 px type: full-width characters 1 em, others 0.58 em, 13 px of air each side."""
    ems = sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.58 for c in label)
    return round(ems * 13 + 26, 1)


def layout(
    widths: Sequence[float], edges: Sequence[tuple[int, int, float]], size: tuple[float, float]
) -> list[tuple[float, float]]:
    """Positions (x, y) of the nodes in a picture of ``size``; node 0 is the centre and stays in the middle.

    The same input gives the same picture. No two labels overlap as long as they fit in the picture at all.
    """
    if not widths:
        return []
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(len(widths)))
    strongest = max((weight for _, _, weight in edges), default=1.0) or 1.0
    for a, b, weight in edges:
        graph.add_edge(a, b, weight=0.2 + 0.8 * max(0.0, weight / strongest))
    start = {i: _on_circle(i, len(widths)) for i in graph}
    placed = nx.spring_layout(graph, pos=start, fixed=[0], k=1.2 / math.sqrt(len(widths)), iterations=80, seed=_SEED)
    # The springs say who stands beside whom; going round in that order at even steps fills the picture on all sides.
    order = sorted((i for i in graph if i), key=lambda i: (math.atan2(placed[i][1], placed[i][0]), i))
    linked = {b if a == 0 else a for a, b, _ in edges if 0 in (a, b)}
    near = (0.5, 0.66) if len(linked) + 1 < len(widths) else (0.6, 0.95)  # without a second ring the first has the room
    width, height = size
    boxes = [Box(width / 2, height / 2, widths[0], HEIGHT + 6)] + [Box(0, 0, w) for w in widths[1:]]
    for step, i in enumerate(order):
        angle = 2 * math.pi * step / len(order) - math.pi / 2
        reach = near[step % 2] if i in linked else 1.0
        x = width / 2 + reach * math.cos(angle) * (width - widths[i]) / 2
        y = height / 2 + reach * math.sin(angle) * (height - HEIGHT) / 2
        boxes[i] = Box(x, y, widths[i])
    return [(round(box.x, 1), round(box.y, 1)) for box in separated(boxes, size)]


def separated(boxes: Sequence[Box], size: tuple[float, float]) -> list[Box]:
    """The boxes moved as little as needed until they are ``GAP`` apart and inside the picture; box 0 stays."""
    moved = [_inside(box, size) for box in boxes]
    for _ in range(600):
        clean = True
        for i in range(len(moved)):
            for j in range(i + 1, len(moved)):
                shift = _overlap(moved[i], moved[j])
                if shift is None:
                    continue
                clean = False
                share = 0.0 if i == 0 else 0.5
                moved[i] = _inside(_shifted(moved[i], shift, -share), size) if i else moved[i]
                moved[j] = _inside(_shifted(moved[j], shift, 1 - share), size)
        if clean:
            break
    return moved


def _overlap(a: Box, b: Box) -> tuple[float, float] | None:
    """The shortest shift that takes ``b`` clear of ``a``; None when it is clear already."""
    dx, dy = b.x - a.x, b.y - a.y
    over_x = (a.width + b.width) / 2 + GAP - abs(dx)
    over_y = (a.height + b.height) / 2 + GAP - abs(dy)
    if over_x <= 0.01 or over_y <= 0.01:
        return None
    # Labels are wide and low, so a step up or down clears them soonest; sideways is taken when it is clearly shorter.
    if over_x < 0.6 * over_y:
        return (math.copysign(over_x, dx or 1.0), 0.0)
    return (0.15 * math.copysign(over_x, dx or 1.0) if abs(dx) > 1 else 0.0, math.copysign(over_y, dy or 1.0))


def _shifted(box: Box, shift: tuple[float, float], share: float) -> Box:
    return Box(box.x + shift[0] * share, box.y + shift[1] * share, box.width, box.height)


def _inside(box: Box, size: tuple[float, float]) -> Box:
    left, top = box.width / 2 + MARGIN, box.height / 2 + MARGIN
    return Box(
        min(max(box.x, left), max(left, size[0] - left)), min(max(box.y, top), max(top, size[1] - top)), box.width, box.height
    )


def _on_circle(i: int, count: int) -> tuple[float, float]:
    if i == 0:
        return (0.0, 0.0)
    angle = 2 * math.pi * (i - 1) / max(1, count - 1)
    return (math.cos(angle), math.sin(angle))
