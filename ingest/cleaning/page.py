"""A raw text as lines, each with the reason it is cut for: what the rules of cleaning read and write."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from ingest.cleaning.rules import Rules, rules
from ingest.document import fold

BULLET = re.compile(r"^(?:[-*•·●◦○▪■➤►‣+]\s*)+")
_FENCE = re.compile(r"^\s*(?:>\s*)*(`{3,}|~{3,})")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]+")
_LINK = re.compile(r"\[([^\[\]\n]{0,300})\]\([^()\n]{0,500}\)")
_TAG = re.compile(r"</?(?:a|span|font|br|b|i|em|strong|u|sup|sub|kbd)\b[^<>\n]{0,300}>|<!--[^<>\n]{0,80}-->", re.I)
_ESCAPE = re.compile(r"\\([-_*.!#|+~>&])|\\$")  # what converters to Markdown put before signs and at hard line breaks
_ORNAMENT = (
    r"[\s*_~>|•∙●○◆◇■□★☆▶►▲▼◀《》\-—–=\u00b7\u2190-\u21ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\ufe0f\u200d<«»&,，]+"
)
_ENDS = re.compile(rf"^{_ORNAMENT}|{_ORNAMENT}$")
_NUMBERED = re.compile(
    r"[(（]?(?:\d{1,3}|[一二三四五六七八九十]{1,3})\s*(?:[、)）]|[.．](?!\d))\s*\S|第\s*[\d一二三四五六七八九十]+\s*[题问]|[QＱ]\d*\s*[:：.]"
)
_LINK_LINES = 10  # lines of a link that is written over several
_LONGEST = 400  # characters of a line that is read as a whole; a longer one is a paragraph


class Page:
    """The lines of one raw text and, for each, the reason it is cut for ('' while it stays).

    ``plain`` are the lines without white space, invisible characters and bullets at their ends; ``core`` what the eye reads of
    them: without links, marks of emphasis and ornaments too.
    """

    def __init__(self, raw: str) -> None:
        self.raw = raw
        self.lines = raw.split("\n")
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)
        visible = [_visible(line) for line in self.lines]
        self.blank = [not line for line in visible]
        self.plain = [BULLET.sub("", line).strip() for line in visible]
        self.core = [_core(text) for text in self.plain]
        self.reason = [""] * len(self.lines)
        self.spans: list[tuple[int, int, str]] = []  # cuts within a line
        self.guessed: set[int] = set()  # lines cut for what stands around them
        self.code = code_lines(self.lines)
        self.rules: Rules = rules()
        self.filled = [i for i, blank in enumerate(self.blank) if not blank]
        self.in_link = lines_in_links(self.lines, self.filled)

    def open_lines(self) -> list[tuple[int, str]]:
        """(number, text) of the lines that are neither blank, cut nor code."""
        return [(i, self.lines[i]) for i in self.filled if not self.reason[i] and not self.code[i]]

    def cut(self, lines: Sequence[int] | range, reason: str) -> None:
        """Cut lines that are not cut yet; code only as part of the front matter."""
        for i in lines:
            if not self.reason[i] and not (self.code[i] and reason != "front_matter"):
                self.reason[i] = reason

    def line_at(self, offset: int) -> int:
        """The number of the line that holds an offset of the raw text."""
        return bisect_right(self.starts, offset) - 1

    def is_short(self, i: int) -> bool:
        """Whether a line is a name or a title rather than a sentence."""
        return len(self.plain[i]) <= 30 and not self.code[i] and self.plain[i][-1:] not in "。？?！；;：:"

    def is_heading(self, i: int) -> bool:
        """Whether a line is a Markdown heading."""
        return self.lines[i].lstrip()[:1] == "#" and not self.code[i] and bool(re.match(r"\s{0,3}#{1,6}\s", self.lines[i]))

    def is_row(self, i: int) -> bool:
        """Whether a line is a row of a table."""
        text = self.lines[i].strip()
        return text.startswith("|") and text.count("|") > 1

    def is_numbered(self, i: int) -> bool:
        """Whether a line begins with a number and its sign: «3、», «（二）», «Q1:»."""
        return bool(_NUMBERED.match(self.plain[i].lstrip("#*_> ")))

    def is_item(self, i: int) -> bool:
        """Whether a line is numbered or asks: likely a question, and what follows it its answer."""
        return self.is_numbered(i) or self.plain[i].rstrip("*_ ").endswith(("?", "？"))

    def blocks(self, texts: frozenset[str]) -> Iterator[int]:
        """The lines that belong to one of the blocks, each a block of folded lines joined by line feeds.

        A line of a few characters counts only beside another line of its block: «评论» alone is found too often.
        """
        if not texts:
            return
        folded = [fold(self.lines[i]) for i in self.filled]
        for block in texts:
            members = set(block.split("\n"))
            inside = [text in members for text in folded]
            for n, i in enumerate(self.filled):
                beside = any(inside[max(n - 1, 0) : n]) or any(inside[n + 1 : n + 2])
                if inside[n] and (len(folded[n]) >= 8 or len(members) == 1 or beside):
                    yield i


def folded_block(text: str) -> str:
    """A span of text as the block of its folded lines, for :meth:`Page.blocks`."""
    return "\n".join(line for line in map(fold, text.split("\n")) if line)


def code_lines(lines: Sequence[str]) -> list[bool]:
    """Which lines stand in a fenced code block (its fences included)."""
    code, fence = [], ""
    for line in lines:
        found = _FENCE.match(line)
        if fence:
            code.append(True)
            if found and found[1].startswith(fence) and not line.strip().strip("`~> "):
                fence = ""
        elif found and not (found[1][0] == "`" and "`" in line.strip()[len(found[1]) :]):
            code.append(True)
            fence = found[1]
        else:
            code.append(False)
    return code


def lines_in_links(lines: Sequence[str], filled: Sequence[int]) -> set[int]:
    """The lines of links that are written over several: from «[» at the end of one to «](address)» at the beginning of another."""
    found: set[int] = set()
    start = -1
    for n, i in enumerate(filled):
        text = lines[i].strip()
        if start >= 0 and text.startswith("]("):
            found.update(filled[start : n + 1])
            start = -1
        elif n - start > _LINK_LINES:
            start = -1
        if text == "[" or (text.startswith("](") and text.endswith(")[")):
            start = n
    return found


def _visible(line: str) -> str:
    return (_INVISIBLE.sub("", line) if not line.isascii() else line).strip()


def _core(text: str) -> str:
    if not text or len(text) > _LONGEST:
        return text
    bare = _TAG.sub("", text) if "<" in text else text
    for _ in range(2):  # a link around an image that was taken out is a link with an empty name
        bare = _LINK.sub(r"\1", bare) if "](" in bare else bare
    bare = _ESCAPE.sub(r"\1", bare) if "\\" in bare else bare
    return _ENDS.sub("", bare.replace("**", "").replace("__", "")).strip() or text
