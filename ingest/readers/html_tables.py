"""Tables of a page: of data, of code, and those that only lay out the page."""

from collections.abc import Sequence

from ingest.readers.html_code import code_of, is_gutter
from ingest.readers.html_tree import HEADINGS, Element

_LAID_OUT = HEADINGS | {"blockquote", "article", "section", "hr", "form"}
_CODE_CELLS = frozenset(("blob-code", "hljs-ln-code", "blob-code-inner"))
_MAX_SPAN = 20
_SINGLE_LINE = 100
"""Characters of a cell of several paragraphs from which on its table is read as blocks."""


def rows_of(table: Element) -> list[list[Element]]:
    """The cells of its own rows, not of the tables in them."""
    rows: list[list[Element]] = []
    stack: list[Element] = [table]
    while stack:
        element = stack.pop()
        inner = [child for child in element.children if isinstance(child, Element)]
        if element.tag == "tr":
            rows.append([cell for cell in inner if cell.tag in ("td", "th")])
        elif element.tag not in ("table", "caption") or element is table:
            stack.extend(reversed(inner))
    return rows


def code_table(table: Element) -> str | None:
    """The code of a table that lays out numbered lines of code; None for any other table."""
    rows = rows_of(table)
    cells = [cell for row in rows for cell in row if not is_gutter(cell)]
    lines = [cell for cell in cells if _CODE_CELLS.intersection(cell.classes)]
    if lines and len(lines) == len([cell for cell in cells if cell.length]):
        return "\n".join(code_of(cell) for cell in lines)
    marked = [cell for cell in cells if "code" in cell.classes or "rouge-code" in cell.classes]
    if len(cells) == 1 and marked and len(rows) == 1:
        inner = next((e for e in cells[0].elements() if e.tag == "pre"), cells[0])
        return code_of(inner)
    return None


def is_layout(table: Element) -> bool:
    """Whether a table only places blocks: one column, headings or code of several lines in a cell, or a role that says so."""
    rows = [cells for row in rows_of(table) if (cells := [cell for cell in row if not is_gutter(cell)])]
    if table.get("role") in ("presentation", "none") or max((len(row) for row in rows), default=0) <= 1:
        return True
    for row in rows:
        for cell in row:
            paragraphs = 0
            for element in cell.elements():
                if element.tag in _LAID_OUT and element.length:
                    return True
                if element.tag == "pre" and "\n" in code_of(element):
                    return True
                paragraphs += element.tag in ("p", "br")
            if paragraphs >= 4 and cell.length > _SINGLE_LINE:
                return True
    return len(rows) == 1 and any(cell.length > 2 * _SINGLE_LINE for cell in rows[0])


class Table:
    """A table of data whose cells are filled one by one."""

    def __init__(self, table: Element) -> None:
        self._rows = rows_of(table)
        self._texts: dict[int, str] = {}
        self.captions: list[Element] = [e for e in table.children if isinstance(e, Element) and e.tag == "caption" and e.length]
        self.cells: Sequence[Element] = [cell for row in self._rows for cell in row]

    def fill(self, cell: Element, text: str) -> None:
        """Set the text of a cell."""
        self._texts[id(cell)] = text.replace("\\|", "|").replace("|", "\\|")

    def rows(self) -> list[list[str]]:
        """The rows, the first one as wide as the widest; a cell over several columns or rows has its text in the first of them."""
        grid: list[list[str]] = []
        below: dict[int, int] = {}  # column -> rows that a cell above still covers
        for row in self._rows:
            line: list[str] = []
            for cell in row:
                self._skip(below, line)
                wide, high = _span(cell.get("colspan")), _span(cell.get("rowspan"))
                if high > 1:
                    below.update({len(line) + n: high - 1 for n in range(wide)})
                line += [self._texts.get(id(cell), ""), *[""] * (wide - 1)]
            self._skip(below, line)
            grid.append(line)
        for line in grid:
            while line and not line[-1]:
                line.pop()
        grid = [line for line in grid if line]
        if grid:  # the header is as wide as the widest row; the others may be shorter
            grid[0] += [""] * (max(len(line) for line in grid) - len(grid[0]))
        return grid

    @staticmethod
    def _skip(below: dict[int, int], line: list[str]) -> None:
        while (left := below.get(len(line), 0)) > 0:
            below[len(line)] = left - 1
            line.append("")


def _span(text: str) -> int:
    return min(max(int(text), 1), _MAX_SPAN) if text.isascii() and text.isdigit() and len(text) < 6 else 1
