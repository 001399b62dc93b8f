"""The ordered lines of a PDF -> Markdown: headings, paragraphs joined over lines, columns and pages, lists, code, tables."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from ingest.readers.blocks import Blocks, fenced, plain_paragraph, styled, table_rows
from ingest.readers.pdf_lines import Line, line_runs
from ingest.readers.pdf_text import is_cjk

_PAGE = "\ue000"  # stands where a page begins until a paragraph is complete; no private character comes out of a PDF's text
_BULLET = re.compile(r"^(?:[•●○◦▪■□▫‣➢➤✓❖◆◇·∙–—*o-]|[•●○◦▪■□▫‣➢➤✓❖◆◇∙](?=\S))(?:\s+|(?<=[^o*–—-]))(?=\S)")
_NUMBER = re.compile(
    r"^(?:[(（]?\d{1,3}(?:[.．](?!\d)|[、)）])|\d{1,2}(?:\.\d{1,2}){1,3}\.?(?=\s)|[(（]?[一二三四五六七八九十]{1,3}[、.．)）]|[①-⑳]"
    r"|[(（]?[A-Za-z][)）.]\s|第[一二三四五六七八九十\d]{1,3}[题问章节]|\[\d{1,3}\]\s)"
)
_LABEL = re.compile(r"^(?:[QA]\d{0,3}|问(?:题)?\s?\d{0,3}|答案?|回答|参考答案|解析|Question ?\d{0,3}|Answer)\s?[:：.．]", re.I)
_ENDED = re.compile(r"[。！？!?.:：;；…」』”\"]\s*$")
_COMPOUNDS = """
pre post self multi non co semi cross fine state low high key end open well long short re de un sub inter intra meta zero one few
two three first second top k n auto auxiliary layer token cost large small real data task model time look encoder decoder
"""
_COMPOUND = frozenset(_COMPOUNDS.split())  # first halves of words that are usually written with a hyphen
_EDGE_LINES = 4  # lines that show where a column ends
_SLIDE_CHARACTERS = 900  # a page of slides has fewer


class Statistics:
    """What is ordinary in one document: its body size, its leading by size, its right edges, its words."""

    def __init__(self, pages: Sequence[Sequence[Line]], sizes: Sequence[tuple[float, float]], running: dict[int, str]) -> None:
        lines = [line for page in pages for line in page if not line.cells and id(line) not in running]
        bold = mono = total = ascii_total = 0
        for line in lines:
            for piece in line.pieces:
                count = len(piece.text)
                total += count
                bold += count * piece.bold
                ascii_count = sum(char.isascii() and char.isalnum() for char in piece.text)
                ascii_total += ascii_count
                mono += ascii_count * piece.mono
        self.body = body_size(pages)
        self.all_bold = bold * 2 > total
        self.all_mono = mono * 10 > ascii_total * 9 and mono > 200
        wide = sum(width > 1.15 * height for width, height in sizes) * 2 > len(sizes)
        self.slides = wide and sum(len(line.text) for line in lines) < _SLIDE_CHARACTERS * max(len(sizes), 1)
        steps: dict[float, list[float]] = {}
        for page in pages:
            for a, b in pairwise(page):
                step = b.baseline - a.baseline
                if a.flow == b.flow and not a.cells and not b.cells and abs(a.size - b.size) < 0.5 and 0.5 < step / a.size < 2.2:
                    steps.setdefault(round(a.size * 2) / 2, []).append(step)
        self._leading = {size: median(found) for size, found in steps.items() if len(found) >= 3}
        # The right edge of running text: of the lines of one size in one column, of one column, of all columns with this left edge.
        ends: dict[tuple[object, ...], list[float]] = {}
        for line in lines:
            for key in self._places(line):
                ends.setdefault(key, []).append(line.x1)
        self._right = {key: max(found) for key, found in ends.items() if len(found) >= _EDGE_LINES or len(key) == 1}
        text = "\n".join(line.text for line in lines)
        self.words = Counter(re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower()))
        spaced = len(re.findall(r"[\u4e00-\u9fff] [A-Za-z0-9]|[A-Za-z0-9] [\u4e00-\u9fff]", text))
        tight = len(re.findall(r"[\u4e00-\u9fff][A-Za-z0-9]|[A-Za-z0-9][\u4e00-\u9fff]", text))
        self.spaced = spaced > tight

    def leading(self, size: float) -> float:
        """The usual distance of two baselines of this size."""
        return self._leading.get(round(size * 2) / 2, 1.35 * size)

    def right(self, line: Line) -> float:
        """How far text in the place of a line can reach."""
        return next(self._right[key] for key in self._places(line) if key in self._right)

    def _places(self, line: Line) -> list[tuple[object, ...]]:
        size, edge = round(line.size), round(line.left / 12)
        return [(line.page, line.flow, size), (line.page, line.flow), (edge,)] if self.slides else [(line.page, line.flow), (edge,)]


def body_size(pages: Sequence[Sequence[Line]]) -> float:
    """The size in which most characters are set, to half a point, code not counted; 10 for a document without text."""
    weights: Counter[float] = Counter()
    for line in (line for page in pages for line in page):
        for piece in line.pieces:
            weights[round(piece.size * 2) / 2] += 0 if piece.mono else len(piece.text)
    return weights.most_common(1)[0][0] if weights else 10.0


def heading_levels(pages: Sequence[Sequence[Line]], skipped: dict[int, str], facts: Statistics) -> dict[int, int]:
    """``id`` of a line -> level of the heading it is; larger sizes are higher levels, bold lines in body size the lowest one."""
    found: list[tuple[Line, float]] = []
    for page in pages:
        lines = [line for line in page if id(line) not in skipped and not line.cells and line.text.strip()]
        if facts.slides:
            found += [(line, 0.0) for line in _slide_title(lines)]
            continue
        for i, line in enumerate(lines):
            above = lines[i - 1] if i and lines[i - 1].flow == line.flow else None
            size = _heading_size(line, above, facts)
            if not size and found and above is found[-1][0] and abs(line.size - above.size) < 0.02 * line.size:
                wrapped = line.baseline - above.baseline < 1.5 * line.size and line.pieces[0].bold == above.pieces[0].bold
                size = found[-1][1] if wrapped and line.size >= 1.13 * facts.body else 0.0
            if size:
                found.append((line, size))
    ranks: list[float] = []
    for size in sorted({size for _, size in found}, reverse=True):
        if not ranks or ranks[-1] - size > 0.04 * size:
            ranks.append(size)
    return {id(line): min(1 + min(range(len(ranks)), key=lambda n: abs(ranks[n] - size)), 6) for line, size in found}


def _heading_size(line: Line, above: Line | None, facts: Statistics) -> float:
    """The size that ranks a heading, a little more than the body's for a bold line; 0 for what is none."""
    main = [piece for piece in line.pieces if piece.size >= 0.9 * line.size]
    letters = sum(char.isalpha() for piece in main for char in piece.text)
    wide = sum(is_cjk(char) for piece in main for char in piece.text)
    if letters < 2 or len(line.text) > 150 or letters * 3 < sum(len(piece.text) for piece in line.pieces):
        return 0.0
    if all(piece.mono for piece in main) and not facts.all_mono:
        return 0.0
    bold = all(piece.bold or not piece.text.strip() for piece in main) and not facts.all_bold and letters + wide >= 4
    if line.size >= 1.13 * facts.body:
        return line.size
    text = line.text.strip()
    apart = above is None or line.baseline - above.baseline > 1.15 * facts.leading(facts.body) or above.cells
    ends = text[-1] in "。，,;；:：.、" and not re.fullmatch(r".{0,40}\d\.", text)
    if bold and line.size >= 0.97 * facts.body and len(text) <= 80 and apart and not ends and not _BULLET.match(text):
        return facts.body * 1.02 if line.size < 1.06 * facts.body else line.size
    return 0.0


def _slide_title(lines: Sequence[Line]) -> list[Line]:
    """The lines of a slide's title: the largest type on it, at its top, clearly larger than most of the slide."""
    worded = [line for line in lines if sum(char.isalnum() for char in line.text) >= 2]
    if not worded:
        return []
    largest = max(line.size for line in worded)
    first = [line for line in worded if line.size >= 0.95 * largest]
    others = sorted(size for line in lines if line not in first for size in [line.size] * len(line.text))
    if (others and largest < 1.08 * others[len(others) // 2]) or (not others and len(lines) > 3):
        return []
    title = first[:1]
    for line in first[1:3]:
        if line.baseline - title[-1].baseline < 1.7 * line.size and line.flow == title[-1].flow:
            title.append(line)
    return title


class Flow:
    """Takes the lines of a document one by one and writes blocks; a paragraph stays open until a line does not continue it."""

    def __init__(self, facts: Statistics, levels: dict[int, int]) -> None:
        self.facts = facts
        self.levels = levels
        self.blocks = Blocks()
        self.starts: dict[int, int] = {}  # page -> offset of its first text
        self.open: list[Line] = []
        self.kind = ""
        self.asides: list[tuple[str, str]] = []
        self.begun: set[int] = set()
        self._pages: list[int] = []  # pages whose sign stands in the block that is being written
        self.indents: list[float] = []  # where the markers of the list in hand stand, outermost first

    def take(self, line: Line) -> None:
        """The next line in reading order."""
        kind = self._kind(line)
        if not (self.open and self._continues(line, kind)):
            self._close()
            self.kind = kind
        self.open.append(line)

    def aside(self, text: str, reason: str) -> None:
        """Text that stands apart (a running head, a footnote without a reason): it comes behind the paragraph in hand."""
        self.asides.append((text, reason))

    def finish(self) -> None:
        """The document is over."""
        self._close()
        self._write_asides()

    # --- what a line is ---

    def _kind(self, line: Line) -> str:
        if line.cells:
            return "table"
        if id(line) in self.levels:
            return f"heading {self.levels[id(line)]}"
        if self._is_code(line):
            return "code"
        text = line.text.strip()
        marker = _BULLET.match(text) or _NUMBER.match(text)
        return "item" if marker and marker.end() < len(text) else "body"

    def _is_code(self, line: Line) -> bool:
        if self.facts.all_mono:
            return False
        marked = [piece.mono for piece in line.pieces if any(char.isascii() and not char.isspace() for char in piece.text)]
        if marked:
            return all(marked)
        # A comment in Chinese between two lines of code has no character in the code's font.
        last = self.open[-1] if self.open else None
        return self.kind == "code" and last is not None and last.flow == line.flow and line.x0 > self.open[0].x0 + line.size

    def _continues(self, line: Line, kind: str) -> bool:
        last = self.open[-1]
        same = last.page == line.page and last.flow == line.flow
        gap = (line.baseline - last.baseline) / self.facts.leading(line.size)
        if kind.startswith("heading"):
            numbered = _NUMBER.match(line.text) or _LABEL.match(line.text)
            alike = abs(line.size - last.size) < 0.05 * line.size
            return kind == self.kind and same and alike and not numbered and line.baseline - last.baseline < 1.7 * line.size
        if kind == "code" or self.kind == "code":
            return kind == self.kind and (not same or 0 < line.baseline - last.baseline < 4.5 * line.size)
        if kind != "body" or self.kind not in ("body", "item") or _LABEL.match(line.text.strip()):
            return False
        if abs(line.size - last.size) > 0.08 * line.size or (same and not 0 < gap <= 1.35) or not self._full(last, line):
            return False
        if not same:
            return not _ENDED.search(last.text) and line.page - last.page <= 1
        first = self.open[0]
        if self.kind == "item":
            return line.x0 > first.x0 - 0.5 * line.size and (len(self.open) == 1 or abs(line.x0 - last.x0) < 1.2 * line.size)
        return -3.0 * line.size < line.x0 - last.x0 < 0.9 * line.size and (
            len(self.open) == 1 or line.x0 > last.x0 - 0.9 * line.size
        )

    def _full(self, last: Line, line: Line) -> bool:
        """Whether the first word of a line would not have fitted behind the last one: else the break was meant."""
        text = line.text.strip()
        if is_cjk(text[:1]):  # a closing mark keeps the character before it company
            need = 1.2 if last.text.rstrip()[-1:] in "。！？" else 2.9 if text[1:2] in "，。、；：？！）》”" else 1.9
            return self.facts.right(last) - last.x1 < need * line.size
        word = len(text.split(" ", 1)[0]) * (line.x1 - line.x0) / max(len(line.text), 1)
        return self.facts.right(last) - last.x1 < 0.8 * line.size + 1.15 * word

    # --- writing ---

    def _close(self) -> None:
        lines, self.open = self.open, []
        if lines:
            kind = self.kind
            if kind == "code" and len(lines) == 1 and len(lines[0].text.strip()) < 4:
                kind = "body"
            if kind != "item" and not (kind == "code" and self.indents):
                self.indents = []
            if kind == "table":
                self._add(self._mark(lines[0]) + table_rows([list(row) for row in lines[0].cells]), "block")
            elif kind == "code":
                self._add(self._code(lines), "block")
            elif kind.startswith("heading"):
                text = " ".join(self._joined(lines, plain=True).split())
                self._add("#" * int(kind[-1]) + " " + text, "block")
            else:
                self._paragraph(lines, kind)
        self._write_asides()

    def _write_asides(self) -> None:
        for text, reason in self.asides:
            self.blocks.add(text, "block", reason)
        self.asides = []

    def _paragraph(self, lines: list[Line], kind: str) -> None:
        text = self._joined(lines).strip()
        if kind == "body":
            # A line that ends early keeps its own line, without a blank line where it follows closely.
            close = len(lines) == 1 and lines[0].x1 - lines[0].left < 0.6 * (self.facts.right(lines[0]) - lines[0].left)
            self._add(plain_paragraph(text), "line" if close else "block")
            return
        at = lines[0].x0
        while self.indents and at < self.indents[-1] - 4:
            self.indents.pop()
        if not self.indents or at > self.indents[-1] + 4:
            self.indents.append(at)
        lead = "    " * min(len(self.indents) - 1, 6)
        signs = text[: len(text) - len(text.lstrip(_PAGE))]
        self._add(lead + signs + _BULLET.sub("- ", text[len(signs) :]), "item")

    def _add(self, text: str, kind: str) -> None:
        """Append a block and note where in it pages begin."""
        before = self.blocks.length
        clean = text.replace(_PAGE, "")
        self.blocks.add(clean, "item" if kind == "line" else kind)
        start = max(self.blocks.length - len(clean.rstrip()), before)
        at = -1
        for n in range(text.count(_PAGE)):
            at = text.index(_PAGE, at + 1)
            inside = any(map(str.isalnum, text[:at]))  # else the page begins with this block, its marks included
            self.starts[self._pages.pop(0)] = start + at - n if inside else start

    def _mark(self, line: Line) -> str:
        """The sign of a page's beginning before its first line."""
        if line.page in self.begun:
            return ""
        self.begun.add(line.page)
        self._pages.append(line.page)
        return _PAGE

    def _joined(self, lines: list[Line], *, plain: bool = False) -> str:
        runs: list[tuple[str, str]] = []
        for line in lines:
            here = [(text, "" if plain or (mark == "**" and self.facts.all_bold) or (mark == "`" and self.facts.all_mono) else mark)
                    for text, mark in line_runs(line)]  # fmt: skip
            if here:
                here[0] = (here[0][0].lstrip(), here[0][1])
            if runs and here:
                text, mark = runs[-1]
                runs[-1] = (self._seam(text.rstrip(), here[0][0]), mark)
            if sign := self._mark(line):
                here.insert(0, (sign, here[0][1] if here else ""))
            runs += here
        return "".join(text for text, _ in runs) if plain else styled(runs)

    def _seam(self, text: str, following: str) -> str:
        """The end of a line as it stands before the next one: with a space, without, or without its hyphen."""
        if not text or not following:
            return text
        if text[-1] in "-‐" and len(text) > 1 and text[-2].isalpha() and following[0].isalpha():
            return self._hyphen(text, following)
        a, b = text[-1], following[0]
        if is_cjk(a) and is_cjk(b):
            return text
        if is_cjk(a) or is_cjk(b):
            punctuation = a in "，。、；：？！（《“" or b in "，。、；：？！）》”"
            return text + (" " if self.facts.spaced and not punctuation else "")
        return text + " "

    def _hyphen(self, text: str, following: str) -> str:
        """«atten-» + «tion» loses its hyphen, «pre-» + «training» keeps it: the document's other words decide, then the prefix."""
        left = re.findall(r"[A-Za-z]+$", text[:-1])
        right = re.match(r"[A-Za-z]+", following)
        if not left or not right:
            return text
        first, second = left[0].lower(), right[0].lower()
        whole, parted = self.facts.words[first + second], self.facts.words[f"{first}-{second}"]
        if not whole and not parted:
            parted = first in _COMPOUND or following[0].isupper() or "-" in text[:-1].split(" ")[-1]
        return text if parted > whole else text[:-1]

    def _code(self, lines: list[Line]) -> str:
        widths = [(p.x1 - p.x0) / len(p.text) for line in lines for p in line.pieces if p.mono and len(p.text) > 2]
        width = max(median(widths) if widths else 0.6 * lines[0].size, 0.5)
        edges = {line.page * 1000 + line.flow: line.x0 for line in lines}
        for line in lines:
            edges[line.page * 1000 + line.flow] = min(edges[line.page * 1000 + line.flow], line.x0)
        steps = [b.baseline - a.baseline for a, b in pairwise(lines) if a.page == b.page and a.flow == b.flow]
        step = min(steps, default=1.2 * lines[0].size)
        out: list[str] = []
        last: Line | None = None
        for line in lines:
            if last is not None and last.page == line.page and last.flow == line.flow:
                out += [""] * min(max(round((line.baseline - last.baseline) / max(step, 1)) - 1, 0), 2)
            indent = round((line.x0 - edges[line.page * 1000 + line.flow]) / width)
            text = "".join(text for text, _ in line_runs(line))
            out.append(self._mark(line) + " " * min(indent, 80) + text.rstrip())
            last = line
        return fenced("\n".join(out))
