"""A passage as what can be quoted from it: sentences, items of lists, rows of tables, formulas, code, each whole.

What cannot stand alone names what it needs: an item its list's lead-in («区别如下：») or the item it stands below, a row its head,
a formula the sentence that introduces it, «其中 $L$ 为层数» its formula, a sentence that begins with «它» the one before it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assistant.answers.sentences import split, states_something, without_marker
from ingest.structure.lines import Line, parse_lines

PROSE, ITEM, ROW, FORMULA, CODE, LEAD, HEAD, HEADING, QUESTION = (
    "prose", "item", "row", "formula", "code", "lead", "head", "heading", "question",
)  # fmt: skip
ANSWERING = frozenset((PROSE, ITEM, ROW, FORMULA, CODE))
"""The kinds that may answer; the others are only quoted with what needs them."""

_DISPLAY = re.compile(r"\s*(?:\$\$.+\$\$|\\\[.+\\\])[\s,，。.;；]*")
_DELIMITER = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*")
_EXPLAINS = re.compile(r"其中|式中|这里|此处|where\b|here\b", re.I)
_POINTS_BACK = re.compile(r"它|其(?!他|它|余|实|次|中)|这|该|此(?!外)|前者|后者|(?:it|its|they|this|these|that|those)\b", re.I)
_STOP = tuple("。！？.!?；;")
_LIST_STYLES = frozenset(("", "number", "bracket", "circle", "bracket-chinese"))


@dataclass(frozen=True, slots=True)
class Quotable:
    """A span of a text that is quoted whole or not at all. ``needs`` is the number of the one it is quoted with (-1: none),
    ``group`` numbers the lists, tables and paragraphs, so that what has one number belongs together."""

    start: int
    end: int
    kind: str
    needs: int = -1
    group: int = 0


def quotables(text: str) -> list[Quotable]:
    """Everything in a text that can be quoted, in order; together they hold all of it but white space.

    >>> text = "区别如下：\\n- 甲快。\\n- 乙省。"
    >>> [(text[q.start:q.end], q.kind, q.needs) for q in quotables(text)]
    [('区别如下：', 'lead', -1), ('- 甲快。', 'item', 0), ('- 乙省。', 'item', 0)]
    """
    return _Reader(text).read()


class _Reader:
    """Reads the lines of a text one after the other."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = parse_lines(text, markdown=True)
        self._found: list[Quotable] = []
        self._group = 0
        self._items: list[tuple[int, str, int, int]] = []  # the open items: indent, style, number of the quotable, group
        self._opener = -1  # what the list that is being read stands below

    def read(self) -> list[Quotable]:
        n = 0
        while n < len(self._lines):
            n = self._block(n)
        return self._found

    def _block(self, n: int) -> int:
        """Read what begins at line ``n``; the number of the line behind it."""
        line = self._lines[n]
        if line.block:
            end = n
            while end < len(self._lines) and self._lines[end].block == line.block:
                end += 1
            self._displayed(line.start + line.indent, self._lines[end - 1].end, "$$" in line.text or "\\" in line.text.strip()[:2])
            return end
        if line.protected:
            return self._table(n)
        if _DISPLAY.fullmatch(line.text):
            self._displayed(line.start + line.indent, line.end, True)
        elif line.atx:
            self._add(line.start + line.indent, line.end, HEADING)
            self._close()
        elif (line.bullet and not line.quote) or line.style:
            return self._item(n)
        elif self._items and line.indent > self._items[-1][0] and line.start - self._found[-1].end <= line.indent + 2:
            self._found[-1] = replace(self._found[-1], end=len(self._text[: line.end].rstrip()))
        else:
            self._paragraph(line)
        return n + 1

    def _add(self, start: int, end: int, kind: str, needs: int = -1, group: int | None = None) -> int:
        end = start + len(self._text[start:end].rstrip())
        self._found.append(Quotable(start, end, kind, needs, self._group if group is None else group))
        return len(self._found) - 1

    def _close(self) -> None:
        """No list is open any more."""
        self._items.clear()
        self._group += 1
        self._opener = -1

    def _before(self) -> Quotable | None:
        return self._found[-1] if self._found else None

    def _displayed(self, start: int, end: int, formula: bool) -> None:
        """A formula or code: one with the sentence it finishes, or below the one that introduces it."""
        before = self._before()
        kind = FORMULA if formula else CODE
        if before is None or before.kind not in (PROSE, ITEM, LEAD):
            self._add(start, end, kind)
        elif formula and not self._text[: before.end].endswith(_STOP):
            self._found[-1] = replace(before, end=end, kind=FORMULA if before.kind == PROSE else before.kind)
            if before.kind == LEAD:
                self._found[-1] = replace(self._found[-1], kind=FORMULA)
        else:
            self._add(start, end, kind, len(self._found) - 1)

    def _table(self, n: int) -> int:
        """The rows from line ``n``: the head with its rule, which every other row needs."""
        first = n
        while n < len(self._lines) and self._lines[n].protected and not self._lines[n].block:
            n += 1
        rows = self._lines[first:n]
        opener = self._below()
        self._close()
        ruled = len(rows) > 1 and bool(_DELIMITER.fullmatch(rows[1].text))
        head = -1
        if ruled:
            head = self._add(rows[0].start, rows[1].end, HEAD, opener)
        for row in rows[2 if ruled else 0 :]:
            self._add(row.start, row.end, ROW, head)
        self._close()
        return n

    def _below(self) -> int:
        """The number of the lead-in that stands right above, or -1."""
        before = self._before()
        if before is None or before.kind not in (PROSE, LEAD, ITEM):
            return -1
        return len(self._found) - 1 if before.kind == LEAD or self._text[: before.end].endswith((":", "：")) else -1

    def _item(self, n: int) -> int:
        line = self._lines[n]
        style = line.style or "bullet"
        start, end = line.start + line.indent, line.end
        text = self._text[start:end].strip()
        if line.style not in _LIST_STYLES or line.asks >= 2 or text.endswith(("?", "？")):
            self._add(start, end, QUESTION if line.asks >= 2 or text.endswith(("?", "？")) else HEADING)
            self._close()
            return n + 1
        while self._items and (
            self._items[-1][0] > line.indent or any(s == style and i >= line.indent for i, s, _, _ in self._items[:-1])
        ):
            self._items.pop()
        if self._items and self._items[-1][1] == style and self._items[-1][0] >= line.indent:
            group, needs = self._items[-1][3], self._parent()
            self._items.pop()
        elif self._items:
            self._group += 1
            group, needs = self._group, self._items[-1][2]
        else:
            self._opener = self._below()
            self._group += 1
            group, needs = self._group, self._opener
        body = without_marker(text)
        kind = ITEM if states_something(body) and (len(body) > 12 or _ends(body) or not self._opens_list(n, style)) else LEAD
        self._items.append((line.indent, style, self._add(start, end, kind, needs, group), group))
        return n + 1

    def _parent(self) -> int:
        return self._items[-2][2] if len(self._items) > 1 else self._opener

    def _opens_list(self, n: int, style: str) -> bool:
        """Whether a list of another kind begins below line ``n``: a short item is then its title."""
        if n + 1 >= len(self._lines):
            return False
        line, below = self._lines[n], self._lines[n + 1]
        listed = below.bullet or below.style in _LIST_STYLES - {""}
        return listed and ((below.style or "bullet") != style or below.indent > line.indent)

    def _paragraph(self, line: Line) -> None:
        self._close()
        above = self._before()
        first = True
        for span in split(line.text):
            start, end = line.start + span.start, line.start + span.end
            text = self._text[start:end]
            if text.endswith(("?", "？")):
                kind = QUESTION
            elif not states_something(text):
                kind = LEAD if text.endswith((":", "：")) or text.startswith(("**", "__")) else HEADING
            else:
                kind = PROSE
            needs = -1
            if (first and above is not None and above.kind == FORMULA and _EXPLAINS.match(text)) or (
                not first and kind == PROSE and self._found[-1].kind in (PROSE, FORMULA) and _POINTS_BACK.match(text)
            ):
                needs = len(self._found) - 1
            self._add(start, end, kind, needs)
            first = False


def _ends(text: str) -> bool:
    return text.rstrip().endswith(_STOP)


def with_needs(chosen: Sequence[int], found: Sequence[Quotable]) -> set[int]:
    """The numbers of what was chosen and of everything that it needs."""
    out: set[int] = set()
    for number in chosen:
        while number >= 0 and number not in out:
            out.add(number)
            number = found[number].needs
    return out
