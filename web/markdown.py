"""Markdown to escaped HTML, with spans of the source marked.

Only the markup that notes and answers really use is understood: headings, lists, tables, quotations, fenced code, `code`, **bold**,
*italic* and TeX between dollars. Everything else, HTML, links and images included, stays the text it is. Every character of the
source passes ``html.escape``; the only tags in the result are the ones written in this module and in the given spans.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise

_FENCE = re.compile(r"\s*(```+|~~~+)\s*([\w+#.-]*)")
_HEADING = re.compile(r"\s{0,3}(#{1,6})\s+(?=\S)")
_ITEM = re.compile(r"(\s*)(?:([-*+•·])|(\d{1,3})[.)、．])(?:\s+|(?<=[、．•·])(?=\S))(?=\S)")
_RULE = re.compile(r"\s{0,3}([-*_])(?:\s*\1){2,}\s*$")
_QUOTE = re.compile(r"\s{0,3}>\s?")
_TABLE_RULE = re.compile(r"\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?\s*$")
_DISPLAY = re.compile(r"\s*(\$\$|\\\[)")
_INLINE = re.compile(
    r"(?P<escape>\\[\\`*_{}\[\]()#+\-.!$|~>])"
    r"|(?P<ticks>`+)(?P<code>.+?)(?<!`)(?P=ticks)(?!`)"
    r"|\$\$(?P<display>[^$]+)\$\$"
    r"|\$(?P<math>[^\s$](?:[^$\n]*[^\s$\\])?)\$(?!\d)"
    r"|\\\((?P<paren>.+?)\\\)"
    r"|\*\*(?P<bold>(?=\S).+?(?<=\S))\*\*"
    r"|(?<![*\w])\*(?P<italic>[^\s*](?:[^*\n]*[^\s*])?)\*(?![*\w])"
)

_SHORT_FORMULA = 30  # characters of TeX
_CLOSING = tuple("，。、；：！？）」』”’》,.;:!?)")
# Searching for closing marks is quadratic in the worst case; a line this long is data, not prose, and is shown as it is.
_LONGEST_LINE = 20_000


@dataclass(frozen=True, slots=True)
class Span:
    """A span of the source to wrap. ``tag``, ``attributes`` and ``after`` (what goes behind its end) are trusted HTML."""

    start: int
    end: int
    tag: str = "mark"
    attributes: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    """A piece of one source line: ``text[i]`` is character ``start + i`` of the source."""

    start: int
    text: str

    def after(self, count: int) -> "_Line":
        return _Line(self.start + count, self.text[count:])

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def blank(self) -> bool:
        return not self.text.strip()

    @property
    def indent(self) -> int:
        return len(self.text) - len(self.text.lstrip())


def to_html(text: str, spans: Sequence[Span] = ()) -> str:
    """Render ``text``; each span is wrapped piece by piece, so it may cross blocks and emphasis.

    >>> to_html("**a** <b>", [Span(6, 9)])
    '<p><strong>a</strong> <mark>&lt;b&gt;</mark></p>'
    """
    writer = _Writer([_trimmed(text, span) for span in spans])
    lines, start = [], 0
    for line in text.split("\n"):
        lines.append(_Line(start, line.rstrip("\r")))
        start += len(line) + 1
    _blocks(writer, lines, 0)
    writer.flush(len(text))
    return "".join(writer.parts)


def inline(text: str) -> str:
    """One line of text: code, emphasis and formulas are rendered, block markup is not."""
    writer = _Writer([])
    _inline(writer, _Line(0, text.replace("\n", " ")))
    return "".join(writer.parts)


class _Writer:
    """Collects HTML; ``leaf`` wraps what lies inside a span."""

    def __init__(self, spans: list[Span]) -> None:
        self.parts: list[str] = []
        self._spans = spans
        self._ending = sorted((span for span in spans if span.after), key=lambda span: span.end, reverse=True)

    def tag(self, html: str) -> None:
        self.parts.append(html)

    def leaf(self, start: int, text: str) -> None:
        """Source text of which every character may be cut at a span's boundary."""
        end = start + len(text)
        cuts = sorted({start, end, *(p for span in self._spans for p in (span.start, span.end) if start < p < end)})
        for a, b in pairwise(cuts):
            self.atom(a, b, escape(text[a - start : b - start]))

    def atom(self, start: int, end: int, html: str) -> None:
        """HTML made from ``[start, end)`` that cannot be cut."""
        self.flush(start)
        for span in self._spans:
            if span.start < end and start < span.end:
                attributes = f" {span.attributes}" if span.attributes else ""
                html = f"<{span.tag}{attributes}>{html}</{span.tag}>"
        self.parts.append(html)
        self.flush(end)

    def flush(self, position: int) -> None:
        """Write what stands behind the spans that end at or before ``position``."""
        while self._ending and self._ending[-1].end <= position:
            self.parts.append(self._ending.pop().after)


def _trimmed(text: str, span: Span) -> Span:
    inside = text[span.start : span.end]
    left = len(inside) - len(inside.lstrip())
    return replace(span, start=span.start + left, end=max(span.start + left, span.start + len(inside.rstrip())))


def _blocks(writer: _Writer, lines: Sequence[_Line], depth: int) -> None:
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.blank:
            at += 1
        elif fence := _FENCE.match(line.text):
            at = _code(writer, lines, at, fence.group(1))
        elif _DISPLAY.match(line.text) and (end := _display_end(lines, at)) is not None:
            _display(writer, lines[at:end])
            at = end
        elif heading := _HEADING.match(line.text):
            level = len(heading.group(1))
            writer.tag(f"<h{level}>")
            _inline(writer, line.after(heading.end()))
            writer.flush(line.end)
            writer.tag(f"</h{level}>")
            at += 1
        elif _RULE.match(line.text):
            writer.tag("<hr>")
            at += 1
        elif _QUOTE.match(line.text) and depth < 6:
            end = _run(lines, at, lambda part: bool(_QUOTE.match(part.text)))
            writer.tag("<blockquote>")
            _blocks(writer, [part.after(match.end()) for part in lines[at:end] if (match := _QUOTE.match(part.text))], depth + 1)
            writer.tag("</blockquote>")
            at = end
        elif _ITEM.match(line.text) and depth < 6:
            at = _list(writer, lines, at, depth)
        elif _starts_table(lines, at):
            end = _run(lines, at, lambda part: "|" in part.text)
            _table(writer, lines[at:end])
            at = end
        else:
            end = _paragraph_end(lines, at, depth)
            writer.tag("<p>")
            _lines(writer, lines[at:end])
            writer.tag("</p>")
            at = end


def _run(lines: Sequence[_Line], at: int, belongs: Callable[[_Line], bool]) -> int:
    while at < len(lines) and belongs(lines[at]):
        at += 1
    return at


def _starts_block(line: _Line, depth: int) -> bool:
    patterns = [_FENCE, _HEADING, _RULE, *([_ITEM, _QUOTE] if depth < 6 else [])]
    return any(pattern.match(line.text) for pattern in patterns)


def _paragraph_end(lines: Sequence[_Line], at: int, depth: int) -> int:
    at += 1
    while at < len(lines) and not lines[at].blank and not _starts_block(lines[at], depth):
        if (_DISPLAY.match(lines[at].text) and _display_end(lines, at) is not None) or _starts_table(lines, at):
            break
        at += 1
    return at


def _starts_table(lines: Sequence[_Line], at: int) -> bool:
    """Whether the line is the head of a table: the rule stands below it."""
    head, rule = lines[at].text, lines[at + 1].text if at + 1 < len(lines) else ""
    return "|" in head and "|" in rule and bool(_TABLE_RULE.match(rule))


def _lines(writer: _Writer, lines: Sequence[_Line]) -> None:
    for number, line in enumerate(lines):
        if number:
            writer.tag("\n")
        _inline(writer, line.after(line.indent) if not number else line)
        writer.flush(line.end)


def _code(writer: _Writer, lines: Sequence[_Line], at: int, fence: str) -> int:
    end = at + 1
    while end < len(lines) and not lines[end].text.strip().startswith(fence):
        end += 1
    writer.tag("<pre><code>")
    indent = lines[at].indent
    for number, line in enumerate(lines[at + 1 : end]):
        if number:
            writer.tag("\n")
        body = line.after(min(indent, line.indent))
        writer.leaf(body.start, body.text)
    writer.tag("</code></pre>")
    return end + 1


def _display_end(lines: Sequence[_Line], at: int) -> int | None:
    """The line behind a display formula that starts on line ``at`` and fills its lines; None when it is something else."""
    opening = _DISPLAY.match(lines[at].text)
    close = "$$" if opening and opening.group(1) == "$$" else "\\]"
    rest = lines[at].text[opening.end() :] if opening else ""
    for end in range(at, min(len(lines), at + 40)):
        text = rest if end == at else lines[end].text
        if close in text:
            return end + 1 if text.rstrip(" ,.，。").endswith(close) else None
        if lines[end].blank and end > at:
            return None
    return None


def _display(writer: _Writer, lines: Sequence[_Line]) -> None:
    source = "\n".join(line.text for line in lines).strip().rstrip(" ,.，。")
    writer.tag('<div class="display-math">')
    writer.atom(lines[0].start, lines[-1].end, f"<m-tex display>{escape(source[2:-2].strip())}</m-tex>")
    writer.tag("</div>")


def _list(writer: _Writer, lines: Sequence[_Line], at: int, depth: int) -> int:
    first = _ITEM.match(lines[at].text)
    assert first is not None
    indent, ordered = len(first.group(1)), first.group(3) is not None
    writer.tag("<ol>" if ordered else "<ul>")
    while at < len(lines):
        item = _ITEM.match(lines[at].text)
        if item is None or len(item.group(1)) > indent + 1 or (item.group(3) is not None) != ordered or len(item.group(1)) < indent:
            break
        end = _item_end(lines, at, len(item.group(1)), depth)
        writer.tag(f'<li value="{int(item.group(3))}">' if ordered else "<li>")
        body = [lines[at].after(item.end()), *(line.after(min(item.end(), line.indent)) for line in lines[at + 1 : end])]
        head = _run(body, 1, lambda line: not line.blank and not _starts_block(line, depth))
        _lines(writer, body[:head])
        _blocks(writer, body[head:], depth + 1)
        writer.tag("</li>")
        at = end
    writer.tag("</ol>" if ordered else "</ul>")
    return at


def _item_end(lines: Sequence[_Line], at: int, indent: int, depth: int) -> int:
    """An item holds the lines that are indented deeper than its marker, and lines that go on with its paragraph."""
    at += 1
    while at < len(lines):
        line = lines[at]
        if line.blank:
            following = _run(lines, at, lambda part: part.blank)
            if following == len(lines) or lines[following].indent > indent:
                at = following
                continue
            return following if _ITEM.match(lines[following].text) else at
        elif line.indent <= indent and _starts_block(line, depth):
            return at
        at += 1
    return at


def _table(writer: _Writer, lines: Sequence[_Line]) -> None:
    writer.tag('<div class="table"><table>')
    for number, line in enumerate(lines):
        if number == 1:
            continue
        cell = "td" if number else "th"
        writer.tag("<tr>")
        for part in _cells(line):
            writer.tag(f"<{cell}>")
            _inline(writer, part)
            writer.flush(part.end)
            writer.tag(f"</{cell}>")
        writer.tag("</tr>")
    writer.tag("</table></div>")


def _cells(line: _Line) -> Iterator[_Line]:
    body = line.after(line.indent)
    if body.text.startswith("|"):
        body = body.after(1)
    text = body.text.rstrip().removesuffix("|")
    start = 0
    for match in re.finditer(r"(?:\\.|\$[^$|]*(?:\|[^$|]*)*\$|`[^`]*`|[^|])*(?:\||$)", text):
        part = match.group().removesuffix("|")
        if match.start() >= len(text) and start:
            break
        left = len(part) - len(part.lstrip())
        yield _Line(body.start + match.start() + left, part.strip())
        start = match.end()


def _inline(writer: _Writer, line: _Line) -> None:
    if len(line.text) > _LONGEST_LINE:
        writer.leaf(line.start, line.text)
        return
    at = 0
    for match in _INLINE.finditer(line.text):
        writer.leaf(line.start + at, line.text[at : match.start()])
        start, end, kind = line.start + match.start(), line.start + match.end(), match.lastgroup
        if match.group("escape"):
            writer.atom(start, end, escape(match.group("escape")[1]))
        elif match.group("code") is not None:
            writer.atom(start, end, f"<code>{escape(match.group('code').strip())}</code>")
        elif kind in ("bold", "italic"):
            tag, inner = ("strong", 2) if kind == "bold" else ("em", 1)
            writer.tag(f"<{tag}>")
            _inline(writer, _Line(start + inner, match.group(kind)))
            writer.tag(f"</{tag}>")
        else:
            source = match.group("display") or match.group("math") or match.group("paren")
            html = f"<m-tex{' display' if match.group('display') else ''}>{escape(source.strip())}</m-tex>"
            behind = line.text[match.end() : match.end() + 1]
            if behind in _CLOSING and len(source) <= _SHORT_FORMULA:
                # Else the browser would begin a line with the punctuation. A long formula has to stay free to break.
                html, end = f'<span class="glued">{html}{escape(behind)}</span>', end + 1
            writer.atom(start, end, html)
        at = end - line.start
    writer.leaf(line.start + at, line.text[at:])
