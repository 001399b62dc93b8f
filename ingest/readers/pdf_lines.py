"""The fragments of a PDF page -> segments of lines: what stands on one baseline without a wide gap, scripts included."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from ingest.readers.pdf_text import Fragment, is_cjk


@dataclass(slots=True)
class Line:
    """One line of text: its pieces from left to right, its box, and the edges of the column it stands in.

    ``cells`` are the rows of a table that stands in place of a line. ``flow`` numbers the columns of a page in reading order.
    """

    pieces: list[Fragment]
    x0: float
    x1: float
    baseline: float
    size: float
    left: float = 0.0
    right: float = 0.0
    flow: int = 0
    cells: tuple[tuple[str, ...], ...] = ()
    text: str = ""
    bottom: float = 0.0
    page: int = 0

    @property
    def weight(self) -> int:
        """How many lines of text this stands for."""
        return max(len(self.cells), 1)

    @property
    def top(self) -> float:
        """The upper edge, about the height of a capital above the baseline."""
        return self.baseline - 0.8 * self.size


def segments_of(fragments: Sequence[Fragment]) -> list[Line]:
    """Join what stands on one baseline without a wide gap; raised and lowered small pieces join their neighbour."""
    rows: list[list[Fragment]] = []
    for piece in sorted(fragments, key=lambda f: (f.baseline, f.x0)):
        if rows and abs(piece.baseline - rows[-1][0].baseline) <= 0.2 * max(piece.size, rows[-1][0].size):
            rows[-1].append(piece)
        else:
            rows.append([piece])
    lines: list[list[Line]] = []
    for row in rows:
        made: list[Line] = []
        for piece in sorted(row, key=lambda f: f.x0):
            if made and _close(made[-1], piece):
                _append(made[-1], piece)
            else:
                made.append(_line([piece]))
        lines.append(made)
    return _attach_scripts(lines)


def _close(line: Line, piece: Fragment) -> bool:
    """Whether a piece belongs to the segment on its left: a gap of less than one em, in code of a few characters."""
    last = line.pieces[-1]
    reach = 1.2 * max(last.size, piece.size) if not (last.mono and piece.mono) else 6 * piece.size
    return -piece.size < piece.x0 - last.x1 < reach


def _line(pieces: list[Fragment]) -> Line:
    main = main_piece(pieces)
    lowest = max(p.baseline + 0.2 * p.size for p in pieces)
    return Line(pieces, min(p.x0 for p in pieces), max(p.x1 for p in pieces), main.baseline, main.size, bottom=lowest)


def main_piece(pieces: Sequence[Fragment]) -> Fragment:
    """The piece with most letters, whose size and baseline count for the line."""
    return max(pieces, key=lambda f: (sum(map(str.isalnum, f.text)), f.size if f.text.isalnum() else 0.0))


def _append(line: Line, piece: Fragment) -> None:
    pieces = line.pieces
    pieces.append(piece)
    line.x1 = max(line.x1, piece.x1)
    line.bottom = max(line.bottom, piece.baseline + 0.2 * piece.size)
    main = main_piece(pieces[-9:])
    if main is piece:
        line.baseline, line.size = piece.baseline, piece.size


def _attach_scripts(rows: list[list[Line]]) -> list[Line]:
    """Small segments above or below the baseline of a larger one that they touch become part of it."""
    taken: set[int] = set()
    joined: dict[int, list[Line]] = {}
    edges = [[line.x0 for line in row] for row in rows]
    for at, row in enumerate(rows):
        for small in row:
            host = None
            for near in [r for r in range(max(at - 4, 0), min(at + 5, len(rows))) if r != at]:
                starts = edges[near]
                for i in range(max(bisect_right(starts, small.x0) - 2, 0), min(bisect_right(starts, small.x1) + 1, len(starts))):
                    line = rows[near][i]
                    apart = max(small.x0 - line.x1, line.x0 - small.x1)
                    shift = abs(small.baseline - line.baseline)
                    reach = 0.62 * line.size
                    if any(p.text[-1] in "∑∏∫⋃⋂" and p.x0 < small.x1 and small.x0 < p.x1 for p in line.pieces):
                        reach = 1.5 * line.size  # the limits of a sum
                    fits = small.size <= 0.86 * line.size and apart < 0.3 * line.size and shift < reach
                    if fits and len(small.pieces[0].text) <= 24 and (host is None or line.size < host.size):
                        host = line
            if host is not None:
                taken.add(id(small))
                joined.setdefault(id(host), []).append(small)
    out: list[Line] = []
    for row in rows:
        for line in row:
            if id(line) in taken and id(line) not in joined:
                continue
            if id(line) in taken:  # a script with a script of its own stays where it is
                out.append(line)
                continue
            for small in joined.get(id(line), ()):
                if id(small) not in joined:
                    line.pieces += small.pieces
                    line.x0, line.x1 = min(line.x0, small.x0), max(line.x1, small.x1)
            line.pieces.sort(key=lambda f: (f.x0, f.baseline))
            out.append(line)
    return _join_rows(out)


def _join_rows(lines: list[Line]) -> list[Line]:
    """Segments that a script between them holds together are one."""
    out: list[Line] = []
    for line in sorted(lines, key=lambda n: (round(n.baseline / 2), n.x0)):
        last = out[-1] if out else None
        if last and abs(last.baseline - line.baseline) <= 0.2 * max(last.size, line.size) and _close(last, line.pieces[0]):
            for piece in line.pieces:
                _append(last, piece)
            last.pieces.sort(key=lambda f: f.x0)
        else:
            out.append(line)
    return out


def line_text(line: Line) -> str:
    """The text of a line."""
    return "".join(text for text, _ in line_runs(line))


def line_runs(line: Line) -> list[tuple[str, str]]:
    """A line as runs (text, mark), the mark «**» for bold, «`» for monospaced, «» otherwise.

    Small pieces off the baseline behind a single letter get ``_`` or ``^``, as in ``d_k``.
    """
    runs: list[tuple[str, str]] = []
    out = ""
    last: Fragment | None = None
    base: Fragment | None = None  # the last piece that is no script
    side = 0.0  # of the baseline, on which the last script stood
    for piece in line.pieces:
        text, gap = piece.text, piece.x0 - last.x1 if last is not None else 0.0
        shift = base.baseline - piece.baseline if base is not None else 0.0
        small = base is not None and piece.size <= 0.86 * base.size and abs(shift) > 0.08 * line.size and gap < 0.3 * line.size
        if small and text.strip() and ((side == 0 and _is_symbol(out)) or side * shift < 0):
            side = shift
            text = ("^" if shift > 0 else "_") + (text if len(text) == 1 else "{" + text + "}")
            runs.append((text, runs[-1][1]))
        else:
            mark = "`" if piece.mono else "**" if piece.bold else ""
            if last is not None and piece.mono and last.mono:
                width = max((piece.x1 - piece.x0) / max(len(text), 1), 0.3 * piece.size)
                text = " " * min(max(0, round(gap / width)), 40) + text
            elif last is not None and gap > 0.15 * line.size and not (is_cjk(out[-1:]) and is_cjk(text[:1]) and gap < line.size):
                text = " " + text
            runs.append((text, mark))
            base, side = piece, 0.0
        out = out[-8:] + text
        last = piece
    return runs


def _is_symbol(text: str) -> bool:
    """Whether a text ends in a letter that stands alone, as a variable does (not in a word, whose raised number is a note)."""
    tail = text[-2:]
    in_word = len(tail) == 2 and tail[0].isascii() and tail[0].isalpha()
    return bool(tail) and (tail[-1].isalpha() or tail[-1] in "∑∏∫)]") and not in_word
