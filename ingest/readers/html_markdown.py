"""A tree of elements -> Markdown, by one walk over an explicit stack.

The walk gathers the runs of a line (text with its style, code, formulas) and hands each finished block to the writer.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count

from ingest.readers.html_code import code_of, is_copy_button, is_gutter, language_of
from ingest.readers.html_formulas import Formula, formula, tex_scripts
from ingest.readers.html_tables import Table, code_table, is_layout
from ingest.readers.html_tree import DROPPED, HEADINGS, Element, Tree
from ingest.readers.html_writer import BOLD, BREAK, CODE, ITALIC, MATH, PLAIN, STRUCK, MarkdownWriter, Run, one_line, render

_STYLES = {"b": BOLD, "strong": BOLD, "i": ITALIC, "em": ITALIC, "del": STRUCK, "s": STRUCK, "strike": STRUCK}
_CODES = frozenset(("code", "tt", "kbd", "samp"))
_BOLD_STYLE = re.compile(r"font-weight\s*:\s*(bold|bolder|[6-9]00)", re.I)
_LIGHT_STYLE = re.compile(r"font-weight\s*:\s*(normal|lighter|[1-4]00)", re.I)
_ANCHOR = re.compile(r"[¶#§🔗\s\u200b]*|Permalink.{0,80}|Copy link|直达链接", re.I)
_NO_ALT = re.compile(
    r"(?:image|img|图片?|图像|picture|photo|pic|figure|fig|截图|插图|示意图|配图|描述|alt|untitled|cover|封面|logo|avatar|头像|icon|在这里插入图片描述|请添加图片描述"
    r"|image[-_ ]?\d*|图片?\s*\d+|IMG[-_]\d+"
    r"|[\w%.()@~-]+\.(?:png|jpe?g|gif|webp|svg|bmp|avif)|[0-9a-f-]{16,}|\d+|\W*|https?:\S+|点击(?:查看|放大).{0,8})",
    re.I,
)
_EMOJI_CLASS = re.compile(r"emoji|wp-smiley|twemoji", re.I)
_FOOTNOTE = re.compile(r"\s*(?:\[.{1,12}\]|[®™©]|\(TM\)|st|nd|rd|th)\s*")
_SKIPPED = DROPPED - {"noscript"}
_CELLS = frozenset(("td", "th"))


def to_markdown(tree: Tree, reasons: Mapping[int, str], hidden: frozenset[int]) -> MarkdownWriter:
    """Write a page. ``reasons`` and ``hidden`` are those of a :class:`ingest.readers.html_content.Selection`."""
    walk = _Walk(reasons, hidden, tex_scripts(tree.scripts))
    walk.run(tree.root)
    return walk.writer


class _Walk:
    def __init__(self, reasons: Mapping[int, str], hidden: frozenset[int], scripts: frozenset[str]) -> None:
        self.reasons, self.hidden, self.scripts = reasons, hidden, scripts
        self.writer = MarkdownWriter()
        self.stack: list[Element | str | Callable[[], None]] = []
        self.runs: list[Run] = []
        self.style = PLAIN
        self.flat = 0  # above 0 in what is one line: a heading, a cell
        self.heading = 0  # the level of the heading whose line is being gathered

    def run(self, root: Element) -> None:
        self.stack = [root]
        while self.stack:
            item = self.stack.pop()
            if isinstance(item, str):
                self.runs.append((item, self.style))
            elif isinstance(item, Element):
                self.enter(item)
            else:
                item()
        self.flush()

    # --- helpers ---

    def then(self, element: Element, *after: Callable[[], None]) -> None:
        """Walk the children of an element, then do what is to be done after them."""
        self.stack.extend(reversed(after))
        self.stack.extend(reversed(element.children))

    def flush(self) -> None:
        """End the line that is being gathered."""
        if self.flat:
            self.runs.append((" ", PLAIN))
        elif self.runs:
            runs, self.runs = self.runs, []
            self.writer.paragraph(runs)

    def set_style(self, style: int) -> Callable[[], None]:
        before, self.style = self.style, style

        def restore() -> None:
            self.style = before

        return restore

    def enter(self, element: Element) -> None:
        if (found := formula(element, self.scripts)) is not None:
            self.formula(found)
            return
        if id(element) in self.hidden or is_copy_button(element) or is_gutter(element):
            return
        reason = self.reasons.get(id(element))
        if reason is not None and reason != self.writer.reason and not self.flat:
            self.flush()
            before, self.writer.reason = self.writer.reason, reason
            self.stack.append(lambda: self.leave_region(before))
        self.element(element)

    def leave_region(self, reason: str) -> None:
        self.flush()
        self.writer.reason = reason

    # --- elements ---

    def element(self, element: Element) -> None:
        tag = element.tag
        if tag in _SKIPPED and not (tag == "template" and {"shadowrootmode", "shadowmode"} & element.attrs.keys()):
            return
        if tag == "noscript":
            self.noscript(element)
        elif tag in HEADINGS and not self.flat:
            self.headline(element, int(tag[1]))
        elif tag in ("ul", "ol", "menu", "dir") and not self.flat:
            self.list(element)
        elif tag == "li" and not self.flat:
            self.item(element)
        elif tag == "pre":
            self.code(element)
        elif tag == "table":
            self.table(element)
        elif tag == "blockquote" and not self.flat:
            self.flush()
            self.writer.open_quote()
            self.then(element, self.flush, self.writer.close)
        elif tag in ("dt", "summary") and not (element.headed or self.flat):
            self.term(element)
        elif tag == "hr":
            self.flush()
            if not self.flat:
                self.writer.rule()
        elif element.is_block:
            self.block(element)
        else:
            self.inline(element)

    def block(self, element: Element) -> None:
        self.flush()
        if element.tag in _CELLS:  # of a table that is no table of data
            self.then(element, self.flush)
            return
        restore = self.set_style(self.style | BOLD) if self.is_bold(element) else None
        self.then(element, self.flush, *((restore,) if restore else ()))

    def is_bold(self, element: Element) -> bool:
        return "font-weight" in element.get("style") and bool(_BOLD_STYLE.search(element.get("style"))) and not self.heading

    def inline(self, element: Element) -> None:
        tag = element.tag
        if tag == "br":
            self.runs.append((BREAK, PLAIN))
        elif tag == "img":
            self.image(element)
        elif tag in _CODES:
            self.inline_code(element)
        elif tag in ("sup", "sub"):
            self.script(element)
        elif tag == "rt":
            self.then(element, lambda: self.runs.append((")", PLAIN)))
            self.stack.append("(")
        elif tag == "input":
            if element.get("type") == "checkbox" and element.parent is not None and element.parent.tag in ("li", "p", "label"):
                self.runs.append(("[x] " if "checked" in element.attrs else "[ ] ", PLAIN))
        elif tag in ("select", "textarea", "button", "option"):
            self.flush() if tag != "option" else self.runs.append((" ", PLAIN))
            self.then(element, self.flush)
        elif tag == "a" and (self.heading or element.get("aria-hidden") == "true") and _ANCHOR.fullmatch(element.line()):
            return
        else:
            style = _STYLES.get(tag, PLAIN)
            if "font-weight" in element.get("style"):
                style = BOLD if self.is_bold(element) else PLAIN if _LIGHT_STYLE.search(element.get("style")) else style
            if self.heading:
                style &= ~BOLD
            if style & ~self.style:
                self.then(element, self.set_style(self.style | style))
            else:
                self.then(element)

    def headline(self, element: Element, level: int) -> None:
        self.flush()
        self.flat += 1
        self.heading = level
        restore = self.set_style(PLAIN)

        def end() -> None:
            restore()
            self.flat -= 1
            self.heading = 0
            runs, self.runs = self.runs, []
            self.writer.heading(level, runs)

        self.then(element, end)

    def term(self, element: Element) -> None:
        """A term of a definition list, or the line that opens a folded part: a bold line above what belongs to it."""
        self.flush()
        self.then(element, self.set_style(self.style | BOLD), self.flush)

    def list(self, element: Element) -> None:
        self.flush()
        items = [child for child in element.children if isinstance(child, Element) and child.tag == "li"]
        if items and any(item.headed for item in items):  # cards or questions with their answers: their headings stay headings
            ordered = element.tag == "ol" and len(items) > 1
            first = _number(element.get("start")) or 1
            for number, item in zip(count(first), items, strict=False):
                heading = _first_heading(item)
                if ordered and heading is not None and not re.match(r"\W*[\d一二三四五六七八九十]+\W|[Qq问]", heading.line()):
                    heading.children.insert(0, f"{number}. ")
                item.tag = "div"
            self.then(element, self.flush)
            return
        backwards = "reversed" in element.attrs
        start = _number(element.get("start"))
        if start is None:
            start = len(items) if backwards else 1
        self.writer.open_list(ordered=element.tag == "ol", start=start, step=-1 if backwards else 1)
        self.then(element, self.flush, self.writer.close)

    def item(self, element: Element) -> None:
        self.flush()
        self.writer.open_item(_number(element.get("value")))
        self.then(element, self.flush, self.writer.close)

    def code(self, element: Element) -> None:
        code = code_of(element)
        if self.flat:
            self.runs.append((" ".join(code.split()), CODE))
        elif code.strip():
            self.flush()
            self.writer.code(code, language_of(element))

    def inline_code(self, element: Element) -> None:
        lines = [e for e in element.elements() if e.tag == "br" or (e.is_block and e is not element)]
        if not self.flat and (
            len(lines) > 1 or ("pre" in element.get("style").split("white-space:")[-1][:8] and "\n" in element.text().strip())
        ):
            self.code(element)  # a block of code without its pre
        elif any(e.tag == "img" or formula(e, self.scripts) for e in element.elements() if e is not element):
            self.then(element)
        else:
            self.runs.append((element.text(), self.style | CODE))

    def script(self, element: Element) -> None:
        text = element.line()
        if not text or element.length > 60 or any(e.tag == "img" or e.tag == "math" for e in element.elements()):
            self.then(element)
            return
        link = next((e.get("href") for e in element.elements() if e.tag == "a" and e.get("href")), "")
        mark = "^" if element.tag == "sup" else "_"
        if link:
            text = text if text[0] in "[【(（①②③④⑤⑥⑦⑧⑨⑩" else f"[{text}]"
        elif not (element.tag == "sup" and _FOOTNOTE.fullmatch(text)):
            text = (
                f"{mark}{text}" if re.fullmatch(r"[\w′'*+-]|\d+|-?\d+|[A-Za-z]+", text) and len(text) <= 3 else f"{mark}{{{text}}}"
            )
        self.runs.append((text, self.style))

    def image(self, element: Element) -> None:
        alt = " ".join(element.get("alt").split())
        if _EMOJI_CLASS.search(element.get("class")):
            self.runs.append((alt, self.style))
        elif alt and len(alt) <= 300 and not _NO_ALT.fullmatch(alt):
            self.runs.append((f"![{alt.replace('[', '(').replace(']', ')')}]", PLAIN))

    def noscript(self, element: Element) -> None:
        """Pictures that a script would load later; their stand-in beside it says the same."""
        siblings = element.parent.children if element.parent else []
        if not any(isinstance(child, Element) and child.tag == "img" for child in siblings[:50]):
            for image in element.elements():
                if image.tag == "img":
                    found = formula(image, self.scripts)
                    self.formula(found) if found else self.image(image)

    def formula(self, found: Formula) -> None:
        if not found.tex:
            return
        if found.display and not self.flat:
            self.flush()
            self.writer.formula(found.tex)
        else:
            self.runs.append((f"${one_line(found.tex)}$", MATH))

    # --- tables ---

    def table(self, element: Element) -> None:
        self.flush()
        if self.flat:
            self.then(element, self.flush)
            return
        if (code := code_table(element)) is not None:
            self.writer.code(code, language_of(element))
            return
        if is_layout(element):
            self.then(element, self.flush)
            return
        table = Table(element)
        self.stack.append(lambda: self.writer.table(table.rows()))
        self.stack.extend(table.captions)
        self.stack.append(self.end_cells)
        for cell in reversed(table.cells):
            self.stack.append(partial(self.end_cell, table, cell))
            self.stack.extend(reversed(cell.children))
        self.flat += 1

    def end_cells(self) -> None:
        self.flat -= 1
        self.runs = []

    def end_cell(self, table: Table, cell: Element) -> None:
        runs, self.runs = self.runs, []
        table.fill(cell, one_line(render(runs)))


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,6}", text.strip(), re.ASCII) else None


def _first_heading(item: Element) -> Element | None:
    return next((e for e in item.elements() if e.tag in HEADINGS and e.length), None)
