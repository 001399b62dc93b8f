"""Tables on a PDF page: drawn grids, horizontal rules, and rows whose columns are aligned."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from ingest.readers.pdf_grid import Grid, grids
from ingest.readers.pdf_lines import Line, line_text
from ingest.readers.pdf_text import PageText, is_cjk


def tables_of(segments: list[Line], page: PageText) -> list[Line]:
    """Replace the segments inside drawn tables by tables."""
    rest = segments
    for grid in grids(page.rules):
        inside = sorted((s for s in rest if grid.holds((s.x0 + s.x1) / 2, s.baseline)), key=lambda s: (s.baseline, s.x0))
        if len(inside) < 3:
            continue
        if len(grid.ys) > 2:
            cells = _drawn_cells(grid, inside)
        else:
            xs = grid.xs if len(grid.xs) > 2 else _column_edges(inside)
            cells = _row_by_row(xs, inside)
        cells = [row for row in cells if any(row)]
        if len(cells) < 2 or len(cells[0]) < 2 or sum(bool(cell) for row in cells for cell in row) < max(4, len(cells) * 3 // 2):
            continue  # a frame, not a table
        chosen = {id(s) for s in inside}
        rest = [s for s in rest if id(s) not in chosen]
        rest.append(_table(cells, inside))
    return rest


def _drawn_cells(grid: Grid, inside: Sequence[Line]) -> list[list[str]]:
    cells = [[""] * (len(grid.xs) - 1) for _ in range(len(grid.ys) - 1)]
    for segment in inside:
        row = min(max(bisect_left(grid.ys, segment.baseline) - 1, 0), len(cells) - 1)
        _fill(cells[row], grid.xs, segment)
    return cells


def _fill(row: list[str], xs: Sequence[float], segment: Line) -> None:
    """Put the pieces of a segment into the cells of a row."""
    for piece in segment.pieces:
        column = bisect_right(xs, piece.x0 + min(2, (piece.x1 - piece.x0) / 2)) - 1
        column = min(max(column, 0), len(row) - 1)
        row[column] = joined(row[column], piece.text)


def _row_by_row(xs: Sequence[float], inside: Sequence[Line]) -> list[list[str]]:
    """Rows by their baselines; one with an empty first cell goes on the row above."""
    rows: list[list[str]] = []
    baseline = -1e9
    for segment in inside:
        if segment.baseline - baseline > 0.4 * segment.size or not rows:
            rows.append([""] * (len(xs) - 1))
            baseline = segment.baseline
        _fill(rows[-1], xs, segment)
    out: list[list[str]] = []
    for row in rows:
        if out and row and not row[0]:
            out[-1] = [joined(above, cell) for above, cell in zip(out[-1], row, strict=True)]
        else:
            out.append(row)
    return out


def _column_edges(inside: Sequence[Line]) -> list[float]:
    """The edges of columns that white space separates all the way down."""
    edges: list[float] = []
    end = -1e9
    for piece in sorted((p for s in inside for p in s.pieces), key=lambda p: p.x0):
        if piece.x0 > end + 0.5 * piece.size:
            edges.append(piece.x0 - 1)
        end = max(end, piece.x1)
    return [*edges, end + 1]


def joined(left: str, right: str) -> str:
    """Two pieces of a cell with a space between them, unless both are Chinese."""
    if not left or not right:
        return left or right
    return left + ("" if is_cjk(left[-1]) and is_cjk(right[0]) else " ") + right


def _table(cells: Sequence[Sequence[str]], inside: Sequence[Line]) -> Line:
    first = min(inside, key=lambda s: s.baseline)
    table = Line([], min(s.x0 for s in inside), max(s.x1 for s in inside), first.baseline, first.size)
    table.cells = tuple(tuple(cell.strip() for cell in row) for row in cells)
    table.bottom = max(s.bottom for s in inside)
    return table


def aligned(segments: list[Line]) -> list[Line]:
    """Replace rows without rules by tables: three or more in a row, with the same columns, too short for running text."""
    rows: list[list[Line]] = []
    for segment in sorted(segments, key=lambda s: (s.baseline, s.x0)):
        first = rows[-1][0] if rows else None
        level = first is not None and abs(first.baseline - segment.baseline) <= 0.25 * segment.size
        if first is not None and level and not segment.cells and not first.cells:
            rows[-1].append(segment)
        else:
            rows.append([segment])
    out: list[Line] = []
    at = 0
    while at < len(rows):
        columns = _columns(rows[at])
        end = at + 1
        while columns and end < len(rows) and _same_columns(columns, rows[end], rows[end - 1]):
            end += 1
        if columns and end - at >= 3 and not _runs_on(columns, rows[at:end]):
            out.append(_table([_row_cells(columns, row) for row in rows[at:end]], [s for row in rows[at:end] for s in row]))
        else:
            end = at + 1
            out += rows[at]
        at = end
    return out


def _columns(row: Sequence[Line]) -> list[float]:
    row = sorted(row, key=lambda s: s.x0)
    if len(row) < 2 or any(s.cells for s in row) or (row[0].x1 - row[0].x0 < 1.5 * row[0].size and _marker(row[0])):
        return []  # the number of a list item is no cell
    return [s.x0 for s in row]


def _marker(segment: Line) -> bool:
    text = line_text(segment).strip()
    return len(text) <= 4 and (not text[:1].isalnum() or text[-1:] in ".)、）")


def _same_columns(columns: Sequence[float], row: Sequence[Line], above: Sequence[Line]) -> bool:
    """Whether a row begins at the first column and each of its segments at one of the columns, at a row's distance."""
    if row[0].cells or row[0].baseline - above[0].baseline > 3 * row[0].size:
        return False
    starts = sorted(s.x0 for s in row)
    return (
        len(starts) * 2 > len(columns)
        and len(starts) >= 2
        and len(starts) <= len(columns)
        and abs(starts[0] - columns[0]) < 3
        and all(min(abs(start - column) for column in columns) < 3 for start in starts)
    )


def _runs_on(columns: Sequence[float], rows: Sequence[Sequence[Line]]) -> bool:
    """Whether most cells fill their column, as lines of running text in columns do."""
    full = cells = 0
    for row in rows:
        for segment in row:
            place = bisect_right(columns, segment.x0 + 3)
            if place < len(columns):
                cells += 1
                full += segment.x1 - segment.x0 > 0.75 * (columns[place] - columns[place - 1])
    return full * 2 > cells


def _row_cells(columns: Sequence[float], row: Sequence[Line]) -> list[str]:
    cells = [""] * len(columns)
    for segment in sorted(row, key=lambda s: s.x0):
        place = min(max(bisect_right(columns, segment.x0 + 3) - 1, 0), len(columns) - 1)
        cells[place] = joined(cells[place], line_text(segment))
    return cells
