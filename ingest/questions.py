"""Which lines of a cleaned text are headings and which are questions, and how they nest.

Numbers decide little alone: «1、» opens a question, a section and an item of a list inside an answer. So the numbered lines of one style
are read as a whole: the questions are the chain 1, 2, 3 … whose members ask most (dynamic programming over the lines, linear in
their number), and what is left is a heading when it is short and has a body of its own, else part of an answer.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from ingest.cleaning import code_lines

_CHINESE = "一二三四五六七八九十百"
_MARKS = re.compile(r"(?:\*\*|__|[*_`]|</?(?:b|strong|font|span|u)[^>]*>)")
_ATX = re.compile(r"^ {0,3}(#{1,6})(?:[ \t\u3000]+|(?=[^\s#!]))")
_ATX_END = re.compile(r"[ \t]+#+[ \t]*$")
_BULLET = re.compile(r"^(?:[-*+•·●◦○▪■➤►‣]|>)[ \t\u3000]+|^[•●◦○▪■➤►‣]")
_LEAD = re.compile(r"[ \t\u3000\u00a0]*")
_OPENING = re.compile(r"(?:\*\*|__|[*_]|<(?:b|strong|font|span|u)[^>]*>|[\U0001F300-\U0001FAFF☀-➿️]\s*)+")
_NUMBERS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("chapter", re.compile(rf"第\s*([\d{_CHINESE}]+)\s*(?:部分|[章节篇讲课部])\s*[:：、.]?\s*")),
    ("ask", re.compile(rf"第\s*([\d{_CHINESE}]+)\s*[题问]\s*[:：、.]?\s*")),
    ("ask", re.compile(r"(?:面试)?(?:问题|题目|[QqＱ]|[Qq]uestion|面试题)\s*[#]?\s*(\d{1,4})\s*[:：、.．)）]?\s*")),
    ("bracket-chinese", re.compile(rf"[（(]([{_CHINESE}]{{1,3}})[）)]\s*[、.:：]?\s*")),
    ("chinese", re.compile(rf"([{_CHINESE}]{{1,3}})\s*[、.．:：]\s*")),
    ("bracket", re.compile(r"[（(](\d{1,3})[）)]\s*[、.:：]?\s*")),
    ("decimal", re.compile(r"([1-9]\d?(?:\.\d{1,2}){1,3})(?:[.、．:：)）]\s*|\s+|(?=[\u4e00-\u9fff「《“]))")),
    ("number", re.compile(r"(\d{1,3})\s*(?:[、．)）]|[.:：](?!\d))\s*")),
    ("circle", re.compile(r"([①-⑳])\s*[、.]?\s*")),
)
_NUMBER_STARTS = frozenset(f"0123456789{_CHINESE}（(第面问题QqＱ①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳")
_BARE_NUMBER = re.compile(r"(\d{1,3})\s+(?=\D)")
_QUESTION_LABEL = re.compile(
    r"[【\[（(]?(?:问题|提问|问|面试官|面试题|题目|[QqＱ]|[Qq]uestion)(?:[】\]）)]\s*[:：]?|\s*\d{0,3}\s*[:：])(?:\*\*|__)?\s*"
)
_LABEL_STARTS = frozenset("【[（(问提面题QqＱ")
_ANSWER_LABEL = re.compile(
    r"(?:\*\*|__|[-*>] )*[【\[（(]?(?:(?:参考|标准|正确|简要|简短|详细|面试|推荐|示例)?(?:回答|答案|解答|作答|答)|解析|答案解析|参考解析|候选人|面试者|求职者|[AaＡ]|[Aa]nswer|[Aa]ns)"
    r"(?:[】\]）)](?:\*\*|__)?\s*[:：]?|\s*\d{0,3}(?:\*\*|__)?\s*[:：])(?:\*\*|__)?\s*"
)
_ANSWER_ALONE = re.compile(r"[*_#【\[\s]*(?:参考|标准)?(?:回答|答案|解答|解析|答)[*_】\]\s]*")
_ASK_WORD = re.compile(
    r"什么|为何|如何|怎[么样做办]|哪[些几个种里类一]|多少|几[个种类点步]|是否|能否|可否|有何|会不会|能不能|是不是|有没有|要不要|[吗呢]$"
    r"|^(?:what|why|how|when|where|which|who|is|are|does|do|can|could|should|would|will)\b",
    re.I,
)
_ASK_VERB = re.compile(
    r"^(?:请|试|能)?(?:你|您|详细|简单|简要|具体|大致|分别|手动|口头)?(?:地|的)?"
    r"(?:说一?[下说]|说明|介绍一?[下]?|简述|概述|阐述|解释|讲一?[下讲]|讲述|谈一?[下谈]|描述|比较|对比|推导|证明|写[出一]|手写|手撕|实现|列举|列出|举例|分析|聊[聊一]|计算|估算|给出|总结)"
    r"|^(?:explain|describe|compare|define|discuss|derive|implement|write|list|name|give|walk me|tell me|contrast|calculate|estimate|outline|summari[sz]e)\b",
    re.I,
)
_ASK_INSIDE = re.compile(r"(?:^(?:对于?|给定|设|已知|若|如果|在)|假设|假定).*[,，]\s*(?:请|试)?(?:计算|求|推导|证明|估算|写出|给出|分析)")
_ASIDE = re.compile(r"\s*[(（\[【][^()（）\[\]【】]{0,30}[)）\]】]$")
_MARK = re.compile(r"[:：?？]")
_EXPLAINED = re.compile(r"[:：]\s*\S")
_SENTENCE_BREAK = re.compile(r"[。！!]\s*\S")
_ASK_END = re.compile(r"(?:哪些|什么|多少|如何\w{2,12}|区别)[;；。]$")
_ASK_NOUN = re.compile(r"(?:区别|异同|不同|差异|优缺点|优劣|对比|联系|原理|流程|作用|步骤)(?:和\w{1,6})?$")
_CLOSING_TITLE = re.compile(
    r"(?:参考(?:资料|文献|链接|文章|阅读)?|references?|bibliography|结语|结束语|写在最后|后记|尾声|致谢|acknowledge?ments?|附录.{0,10})", re.I
)
_SUMMARY_TITLE = re.compile(r"(?:全文|本文|文章)?(?:总结|小结|结论)|conclusions?|summary|wrap(?:ping)? up", re.I)
_FRAME_TITLE = re.compile(
    rf"(?:{_CLOSING_TITLE.pattern}|{_SUMMARY_TITLE.pattern}|前言|引言|导语|简介|背景(?:介绍)?|目录|写在前面|introduction|preface|overview)\s*[:：]?", re.I
)
_CLOSING_TEXT = re.compile(r"本文|本篇|这篇文章|以上(?:就|便|即|均|都)?是|希望(?:对|能|通过|本|这|大家|以上)|祝(?:大家|你|您)|(?:this|the) (?:article|post|guide)\b", re.I)
_CAPTION = re.compile(r"(?:图解|图示|示意图|配图|图片|图\s*\d+(?:[-.]\d+)*|fig(?:ure)?\.?\s*\d+)\s*[:：.\s].{0,50}[^。！？!?]", re.I)
_DEPTH = 8  # levels of an outline; what would be deeper stands beside the deepest
_NO_TITLE = re.compile(r"[。，；！？,;!?：:=$|<>→×^\\{}@]|\.$|https?")
_SENTENCE_END = "。！？；!?;"


@dataclass(slots=True)
class Line:
    """One non-blank line: where its title stands once marks and numbers are taken off."""

    index: int
    start: int
    end: int
    text: str
    indent: int = 0
    atx: int = 0
    bullet: bool = False
    bold: bool = False
    style: str = ""
    number: int = 0
    parts: tuple[int, ...] = ()
    label: bool = False
    title_start: int = 0
    title_end: int = 0
    plain: str = ""
    protected: bool = False
    block: int = 0
    asks: int = 0
    role: str = ""


@dataclass(slots=True)
class Node:
    """A heading or a question with its place in the outline. ``line`` and ``body`` index ``Outline.lines``; ``level`` counts from 1."""

    line: int
    body: int
    style: str
    number: int
    question: bool
    start: int
    end: int
    title_start: int
    title_end: int
    level: int = 1
    inline_answer: int = 0
    answered_by_label: bool = False


@dataclass(slots=True)
class Outline:
    """The non-blank lines of a text and the headings and questions among them, in order."""

    text: str
    lines: list[Line]
    nodes: list[Node] = field(default_factory=list)


def outline(text: str, format: str) -> Outline:
    """Find headings and questions. ``format`` «markdown» gives ``#`` lines and underlined titles their meaning."""
    lines = _lines(text, markdown=format == "markdown")
    _read_bare_numbers(lines)
    _mark_questions(lines)
    _mark_headings(lines, underlined=format == "markdown")
    nodes = _nodes(text, lines)
    _nest(lines, nodes)
    return Outline(text, lines, nodes)


# --- lines ----------------------------------------------------------------------------------------------------------


def _lines(text: str, *, markdown: bool) -> list[Line]:
    raw = text.split("\n")
    protected, blocks = _protected_lines(raw)
    lines: list[Line] = []
    start = 0
    for i, content in enumerate(raw):
        if content and not content.isspace():
            line = Line(i, start, start + len(content), content, protected=protected[i], block=blocks[i])
            if len(content) <= 600 and not line.protected:
                _parse(line, markdown)
            else:
                line.indent = len(content) - len(content.lstrip())
            lines.append(line)
        start += len(content) + 1
    return lines


def _protected_lines(raw: Sequence[str]) -> tuple[list[bool], list[int]]:
    """Lines of code blocks, displayed formulas over several lines, and tables: never a heading, never a question.

    The second list numbers the blocks that must stay together (0: none); the rows of a table may part.
    """
    protected = code_lines(raw)
    tables: set[int] = set()
    opened = -1
    for i, line in enumerate(raw):
        stripped = line.strip()
        if protected[i]:
            opened = -1
            continue
        if stripped.startswith("|"):
            protected[i] = True
            tables.add(i)
        edge = stripped.count("$$") % 2 == 1 or stripped in ("\\[", "\\]") or stripped.startswith(("\\begin{", "\\end{"))
        if edge:
            if opened < 0:
                opened = i
            else:
                if i - opened <= 60:
                    protected[opened : i + 1] = [True] * (i + 1 - opened)
                opened = -1
    blocks, block = [0] * len(raw), 0
    for i, kept in enumerate(protected):
        if kept and i not in tables:
            block += not (i and blocks[i - 1])
            blocks[i] = block
    return protected, blocks


def _parse(line: Line, markdown: bool) -> None:
    text = line.text
    at = _end(_LEAD.match(text))
    line.indent = at
    atx = _ATX.match(text) if markdown else None
    if atx:
        line.atx, at = len(atx[1]), atx.end()
    else:
        while bullet := _BULLET.match(text[at:]):
            line.bullet = True
            at += bullet.end()
    end = len(text.rstrip())
    if atx and (closing := _ATX_END.search(text, at, end)):
        end = closing.start()
    stripped = text[at:end]
    line.bold = len(stripped) > 4 and stripped[:2] in ("**", "__") and (stripped.rstrip(":：")[-2:] == stripped[:2])
    at = _skip(_OPENING, text, at, end)
    for style, pattern in _NUMBERS if at < end and text[at] in _NUMBER_STARTS else ():
        found = pattern.match(text, at, end)
        if found:
            line.style, at = style, found.end()
            line.parts = tuple(_value(part) for part in found[1].split("."))
            line.number = line.parts[-1]
            break
    at = _skip(_OPENING, text, at, end)
    label = _QUESTION_LABEL.match(text, at, end) if at < end and text[at] in _LABEL_STARTS else None
    if label and not line.bullet:
        line.label, at = True, label.end()
    if line.style == "ask" and at < end:
        line.label = True
    while at < end and text[at] in " \t\u3000*_":
        at += 1
    while end > at and (text[end - 1] in " \t\u3000*_" or text[at:end].endswith(("</b>", "</u>"))):
        end -= 4 if text[end - 1] == ">" else 1
    line.title_start, line.title_end = line.start + at, line.start + end
    line.plain = unicodedata.normalize("NFKC", _MARKS.sub("", text[at:end])).strip()
    line.asks = asks(line.plain)


def _read_bare_numbers(lines: Sequence[Line]) -> None:
    """«### 1 什么是…»: a number without a sign is one only when a heading of the same level counts on («### 2 …»)."""
    found = [(line, match) for line in lines if line.atx and not line.style and (match := _BARE_NUMBER.match(line.plain))]
    numbers = {(line.atx, int(match[1])) for line, match in found}
    for line, match in found:
        if numbers & {(line.atx, int(match[1]) - 1), (line.atx, int(match[1]) + 1)}:
            line.style, line.number, line.parts = "number", int(match[1]), (int(match[1]),)
            line.title_start += match.end()  # the number is plain ASCII: folding the title did not move it
            line.plain = line.plain[match.end() :]
            line.asks = asks(line.plain)


def _end(found: re.Match[str] | None) -> int:
    return found.end() if found else 0


def _skip(pattern: re.Pattern[str], text: str, at: int, end: int) -> int:
    found = pattern.match(text, at, end)
    return found.end() if found else at


def _value(digits: str) -> int:
    """«12», «十二» or «⑫» as a number."""
    if digits.isascii():
        return int(digits)
    if len(digits) == 1 and "①" <= digits <= "⑳":
        return ord(digits) - ord("①") + 1
    total, last = 0, 0
    for char in digits:
        place = _CHINESE.find(char) + 1
        if place in (10, 11):
            total += max(last, 1) * (10 if place == 10 else 100)
            last = 0
        elif place:
            last = place
        else:
            last = int(char)
    return total + last


def asks(title: str) -> int:
    """How much a title sounds like a question: 3 ends in a question mark, 2 a question word, 1 a request or a topic, 0 no.

    >>> [asks(t) for t in ("什么是注意力?", "注意力如何计算", "介绍注意力", "注意力")]
    [3, 2, 1, 0]
    """
    if len(title) > 500:
        return 0
    bare = _ASIDE.sub("", title.rstrip(" \t*_")).rstrip(" \t\"”』」*_。.;；,，")
    if not bare:
        return 0
    if bare[-1] in "?？":
        return 3
    if len(title) > 200:
        return 1 if _ASK_INSIDE.search(title) else 0
    if (mark := _MARK.search(title)) and mark[0] in "?？":
        return 2  # «what? given that …»: the question mark closes a part
    explained = _EXPLAINED.search(title)
    sentences = _SENTENCE_BREAK.search(title)
    if _ASK_INSIDE.search(title) and not sentences:
        return 2
    if explained or sentences:
        return 0  # «name: explanation» or several sentences: an item that explains
    if title[-1] in "。;；" and not _ASK_VERB.search(title) and not _ASK_END.search(title):
        return 1 if title[-1] in ";；" and _ASK_WORD.search(title) else 0
    if _ASK_WORD.search(title):
        return 2
    return 1 if _ASK_VERB.search(title) or _ASK_NOUN.search(bare) else 0


# --- questions ------------------------------------------------------------------------------------------------------


def _mark_questions(lines: list[Line]) -> None:
    free = [line for line in lines if not line.protected and line.plain]
    _mark_labelled(lines)
    _mark_atx(free)
    free = _outside_questions(free)
    numbered = [line for line in free if line.style == "number" and not line.atx and not line.bullet and line.indent <= 3]
    _mark_chain(numbered, lines)
    for style in ("chinese", "decimal", "bracket-chinese", "bracket"):
        group = [line for line in free if line.style == style and not line.atx and not line.bullet and line.indent <= 3]
        asking = [line for line in group if line.asks >= 2]
        every = len(asking) >= 2 and len(asking) * 5 >= len(group) * 3
        for line in group:
            fits = every or (line.asks >= 2 and style in ("chinese", "decimal"))
            if not line.role and fits and len(line.plain) <= 300 and not _FRAME_TITLE.fullmatch(line.plain):
                line.role = "question"
    bold = [line for line in free if line.bold and not line.style and not line.bullet and not line.role and not line.atx]
    for line in bold:
        if line.asks == 3 or (line.asks == 2 and sum(other.asks >= 2 for other in bold) * 2 > len(bold)):
            line.role = "question"
    if sum(1 for line in lines if line.role == "question") < 2:
        _mark_standing_alone(lines)


def _mark_labelled(lines: Sequence[Line]) -> None:
    """«问:» opens a question if it asks or an answer is labelled below; a line right above «答:» is one, however it is written."""
    labels = [not line.protected and _is_answer(line.text.strip()) for line in lines]
    for n, line in enumerate(lines):
        if line.label and line.plain and not line.bullet and (line.asks or any(labels[n + 1 : n + 4])):
            line.role = "question"
    for above, line, answers in zip(lines, lines[1:], labels[1:], strict=False):
        if not answers or above.role == "question" or (line.text.strip()[0] in "AaＡ" and above.asks < 2):
            continue  # «A:» also opens the options of a test
        if not above.protected and above.plain and len(above.plain) <= 400 and not above.bullet:
            above.role = "question"


def _is_answer(text: str) -> bool:
    return bool(_ANSWER_LABEL.match(text) or _ANSWER_ALONE.fullmatch(text))


def _mark_atx(free: Sequence[Line]) -> None:
    headings = [line for line in free if line.atx]
    marked = [line for line in headings if line.asks == 3]
    levels = {line.atx for line in marked}
    strict = len(marked) >= 3  # the page marks its questions: a heading of another level without a mark is a section
    for line in headings:
        if line.asks == 3 or (line.asks == 2 and (not strict or line.atx in levels)):
            line.role = "question"
    for level in {line.atx for line in headings}:
        group = [line for line in headings if line.atx == level and line.style in ("number", "decimal", "ask")]
        clear, some = sum(line.role == "question" for line in group), sum(line.asks >= 1 for line in group)
        if clear >= 2 and some * 5 >= len(group) * 3:
            for line in group:
                line.role = line.role or ("question" if not _FRAME_TITLE.fullmatch(line.plain) else "")


def _outside_questions(lines: Sequence[Line]) -> list[Line]:
    """Lines that do not stand below a heading which is a question itself: there, a numbered list is part of an answer."""
    outside, inside = [], False
    for line in lines:
        if line.atx:
            inside = line.role == "question"
        elif not inside:
            outside.append(line)
    return outside


def _mark_chain(numbered: Sequence[Line], lines: Sequence[Line]) -> None:
    """Choose the chain(s) 1, 2, 3 … of questions among the numbered lines.

    Each line adds what :func:`_weight` says; going from n to n + 1 is free, a gap or a new start costs. The best total wins.
    """
    sections = [line.index for line in lines if line.atx or (line.style in ("chinese", "chapter") and len(line.plain) <= 40)]
    sections.reverse()
    position = {id(line): n for n, line in enumerate(lines)}
    best: list[float] = []
    before: list[int] = []
    by_number: dict[int, int] = {}  # number -> the line with the best total that carries it
    top, top_before_section = -1, -1  # best chain end so far; and before the latest section heading
    for n, line in enumerate(numbered):
        while sections and sections[-1] < line.index:
            sections.pop()
            top_before_section = top
        options: list[tuple[float, int]] = [(-0.5 if line.number > 1 else 0.0, -1)]
        for step, cost in ((1, 0.0), (2, 1.5), (3, 2.0)):
            if (previous := by_number.get(line.number - step)) is not None:
                same = numbered[previous].text[:6].strip("*_ ")[-1:] == line.text[:6].strip("*_ ")[-1:]
                options.append((best[previous] - cost + (0.01 if same else 0.0), previous))
        if line.number == 1:
            if top_before_section >= 0:
                options.append((best[top_before_section] - 0.5, top_before_section))
            if top >= 0:
                options.append((best[top] - 2.0, top))
        value, link = max(options)
        following = lines[position[id(line)] + 1] if position[id(line)] + 1 < len(lines) else None
        best.append(value + _weight(line, following))
        before.append(link)
        current = by_number.get(line.number)
        if current is None or best[n] >= best[current]:
            by_number[line.number] = n
        if top < 0 or best[n] > best[top]:
            top = n
    chain: list[Line] = []
    while top >= 0:
        chain.append(numbered[top])
        top = before[top]
    chain.reverse()
    _accept_chain(chain)


def _weight(line: Line, following: Line | None) -> float:
    """What a numbered line adds to a chain of questions."""
    weight = (-0.6, 0.6, 1.5, 2.0)[line.asks]
    if line.role == "question":
        return 2.0
    if line.indent:
        weight -= 0.5
    if not line.asks and (len(line.plain) > 40 or line.plain[-1:] in "。；;，,:："):
        weight -= 0.6
    if line.asks < 3 and following is not None and following.style == "number" and following.number == line.number + 1:
        weight -= 0.3 if line.asks == 2 else 0.6  # items that follow each other without a body look like a list
    return weight


def _accept_chain(chain: Sequence[Line]) -> None:
    """Every run of the chain in which most members ask becomes questions; elsewhere only short lines that clearly ask."""
    run: list[Line] = []
    runs = [run]
    for line in chain:
        if run and line.number <= run[-1].number:
            run = []
            runs.append(run)
        run.append(line)
    asking = sum(line.asks >= 1 or line.role == "question" for line in chain)
    most = asking * 5 >= len(chain) * 3 and len(chain) >= 3
    for run in runs:
        clear = sum(line.asks >= 2 or line.role == "question" for line in run)
        some = sum(line.asks >= 1 or line.role == "question" for line in run)
        whole = clear >= 1 and some * 5 >= len(run) * 3 and (len(run) >= 2 or most or run[0].asks == 3)
        for line in run:
            if (whole and not _FRAME_TITLE.fullmatch(line.plain)) or (line.asks == 3 and len(line.plain) <= 120):
                line.role = "question"


def _mark_standing_alone(lines: Sequence[Line]) -> None:
    """A page without numbers and marks: short lines that end in a question mark, each with a body below, are its questions."""
    found = []
    for n, line in enumerate(lines[:-1]):
        following = lines[n + 1]
        if line.protected or line.bullet or line.role or line.asks != 3 or not 4 <= len(line.plain) <= 80:
            continue
        apart = n == 0 or line.index - lines[n - 1].index > 1 or lines[n - 1].plain[-1:] in _SENTENCE_END
        if apart and following.asks != 3 and len(re.findall(r"[。!?]", line.plain[:-1])) == 0:
            found.append(line)
    if len(found) >= 2:
        for line in found:
            line.role = "question"


# --- headings -------------------------------------------------------------------------------------------------------


def _mark_headings(lines: Sequence[Line], *, underlined: bool) -> None:
    bold_questions = any(line.bold and line.role == "question" and not line.style for line in lines)
    for n, line in enumerate(lines):
        if line.role or line.protected or not line.plain or line.bullet:
            continue
        above = lines[n - 1] if n else None
        below = lines[n + 1] if n + 1 < len(lines) else None
        if line.atx:
            line.role = "heading"
        elif underlined and below is not None and below.index == line.index + 1 and re.fullmatch(r"\s*(?:=+|-+)\s*", below.text):
            if len(line.plain) <= 100 and (len(below.text.strip()) >= 3 or "=" in below.text):
                line.role, line.atx = "heading", 1 if "=" in below.text else 2
                below.protected, below.role = True, "underline"
        elif n == 0 and _is_page_title(line, below):
            line.role, line.style = "heading", "page"
        elif _CLOSING_TITLE.fullmatch(line.plain.rstrip(":：")) and below is not None:
            line.role, line.style = "heading", line.style or "closing"
        elif _SUMMARY_TITLE.fullmatch(line.plain.rstrip(":：")) and below is not None and (
            _CLOSING_TEXT.search(below.text[:200]) or (line.bold and bold_questions)
        ):
            line.role, line.style = "heading", line.style or "closing"
        elif line.style:
            if _is_numbered_heading(line, above, below):
                line.role = "heading"
        elif line.bold:
            if len(line.plain) <= 50 and below is not None and line.plain[-1] not in _SENTENCE_END:
                line.role, line.style = "heading", "bold"
        elif _is_title_line(lines, n):
            line.role, line.style = "heading", "title"


def _is_page_title(line: Line, below: Line | None) -> bool:
    if below is None or len(line.plain) > 80 or line.plain[-1] in "。；;，,:：":
        return False
    return not line.style or line.text.lstrip()[:1] not in "1一"


def _is_numbered_heading(line: Line, above: Line | None, below: Line | None) -> bool:
    limit = 50 if line.style in ("chinese", "decimal", "chapter") else 40
    if below is None or line.indent > 1 or len(line.plain) > limit or line.style == "circle":
        return False
    if line.plain[-1] in "。；;，,！!…：:、" or re.search(r"[。；;！!$=]|[:：]\s*\S{9}", line.plain):
        return False
    # Members of a list stand one under the other; a heading has something between itself and the next one.
    if _follows(line, below) or (above is not None and _follows(above, line)):
        return line.style in ("chinese", "chapter") and (below.role == "question" or (above is not None and above.role == "question"))
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
            return False
    below = lines[n + 1]
    if below.role == "question" or below.atx:
        return True
    if _is_body(line, below):
        return True
    return _is_short(below) and n + 2 < len(lines) and _is_body(below, lines[n + 2])


def _is_body(title: Line, line: Line) -> bool:
    return line.bullet or bool(line.style) or line.protected or len(line.text) >= max(20, len(title.text) * 3 // 2)


def _is_short(line: Line) -> bool:
    text = line.plain
    if line.protected or line.bullet or line.style or line.indent > 1 or not 2 <= len(text) <= 48:
        return False
    if sum(2 if "\u2e80" <= char else 1 for char in text) > 48 or not any(char.isalpha() for char in text[:4]):
        return False
    return not _NO_TITLE.search(text)


# --- nodes ----------------------------------------------------------------------------------------------------------


def _nodes(text: str, lines: Sequence[Line]) -> list[Node]:
    nodes: list[Node] = []
    for n, line in enumerate(lines):
        if line.role not in ("question", "heading"):
            continue
        question = line.role == "question"
        style = line.style
        if line.atx:
            style = f"#{line.atx}"
        elif question and style not in ("chinese", "decimal", "chapter", "bracket-chinese", "bracket"):
            style = "question"
        elif style == "decimal":
            style = f"decimal{len(line.parts)}"
        if question and style == "decimal":
            style = f"decimal{len(line.parts)}"
        body = n + 1
        while body < len(lines) and lines[body].role == "underline":
            body += 1
        node = Node(n, body, style, line.number, question, line.start, line.end, line.title_start, line.title_end)
        if question:
            _split_question(node, line, lines[body] if body < len(lines) else None)
        nodes.append(node)
    return nodes


def _split_question(node: Node, line: Line, below: Line | None) -> None:
    """A question whose answer stands on its own line: «什么是 X? X 是 …» with nothing below, or «问:… 答:…»."""
    title = line.text[node.title_start - line.start : node.title_end - line.start]
    labelled = re.search(r"\s*[。.?？\s](?:\*\*)?[【\[]?(?:回答|答案|答|[A]|Answer)[】\]]?\s*[:：]\s*", title)
    marks = [m.end() for m in re.finditer(r"[?？]", title)]
    if labelled and labelled.end() < len(title):
        asked = title[: labelled.start() + 1].rstrip()
        node.title_end = node.title_start + len(asked)
        node.inline_answer = node.title_start + labelled.end()
    elif marks and len(title) - marks[-1] >= 5 and (below is None or below.role in ("question", "heading")):
        while marks[-1] < len(title) and title[marks[-1]] in "*_ \t\u3000）)":
            marks[-1] += 1
        asked = title[: marks[-1]].rstrip(" \t*_\u3000")
        node.title_end = node.title_start + len(asked)
        node.inline_answer = node.title_start + marks[-1]


def _nest(lines: Sequence[Line], nodes: list[Node]) -> None:
    """Give every node its level: a style seen first is outer, a style that starts below another is inner, a style that goes on closes
    what stands between."""
    stack: list[Node] = []
    for i, node in enumerate(nodes):
        following = nodes[i + 1] if i + 1 < len(nodes) else None
        empty = following is not None and following.line == node.body
        if node.style == "title" and empty and following is not None:
            node.style = "section" if following.question else "title0"
        keep = _parents(stack, node, lines, leads=empty and following is not None and following.question)
        del stack[min(keep, _DEPTH - 1) :]
        node.level = (stack[-1].level if stack else 0) + 1
        if node.style.startswith("#"):
            node.level = max(node.level, int(node.style[1:]))
        stack.append(node)


def _parents(stack: Sequence[Node], node: Node, lines: Sequence[Line], *, leads: bool) -> int:
    """How many nodes of the stack stay open above this one. ``leads``: a question follows at once."""
    style = node.style
    if style == "page":
        return 0
    floor = max((n + 1 for n, open_ in enumerate(stack) if open_.style[0] == "#" or open_.style == "page"), default=0)
    if style[0] == "#":
        return next((n for n, open_ in enumerate(stack) if open_.style[0] == "#" and open_.style >= style), floor)
    inner = range(floor, len(stack))
    same = [n for n in inner if stack[n].style == style]
    if style == "closing":
        return floor
    if style == "section":
        return same[0] if same else next((n for n in inner if stack[n].question), floor)
    if style == "question":
        if same:
            return same[0]
        keep = len(stack)
        while keep > floor and stack[keep - 1].style in ("title", "title0", "bold"):
            keep -= 1  # an introduction with a text of its own is not the chapter of the questions
        return keep
    if style == "title0" and not same:  # it opens a group, so it stands beside what came before
        return next((n for n in inner if stack[n].style == "title"), len(stack))
    if style in ("title", "title0", "bold"):
        return same[-1] if same and all(not stack[n].question for n in range(same[-1], len(stack))) else len(stack)
    if style.startswith("decimal"):
        depth = int(style[7:])
        parts = lines[node.line].parts
        for n in reversed(inner):
            open_parts = lines[stack[n].line].parts
            if stack[n].style in ("number", "chinese", "chapter") and len(parts) == 2 and stack[n].number == parts[0]:
                return n + 1
            if stack[n].style.startswith("decimal") and len(open_parts) < depth and open_parts == parts[: len(open_parts)]:
                return n + 1
        return same[-1] if same else len(stack)
    going_on = [n for n in same if stack[n].number + 1 == node.number]
    if going_on:
        return going_on[0] if leads else going_on[-1]
    if node.number == 1 or not same:
        return len(stack)
    return same[-1]


def answer_start(lines: Sequence[Line], first: int) -> tuple[int, int]:
    """Where the answer begins whose first line is ``first``: (line, offset in the text) behind labels such as «回答:»."""
    while first < len(lines) and not lines[first].protected:
        line = lines[first]
        stripped = line.text.strip()
        lead = line.start + len(line.text) - len(line.text.lstrip())
        label = _ANSWER_LABEL.match(stripped)
        if label and label.end() < len(stripped):
            return first, lead + label.end()
        if not label and not _ANSWER_ALONE.fullmatch(stripped):
            return first, lead
        first += 1
    return first, lines[first].start + lines[first].indent if first < len(lines) else 0


def is_trailing(line: Line, last: bool) -> bool:
    """Whether a line at the end of an answer is no part of it: a caption, a rule, or (of the last answer) the page's good-bye."""
    stripped = line.text.strip()
    if line.protected:
        return False
    if _CAPTION.fullmatch(stripped) or not any(char.isalnum() for char in stripped):
        return True
    return last and len(stripped) <= 120 and bool(re.match(r"(?:以上(?:就|便|即)?是|希望(?:对|本文|这|能|以上)|祝(?:大家|你|您)|感谢(?:阅读|观看))", stripped))
