"""Writing Markdown: runs of text with marks, tables, code, and blocks put one after another."""

import re

from ingest.document import RawText

_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")
_HEADING_MARK = re.compile(r"^(?=#{1,6} )")


def visible(text: str) -> str:
    """Text without invisible characters; what is no character becomes a replacement mark."""
    return _CONTROL.sub("\ufffd", _INVISIBLE.sub("", text))


def styled(pieces: list[tuple[str, str]]) -> str:
    """Runs (text, mark) -> Markdown. Marks are «**», «*», «***», «`», «» or, for a formula, «$»; neighbours of one mark are joined.

    A formula takes the mark of the text around it when all of that has one mark.

    >>> styled([("重", "**"), ("点", "**"), (" 在此", "")])
    '**重点** 在此'
    """
    marks = {mark for text, mark in pieces if text.strip() and mark != "$"}
    around = marks.pop() if len(marks) == 1 and "`" not in marks else ""
    joined: list[tuple[list[str], str]] = []
    for text, mark in pieces:
        mark = around if mark == "$" else mark
        if joined and (joined[-1][1] == mark or (not text.strip() and mark != "`")):
            joined[-1][0].append(text)
        elif text:
            joined.append(([text], mark))
    out = []
    for parts, mark in joined:
        text = "".join(parts)
        core = text.strip()
        if not mark or not core or "\n" in core or (mark == "`" and "`" in core):
            out.append(text)
        else:
            at = text.index(core)
            out.append(text[:at] + mark + core + mark + text[at + len(core) :])
    return "".join(out)


def table_rows(rows: list[list[str]]) -> str:
    """Rows of cells -> a Markdown table, the first row its head; '' for a table without text."""
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if not rows:
        return ""
    width = max(len(row) for row in rows)
    lines = [
        "| " + " | ".join([" ".join(cell.replace("|", "\\|").split()) for cell in row] + [""] * (width - len(row))) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + " --- |" * width)
    return "\n".join(lines)


def fenced(code: str, language: str = "") -> str:
    """Code in a fence longer than any run of backquotes in it."""
    ticks = max([2, *(len(run) for run in re.findall(r"`+", code))]) + 1
    return f"{'`' * ticks}{language}\n{code}\n{'`' * ticks}"


class Blocks:
    """Markdown blocks put one after another, with the spans that are furniture and the offsets at which pages begin."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.length = 0
        self.furniture: list[tuple[int, int, str]] = []
        self.pages: list[int] = []
        self._last = ""

    def page(self) -> None:
        """The next block begins a new page."""
        self.pages.append(-1)

    def add(self, text: str, kind: str = "block", reason: str = "") -> None:
        """Append a block. Neighbouring blocks of kind «item» stand on consecutive lines, others have a blank line between them."""
        text = visible(text).rstrip()
        if not text.strip():
            return
        if self.parts:
            gap = "\n" if kind == self._last == "item" else "\n\n"
            self.parts.append(gap)
            self.length += len(gap)
        for i in range(len(self.pages) - 1, -1, -1):
            if self.pages[i] >= 0:
                break
            self.pages[i] = self.length
        if reason:
            self.furniture.append((self.length, self.length + len(text), reason))
        self.parts.append(text)
        self.length += len(text)
        self._last = kind

    def result(self, format: str, metadata: tuple[tuple[str, str], ...]) -> RawText:
        """The text of all blocks. A page without text begins where the next page begins, the last one at the end."""
        text = "".join(self.parts)
        pages = tuple(min(page, len(text)) if page >= 0 else len(text) for page in self.pages)
        return RawText(text, "utf-8", format, metadata, tuple(self.furniture), pages)


def plain_paragraph(text: str) -> str:
    """A paragraph whose first characters would read as a Markdown heading gets a backslash before them."""
    return _HEADING_MARK.sub(r"\\", text)
