"""Headings and questions of a text, and how they nest.

A style of heading seen first is outer, a style that starts below another is inner, and a style that goes on («2、» after «1、»)
closes what stands between. So «一、» is a chapter on one page and a step inside an answer on another.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ingest.structure.lines import CLOSING_TITLE, SUMMARY_TITLE, Line, after_answer_label, is_answer_label, parse_lines
from ingest.structure.questions import mark_questions

_CLOSING_TEXT = re.compile(
    r"本文|本篇|这篇文章|以上(?:就|便|即|均|都)?是|希望(?:对|能|通过|本|这|大家|以上)|祝(?:大家|你|您)"
    r"|(?:this|the) (?:article|post|guide)\b",
    re.I,
)
_GOOD_BYE = re.compile(r"以上(?:就|便|即)?是|希望(?:对|本文|这|能|以上)|祝(?:大家|你|您)|感谢(?:阅读|观看)|持续更新|未完待续")
_CAPTION = re.compile(
    r"(?:图解|图示|示意图|配图|图片|图\s*\d+(?:[-.]\d+)*|fig(?:ure)?\.?\s*\d+)\s*[:：.\s].{0,50}[^。！？!?]", re.I
)
_INLINE_ANSWER = re.compile(r"\s*[。.?？\s](?:\*\*)?[【\[]?(?:回答|答案|答|A|Answer)[】\]]?\s*[:：]\s*")
_UNDERLINE = re.compile(r"\s*(?:=+|-+)\s*")
_NO_TITLE = re.compile(r"[。，；！？,;!?：:=$|<>→×^\\{}@]|\.$|https?")
_NO_NUMBERED_TITLE = re.compile(r"[。；;！!$=]|[:：]\s*\S{9}")
_SENTENCE_END = "。！？；!?;"
_DEPTH = 8  # levels of an outline; what would be deeper stands beside the deepest


@dataclass(slots=True)
class Node:
    """A heading or a question and its place in the outline.

    ``line``, ``title_line`` and ``body`` are indices in ``Outline.lines``: of its first line, of the line with its title, of the
    line behind it. ``level`` counts from 1.
    ``inline_answer`` is the offset of an answer on the question's own line, 0 without one.
    """

    line: int
    title_line: int
    body: int
    style: str
    number: int
    parts: tuple[int, ...]
    question: bool
    start: int
    end: int
    title_start: int
    title_end: int
    level: int = 1
    inline_answer: int = 0


@dataclass(slots=True)
class Outline:
    """The non-blank lines of a text and the headings and questions among them, in order."""

    text: str
    lines: list[Line]
    nodes: list[Node] = field(default_factory=list)


def outline(text: str, format: str) -> Outline:
    """Find headings and questions. ``format`` «markdown» gives ``#`` lines and underlined titles their meaning."""
    lines = parse_lines(text, markdown=format == "markdown")
    mark_questions(lines)
    _mark_headings(lines, underlined=format == "markdown")
    nodes = _nodes(lines)
    _nest(nodes)
    return Outline(text, lines, nodes)


# --- headings -------------------------------------------------------------------------------------------------------


def _mark_headings(lines: Sequence[Line], *, underlined: bool) -> None:
    bold_questions = any(line.bold and line.role == "question" and not line.style for line in lines)
    for n, line in enumerate(lines):
        if line.role or line.protected or not line.plain or line.bullet:
            continue
        below = lines[n + 1] if n + 1 < len(lines) else None
        if line.atx:
            line.role = "heading"
        elif below is None:
            continue
        elif underlined and _is_underline(line, below):
            line.role, line.atx = "heading", 1 if "=" in below.text else 2
            below.protected, below.role = True, "underline"
        elif n == 0 and _is_page_title(line):
            line.role, line.style = "heading", "page"
        elif _closes_page(line, below, bold_questions):
            line.role, line.style = "heading", line.style or "closing"
        elif line.style:
            line.role = "heading" if _is_numbered_heading(line, lines[n - 1] if n else None, below) else ""
        elif line.bold:
            if len(line.plain) <= 50 and line.plain[-1] not in _SENTENCE_END:
                line.role, line.style = "heading", "bold"
        elif _is_title_line(lines, n):
            line.role, line.style = "heading", "title"


def _is_underline(line: Line, below: Line) -> bool:
    if below.index != line.index + 1 or not _UNDERLINE.fullmatch(below.text) or len(line.plain) > 100:
        return False
    return "=" in below.text or len(below.text.strip()) >= 3


def _is_page_title(line: Line) -> bool:
    if len(line.plain) > 80 or line.plain[-1] in "。；;，,:：":
        return False
    return not line.style or line.text.lstrip()[:1] not in "1一"


def _closes_page(line: Line, below: Line, bold_questions: bool) -> bool:
    if CLOSING_TITLE.fullmatch(line.plain):
        return True
    if not SUMMARY_TITLE.fullmatch(line.plain):
        return False
    return bool(_CLOSING_TEXT.search(below.text[:200])) or (line.bold and bold_questions)


def _is_numbered_heading(line: Line, above: Line | None, below: Line) -> bool:
    limit = 50 if line.style in ("chinese", "decimal", "chapter") else 40
    if line.indent > 1 or len(line.plain) > limit or line.style == "circle":
        return False
    if line.plain[-1] in "。；;，,！!…：:、" or _NO_NUMBERED_TITLE.search(line.plain):
        return False
    # Members of a list stand one under the other; a heading has something between itself and the next one.
    if _follows(line, below) or (above is not None and _follows(above, line)):
        questions = below.role == "question" or (above is not None and above.role == "question")
        return line.style in ("chinese", "chapter") and questions
    return True


def _follows(line: Line, below: Line) -> bool:
    return line.style == below.style and not below.atx and below.number == line.number + 1


def _is_title_line(lines: Sequence[Line], n: int) -> bool:
    """A short line without punctuation that stands above a body: the plain-text copy of a heading."""
    line = lines[n]
    if not _is_short(line) or n + 1 >= len(lines):
        return False
    if n:
        above = lines[n - 1]
        apart = line.index - above.index > 1 or above.bullet or bool(above.style) or above.role != ""
        if not apart and above.text.rstrip()[-1] not in _SENTENCE_END + ":：.…)）":
            return False  # the end of a wrapped paragraph
    below = lines[n + 1]
    if below.role == "question" or below.atx or _is_body(line, below):
        return True
    return _is_short(below) and n + 2 < len(lines) and _is_body(below, lines[n + 2])


def _is_body(title: Line, line: Line) -> bool:
    return line.bullet or bool(line.style) or line.protected or len(line.text) >= max(20, len(title.text) * 3 // 2)


def _is_short(line: Line) -> bool:
    text = line.plain
    if line.protected or line.bullet or line.style or line.indent > 1 or not 2 <= len(text) <= 48:
        return False
    if sum(2 if char >= "\u2e80" else 1 for char in text) > 48 or not any(char.isalpha() for char in text[:4]):
        return False
    return not _NO_TITLE.search(text)


# --- nodes ----------------------------------------------------------------------------------------------------------


def _nodes(lines: Sequence[Line]) -> list[Node]:
    nodes: list[Node] = []
    for n, line in enumerate(lines):
        if line.role not in ("question", "heading"):
            continue
        question = line.role == "question"
        style = line.style
        if line.atx:
            style = f"#{line.atx}"
        elif style == "decimal":
            style = f"decimal{len(line.parts)}"
        elif question and style not in ("chinese", "chapter", "bracket-chinese", "bracket"):
            style = "question"
        body = n + 1
        while body < len(lines) and lines[body].role == "underline":
            body += 1
        first = n - line.lead
        span = (lines[first].start, line.end, line.title_start, line.title_end)
        node = Node(first, n, body, style, line.number, line.parts, question, *span)
        if question:
            _split_question(node, line, lines[body] if body < len(lines) else None)
        nodes.append(node)
    return nodes


def _split_question(node: Node, line: Line, below: Line | None) -> None:
    """A question whose answer stands on its own line: «什么是 X? X 是 …» with nothing below, or «问:… 答:…»."""
    title = line.text[node.title_start - line.start : node.title_end - line.start]
    labelled = _INLINE_ANSWER.search(title)
    marks = [found.end() for found in re.finditer(r"[?？]", title)]
    if labelled and labelled.end() < len(title):
        asked = title[: labelled.start() + 1].rstrip()
        answer = labelled.end()
    elif marks and len(title) - marks[-1] >= 5 and (below is None or below.role in ("question", "heading")):
        answer = marks[-1]
        while answer < len(title) and title[answer] in "*_ \t\u3000）)":
            answer += 1
        asked = title[: marks[-1]]
    else:
        return
    if answer < len(title):
        node.title_end = node.title_start + len(asked)
        node.inline_answer = node.title_start + answer


def _nest(nodes: Sequence[Node]) -> None:
    """Give every node its level."""
    stack: list[Node] = []
    for i, node in enumerate(nodes):
        following = nodes[i + 1] if i + 1 < len(nodes) else None
        empty = following is not None and following.line == node.body
        leads = empty and following is not None and following.question  # a question follows at once: a chapter of questions
        if node.style == "title" and empty:
            node.style = "section" if leads else "group"
        del stack[min(_kept(stack, node, leads=leads), _DEPTH - 1) :]
        node.level = (stack[-1].level if stack else 0) + 1
        if node.style[0] == "#":
            node.level = max(node.level, int(node.style[1:]))
        stack.append(node)


def _kept(stack: Sequence[Node], node: Node, *, leads: bool) -> int:
    """How many nodes of the stack stay open above this one."""
    style = node.style
    if style == "page":
        return 0
    floor = max((n + 1 for n, other in enumerate(stack) if other.style[0] == "#" or other.style == "page"), default=0)
    if style[0] == "#":
        return next((n for n, other in enumerate(stack) if other.style[0] == "#" and other.style >= style), floor)
    inner = range(floor, len(stack))
    same = [n for n in inner if stack[n].style == style]
    if style == "closing":
        return floor
    if style == "section":
        return same[0] if same else next((n for n in inner if stack[n].question), floor)
    if style == "question":
        return same[0] if same else _without_introduction(stack, floor)
    if style == "group" and not same:  # it opens a group, so it stands beside what came before
        return next((n for n in inner if stack[n].style == "title"), len(stack))
    if style in ("title", "group", "bold"):
        return same[-1] if same and not any(stack[n].question for n in range(same[-1], len(stack))) else len(stack)
    if style.startswith("decimal"):
        return _kept_decimal(stack, node, inner, same)
    going_on = [n for n in same if stack[n].number + 1 == node.number]
    if going_on:
        return going_on[0] if leads else going_on[-1]
    return len(stack) if node.number == 1 or not same else same[-1]


def _without_introduction(stack: Sequence[Node], floor: int) -> int:
    """An unnumbered title with a text of its own is an introduction, not the chapter of the questions below."""
    keep = len(stack)
    while keep > floor and stack[keep - 1].style in ("title", "group", "bold"):
        keep -= 1
    return keep


def _kept_decimal(stack: Sequence[Node], node: Node, inner: range, same: Sequence[int]) -> int:
    """«2.1» stands below «2», «2.1.3» below «2.1»."""
    for n in reversed(inner):
        other = stack[n]
        if other.style in ("number", "chinese", "chapter") and len(node.parts) == 2 and other.number == node.parts[0]:
            return n + 1
        if (
            other.style.startswith("decimal")
            and len(other.parts) < len(node.parts)
            and other.parts == node.parts[: len(other.parts)]
        ):
            return n + 1
    return same[-1] if same else len(stack)


# --- answers --------------------------------------------------------------------------------------------------------


def answer_start(lines: Sequence[Line], first: int, end: int) -> tuple[int, int]:
    """Where the answer in the lines [first, end) begins: (line, offset in the text), behind labels such as «回答:».

    A short remark between the question and the label («(考察:…)») is no part of the answer.
    """
    for n in range(first + 1, min(first + 3, end)):
        if is_answer_label(lines[n]) and all(_is_remark(line) for line in lines[first:n]):
            first = n
            break
    while first < end:
        line = lines[first]
        taken = after_answer_label(line) if is_answer_label(line) else 0
        if taken < len(line.text.strip()):
            return first, line.start + line.indent + taken
        first += 1
    return end, 0


def _is_remark(line: Line) -> bool:
    stripped = line.text.strip()
    return len(stripped) <= 80 and (stripped[0] in "(（【[*>" or is_answer_label(line))


def is_trailing(line: Line, last: bool) -> bool:
    """Whether a line at the end of an answer is no part of it: a caption, a rule, or (of the last answer) the page's good-bye."""
    stripped = line.text.strip()
    if line.protected:
        return False
    if _CAPTION.fullmatch(stripped) or not any(char.isalnum() for char in stripped):
        return True
    return last and len(stripped) <= 120 and bool(_GOOD_BYE.match(stripped))
