"""Blocks -> lines of Markdown, with the spans that are furniture.

Containers (quotes, lists, items) are a stack; each line begins with the prefixes of those that are open.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ingest.readers.html_tree import tidy

PLAIN, BOLD, ITALIC, STRUCK, CODE, MATH = 0, 1, 2, 4, 8, 16
"""Styles of a run; a run of MATH is written as it stands."""

BREAK = "\x0b"
"""The run of a line break."""

Run = tuple[str, int]

_WHITE = " \t\r\n\f\u00a0"
_CJK = "\u2e80-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
_SPACES = re.compile(r"[ \t\r\f\u00a0\u2002-\u200a\u202f\u205f]+")
_SOURCE_BREAK = re.compile(rf"(?<=[{_CJK}])[ \t\f]*\r[ \t\r\f]*(?=[{_CJK}])")  # browsers draw none between wide characters
_MARK_LIKE = re.compile(r"(?:#{1,6}(?:\s|$)|`{3}|~{3}|\||(?:=+|-+)\s*$)")
_TRAILING = "：:，。,；;、"
_MAX_DEPTH = 16  # quotes and items that are told apart; the text of deeper ones stands beside them
_MARKERS = ((STRUCK, "~~"), (BOLD, "**"), (ITALIC, "*"))


def one_line(text: str) -> str:
    """A text with its line breaks as spaces."""
    return " ".join(text.split())


def render(runs: Sequence[Run]) -> str:
    """The runs of a line as Markdown: white space joined, line breaks (of ``br``) kept."""
    parts: list[str] = []
    for text, style in _joined(runs):
        if style & MATH:
            parts.append(text)
        elif style & CODE:
            parts.append(_styled(text, style & ~CODE, code=True))
        elif style:
            parts.append(_styled(text, style))
        else:
            parts.append(text)
    text = _SPACES.sub(" ", _SOURCE_BREAK.sub("", "".join(parts))).replace(BREAK, "\n")
    return "\n".join(line.strip(" \u3000") for line in text.split("\n")).strip("\n")


def _joined(runs: Sequence[Run]) -> list[Run]:
    """Runs of one style in a row are one run, also when only white space stands between them."""
    joined: list[tuple[list[str], int]] = []
    pending = ""  # white space behind the last run
    for text, style in runs:
        text = text.replace("\n", "\r")
        if not style & (CODE | MATH) and not text.strip(_WHITE):
            pending += text
            continue
        if text != BREAK and joined and joined[-1][1] == style and not style & (CODE | MATH) and joined[-1][0] != [BREAK]:
            joined[-1][0].extend((pending, text))
        else:
            if pending:
                joined.append(([pending], PLAIN))
            joined.append(([text], style))
        pending = ""
    if pending:
        joined.append(([pending], PLAIN))
    return [("".join(parts), style) for parts, style in joined]


def _styled(text: str, style: int, *, code: bool = False) -> str:
    core = text.strip(_WHITE + "\u3000")
    if not core:
        return text
    begin = text.index(core)
    before, after = text[:begin], text[begin + len(core) :]
    if code:
        ticks = "`" * (max((len(run) for run in re.findall("`+", core)), default=0) + 1)
        core = f"{ticks} {core} {ticks}" if "`" in core else f"`{core}`"
    elif style and (kept := core.rstrip(_TRAILING)):
        core, after = kept, core[len(kept) :] + after  # «**name:**text» closes nothing in CommonMark
    for flag, mark in _MARKERS:
        if style & flag:
            core = f"{mark}{core}{mark}"
    return before + core + after


@dataclass(slots=True, eq=False)
class _Container:
    """An open quote, list or item. ``first`` is the marker of an item until it is
    written; ``blocks`` counts the blocks of an item, the items of a list."""

    kind: str
    first: str = ""
    rest: str = ""
    blocks: int = 0
    number: int = 0
    step: int = 0
    loose: bool = False


class MarkdownWriter:
    """Takes blocks and gives :attr:`text` and :attr:`furniture`. ``reason`` is that of the blocks to come; '' means content."""

    def __init__(self) -> None:
        self.reason = ""
        self.content = 0  # characters that are content
        self.furniture: list[tuple[int, int, str]] = []
        self._lines: list[str] = []
        self._length = 0
        self._open: list[_Container] = []
        self._last: list[_Container] = []  # the containers of the last block

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(f"{line}\n" for line in self._lines)

    # --- containers ---

    def open_quote(self) -> None:
        """Begin a quote."""
        self._open.append(_Container("quote", "> ", "> ") if self._depth() < _MAX_DEPTH else _Container("quote"))

    def open_list(self, *, ordered: bool, start: int, step: int) -> None:
        """Begin a list; ``step`` is what its numbers grow by."""
        self._open.append(_Container("list", number=start, step=step if ordered else 0))

    def open_item(self, number: int | None) -> None:
        """Begin an item; ``number`` is its own if it has one."""
        outer = self._open[-1] if self._open and self._open[-1].kind == "list" else None
        marker = "- " if self._depth() < _MAX_DEPTH else ""
        if outer is not None and outer.step and marker:
            outer.number = outer.number if number is None else number
            marker = f"{outer.number}. "
            outer.number += outer.step
        self._open.append(_Container("item", marker, " " * len(marker)))

    def _depth(self) -> int:
        return sum(1 for container in self._open if container.rest)

    def close(self) -> None:
        """End the innermost container."""
        self._open.pop()

    # --- blocks ---

    def paragraph(self, runs: Sequence[Run]) -> None:
        """Lines of text; an empty line between them begins a new paragraph."""
        text = render(runs)
        literal = bool(runs) and runs[0][1] != PLAIN
        for part in re.split(r"\n{2,}", text):
            lines = part.split("\n")
            if lines != [""]:
                self._block([line if literal and not n else _escape(line) for n, line in enumerate(lines)])

    def heading(self, level: int, runs: Sequence[Run]) -> None:
        """A heading; in an item of a list it becomes a bold line."""
        text = one_line(render(runs))
        if text and any(c.kind == "item" for c in self._open):
            self._block([text if "**" in text else f"**{text}**"])
        elif text:
            self._block([f"{'#' * level} {text}"])

    def code(self, code: str, language: str) -> None:
        """A fenced block; the fence is longer than any run of backticks in the code."""
        lines = tidy(code.replace("\u00a0", " ")).split("\n")
        while lines and not lines[0].strip():
            lines.pop(0)
        while lines and not lines[-1].strip():
            lines.pop()
        fence = "`" * max(3, max((len(run) for run in re.findall("`{3,}", code)), default=0) + 1)
        self._block([fence + language, *(line.rstrip() for line in lines), fence], alone=True)

    def formula(self, tex: str) -> None:
        """A displayed formula."""
        self._block(["$$", *tex.split("\n"), "$$"] if "\n" in tex else [f"$${tex}$$"], alone=True)

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Rows of cells; the first one is the header and the widest."""
        if rows:
            lines = [f"| {' | '.join(row)} |" for row in rows]
            self._block([lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]], alone=True)

    def rule(self) -> None:
        """A line across the page."""
        if self._lines:
            self._block(["---"])

    def raw(self, text: str) -> None:
        """Text that is Markdown already."""
        self._block(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))

    # --- lines ---

    def _block(self, lines: list[str], *, alone: bool = False) -> None:
        """Write the lines of a block behind the prefixes of the open containers. ``alone``: not on the line of a marker."""
        pending = [c for c in self._open if c.kind == "item" and c.first and not c.blocks]
        if self._lines and not self._is_tight(pending):
            shared = [a for a, b in zip(self._open, self._last, strict=False) if a is b]
            self._line("".join(c.rest for c in shared).rstrip(), "")
        self._count()
        first, rest = "".join(c.first or c.rest for c in self._open), "".join(c.rest for c in self._open)
        if alone and pending:
            self._line(first.rstrip(), self.reason)
            first = rest
        for container in self._open:
            if container.kind == "item":
                container.first = ""
        start = self._length
        for n, line in enumerate(lines):
            self._line(((rest if n else first) + tidy(line)).rstrip(), self.reason)
        if not self.reason:
            self.content += self._length - start
        self._last = list(self._open)

    def _count(self) -> None:
        """Count a block for the open items; a second one of its own makes the list of an item loose."""
        innermost = next((c for c in reversed(self._open) if c.kind == "item"), None)
        for n, container in enumerate(self._open):
            if container.kind == "item":
                outer = self._open[n - 1] if n and self._open[n - 1].kind == "list" else None
                if outer is not None and not container.blocks:
                    outer.blocks += 1
                elif outer is not None and container is innermost:
                    outer.loose = True
                container.blocks += 1

    def _is_tight(self, pending: Sequence[_Container]) -> bool:
        """Whether no empty line stands above the block: it opens an item of a list without paragraphs, or its inner list."""
        if not pending:
            return False
        at = self._open.index(pending[0])
        outer = self._open[at - 1] if at and self._open[at - 1].kind == "list" else None
        if outer is not None and outer.blocks:
            return not outer.loose
        above = next((c for c in reversed(self._open[:at]) if c.kind == "item"), None)
        return above is not None and above.blocks == 1

    def _line(self, line: str, reason: str) -> None:
        if reason:
            end = self._length + len(line)
            if self.furniture and self.furniture[-1][2] == reason and self._length - self.furniture[-1][1] <= 2:
                self.furniture[-1] = (self.furniture[-1][0], end, reason)
            elif line:
                self.furniture.append((self._length, end, reason))
        self._lines.append(line)
        self._length += len(line) + 1


def _escape(line: str) -> str:
    """A line of text that would be read as a heading, a fence, a table or a rule."""
    return f"\\{line}" if _MARK_LIKE.match(line) else line
