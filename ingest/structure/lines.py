"""The lines of a text as a reader of headings sees them: marks, number, title, and how much the title asks."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ingest.cleaning.page import code_lines

_CHINESE = "一二三四五六七八九十百"
_BEGIN = re.compile(r"\\begin\{([A-Za-z]{1,20}\*?)\}")
_FORMULA_LINES = 60  # lines of a displayed formula
_LONGEST = 600  # characters; a longer line is a paragraph, whatever it begins with
_MARKS = re.compile(r"\*\*|__|[*_`]|</?(?:b|strong|font|span|u)\b[^<>]{0,80}>")
_ATX = re.compile(r"^ {0,3}(#{1,6})(?:[ \t\u3000]+|(?=[^\s#!]))")
_ATX_END = re.compile(r"[ \t]+#+[ \t]*$")
_BULLET = re.compile(r"[-*+][ \t\u3000]+|>[ \t\u3000]*|[•·●◦○▪■➤►‣][ \t\u3000]*")
_BULLET_ALONE = re.compile(r"\s*[-*+•·●◦○▪■➤►‣]\s*")
_NUMBER_ALONE = re.compile(r"\s*(?:0?(\d{1,2})[.、]?)\s*")
_LEAD = re.compile(r"[ \t\u3000\u00a0]*")
_OPENING = re.compile(r"(?:\*\*|__|[*_]|</?(?:b|strong|font|span|u)\b[^<>]{0,80}>|[\U0001F300-\U0001FAFF☀-➿\ufe0f]\s*)+")
_NUMBERS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("chapter", re.compile(rf"第\s*([\d{_CHINESE}]+)\s*(?:部分|[章节篇讲课部])\s*[:：、.]?\s*")),
    ("chapter", re.compile(rf"(?:模块|部分|专题|Part|Chapter)\s*([\d{_CHINESE}]+)\s*[:：、.]\s*")),
    ("ask", re.compile(rf"第\s*([\d{_CHINESE}]+)\s*[题问]\s*[:：、.]?\s*")),
    ("ask", re.compile(r"(?:面试题|面试问题|问题|题目|[QqＱ]|[Qq]uestion)\s*#?\s*(\d{1,4})\s*[:：、.．)）]?\s*")),
    ("bracket-chinese", re.compile(rf"[（(]([{_CHINESE}]{{1,3}})[）)]\s*[、.:：]?\s*")),
    ("chinese", re.compile(rf"([{_CHINESE}]{{1,3}})\s*[、.．:：]\s*")),
    ("bracket", re.compile(r"[（(](\d{1,3})[）)]\s*[、.:：]?\s*")),
    ("decimal", re.compile(r"([1-9]\d?(?:\.\d{1,2}){1,3})(?:[.、．:：)）]\s*|\s+|(?=[\u4e00-\u9fff「《“]))")),
    ("number", re.compile(r"(\d{1,3})\s*(?:[、．)）]|[.:：](?!\d))\s*")),
    ("circle", re.compile(r"([①-⑳])\s*[、.]?\s*")),
)
_NUMBER_STARTS = frozenset(f"0123456789{_CHINESE}（(第模部专PC面问题QqＱ①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳")
_BARE_NUMBER = re.compile(r"(\d{1,3})\s+(?=\D)")
_QUESTION_LABEL = re.compile(
    r"[【\[（(]?(?:问题|提问|追问|反问|问|面试官(?:追?问|：)?|面试题|题目|[QqＱ]|[Qq]uestion|[Ff]ollow-?up(?: question)?)"
    r"(?:[】\]）)]\s*[:：]?|\s*[\d一二三四五六七八九十]{0,3}\s*[:：])(?:\*\*|__)?\s*"
)
_LABEL_STARTS = frozenset("【[（(问提追反面题QqＱFf")
_ANSWER_LABEL = re.compile(
    r"(?:[-*>] |[^\w\s]\s*)?(?:\*\*|__)?[【\[（(]?"
    r"(?:(?:参考|标准|正确|简要|简短|详细|面试|推荐|示例|最准确|核心)?(?:回答|答案|解答|作答|答)(?:要点|示范)?|(?:答案|参考)?解析"
    r"|候选人|面试者|求职者|应聘者|我(?:答|的回答|的答案)?|本人|[AaＡ]|[Aa]nswer|[Aa]ns)"
    r"(?:[】\]）)](?:\*\*|__)?\s*[:：]?|\s*\d{0,3}(?:\*\*|__)?\s*[:：]|\s?\d{1,3}\s*[.、．])(?:\*\*|__)?\s*"
)
_ANSWER_ALONE = re.compile(r"[*_#【\[\s]*(?:参考|标准)?(?:回答|答案|解答|解析|答)[*_】\]\s]*")
_ASK_WORD = re.compile(
    r"什么|为何|如何|怎[么样做办]|哪[些几个种里类一]|多少|几[个种类点步]|是否|能否|可否|有何|会不会|能不能|是不是|有没有|要不要|[吗呢]$"
    r"|^(?:what|why|how|when|where|which|who|is|are|does|do|can|could|should|would|will)\b",
    re.I,
)
_ASK_VERB = re.compile(
    r"^(?:请|试|能)?(?:你|您|详细|简单|简要|具体|大致|分别|手动|口头)?(?:地|的)?"
    r"(?:说一?[下说]|说明|介绍一?[下]?|简述|概述|阐述|解释|讲一?[下讲]|讲述|谈一?[下谈]|描述|比较|对比|推导|证明|写[出一]|手写"
    r"|手撕|实现|列举|列出|举例|分析|聊[聊一]|计算|估算|给出|总结)"
    r"|^(?:explain|describe|compare|define|discuss|derive|implement|write|list|name|give|walk me|tell me|contrast|calculate"
    r"|estimate|outline|summari[sz]e|differences? between)\b",
    re.I,
)
_ASK_INSIDE = re.compile(
    r"(?:^(?:对于?|给定|设|已知|若|如果|在)|假设|假定).*[,，]\s*(?:请|试)?(?:计算|求|推导|证明|估算|写出|给出|分析)"
)
_ASK_END = re.compile(r"(?:哪些|什么|多少|如何\w{2,12}|区别)[;；。]$")
_ASK_NOUN = re.compile(
    r"(?:区别|异同|不同|差异|优缺点|优劣|对比|联系|原理|流程|作用|步骤)(?:和\w{1,6})?$|(?<=\S)\s+(?:vs\.?|VS)\s+(?=\S)"
)
_ASIDE = re.compile(r"\s*[(（\[【][^()（）\[\]【】]{0,30}[)）\]】]$")
_MARK = re.compile(r"[:：?？]")
_EXPLAINED = re.compile(r"[:：]\s*\S")
_SENTENCE_BREAK = re.compile(r"[。！!]\s*\S")

CLOSING_TITLE = re.compile(
    r"(?:参考(?:资料|文献|链接|文章|阅读)?|references?|bibliography|结语|结束语|写在最后|后记|尾声|致谢|acknowledge?ments?|附录.{0,10})"
    r"\s*[:：]?",
    re.I,
)
"""Titles of what stands behind the last answer of a page."""
SUMMARY_TITLE = re.compile(r"(?:(?:全文|本文|文章)?(?:总结|小结|结论)|conclusions?|summary|wrap(?:ping)? up)\s*[:：]?", re.I)
"""Titles of a summary, which may be that of one answer or of the page."""
FRAME_TITLE = re.compile(
    rf"(?:{CLOSING_TITLE.pattern}|{SUMMARY_TITLE.pattern}"
    r"|前言|引言|导语|简介|背景(?:介绍)?|目录|写在前面|introduction|preface|overview)\s*[:：]?",
    re.I,
)
"""Titles that no question has."""


@dataclass(slots=True)
class Line:
    """One non-blank line of a text.

    ``title_start`` and ``title_end`` are the span of the title in the text, marks, number and label taken off; ``plain`` is the
    title folded and without marks. ``style`` names the kind of number («number», «chinese», «decimal» …), ``parts`` its parts.
    ``block`` numbers blocks that stay together (code, formulas; 0: none), which like the rows of tables are ``protected``: no
    heading, no question. ``quote``: its bullets are marks of a quotation («> »). ``lead`` counts the lines above that are nothing
    but this line's number. ``role`` is set later: «question», «heading», «underline».
    """

    index: int
    start: int
    end: int
    text: str
    indent: int = 0
    atx: int = 0
    bullet: bool = False
    quote: bool = False
    bold: bool = False
    style: str = ""
    number: int = 0
    parts: tuple[int, ...] = ()
    label: bool = False
    title_start: int = 0
    title_end: int = 0
    plain: str = ""
    asks: int = 0
    protected: bool = False
    block: int = 0
    lead: int = 0
    role: str = ""


def parse_lines(text: str, *, markdown: bool) -> list[Line]:
    """The non-blank lines of a text, in order."""
    raw = text.split("\n")
    protected, blocks = _protected_lines(raw)
    lines: list[Line] = []
    start = 0
    for i, content in enumerate(raw):
        if content and not content.isspace():
            line = Line(i, start, start + len(content), content, protected=protected[i], block=blocks[i])
            if len(content) <= _LONGEST and not line.protected:
                _parse(line, markdown)
            else:
                line.indent = len(content) - len(content.lstrip())
            lines.append(line)
        start += len(content) + 1
    _join_marks(lines)
    _read_bare_numbers(lines)
    return lines


def _protected_lines(raw: Sequence[str]) -> tuple[list[bool], list[int]]:
    """Which lines belong to code, to displayed formulas over several lines, or to tables; and the numbers of their blocks.

    The rows of a table have no block: a table may part between them.
    """
    protected = code_lines(raw)
    tables: set[int] = set()
    opened, closing = -1, ""
    for i, line in enumerate(raw):
        if protected[i]:
            opened = -1
            continue
        if opened >= 0 and i - opened <= _FORMULA_LINES:  # further apart they are no pair
            if (line.count("$$") % 2 == 1) if closing == "$$" else closing in line:
                protected[opened : i + 1] = [True] * (i + 1 - opened)
                opened = -1
            continue
        stripped = line.strip()
        if stripped.startswith("|"):
            protected[i] = True
            tables.add(i)
        opened, closing = (i, found) if (found := _opens_formula(stripped)) else (-1, "")
    blocks, block = [0] * len(raw), 0
    for i, kept in enumerate(protected):
        if kept and i not in tables:
            block += not (i and blocks[i - 1])
            blocks[i] = block
    return protected, blocks


def _opens_formula(line: str) -> str:
    """What closes the displayed formula that a line opens and does not close, or ''."""
    if line.count("$$") % 2 == 1:
        return "$$"
    if line.rfind("\\[") > line.rfind("\\]") and (line.startswith("\\[") or line.endswith("\\[")):
        return "\\]"
    begun = _BEGIN.match(line)
    return "" if begun is None or f"\\end{{{begun[1]}}}" in line else f"\\end{{{begun[1]}}}"


def _parse(line: Line, markdown: bool) -> None:
    text = line.text
    at = line.indent = _after(_LEAD, text, 0, len(text))
    atx = _ATX.match(text) if markdown else None
    if atx:
        line.atx, at = len(atx[1]), atx.end()
    else:
        while bullet := _BULLET.match(text, at):
            line.quote = text[at] == ">" and line.bullet == line.quote
            line.bullet = True
            at = bullet.end()
    end = len(text.rstrip())
    if atx and (closing := _ATX_END.search(text, at, end)):
        end = closing.start()
    stripped = text[at:end]
    line.bold = len(stripped) > 4 and stripped[:2] in ("**", "__") and stripped.rstrip(":：")[-2:] == stripped[:2]
    at = _after(_OPENING, text, at, end)
    for style, pattern in _NUMBERS if at < end and text[at] in _NUMBER_STARTS else ():
        found = pattern.match(text, at, end)
        if found and found.end() < end:  # «第一章» alone is its own title
            line.style, at = style, found.end()
            line.parts = tuple(_value(part) for part in found[1].split("."))
            line.number = line.parts[-1]
            break
    at = _after(_OPENING, text, at, end)
    label = _QUESTION_LABEL.match(text, at, end) if at < end and text[at] in _LABEL_STARTS else None
    if label and (line.quote or not line.bullet) and label.end() < end:
        line.label, at = True, label.end()
    while at < end and text[at] in " \t\u3000*_":
        at += 1
    while end > at and (text[end - 1] in " \t\u3000*_" or text.endswith(("</b>", "</u>"), at, end)):
        end -= 4 if text[end - 1] == ">" else 1
    _set_title(line, at, end)


def _set_title(line: Line, at: int, end: int) -> None:
    line.title_start, line.title_end = line.start + at, line.start + end
    line.plain = unicodedata.normalize("NFKC", _MARKS.sub("", line.text[at:end])).strip()
    line.asks = asks(line.plain)


def _after(pattern: re.Pattern[str], text: str, at: int, end: int) -> int:
    found = pattern.match(text, at, end)
    return found.end() if found else at


def _join_marks(lines: Sequence[Line]) -> None:
    """Copies of web lists put a bullet or a number on a line of its own: it belongs to the line below."""
    for above, line in pairwise(lines):
        if above.protected or line.protected or line.atx or len(above.text) > 20:
            continue
        if _BULLET_ALONE.fullmatch(above.text):
            line.bullet, above.plain = True, ""
        number = _NUMBER_ALONE.fullmatch(above.text)
        if number and not (line.style or line.bullet or line.label) and 2 <= len(line.plain) <= 40 and line.plain[0].isalnum():
            if line.plain[-1] in "。；;，,:：" or line.plain.isdigit():
                continue
            line.style, line.number, line.parts, line.lead = "number", int(number[1]), (int(number[1]),), 1


def _read_bare_numbers(lines: Sequence[Line]) -> None:
    """«### 1 什么是…»: a number without a sign is one only when a heading of the same level counts on («### 2 …»)."""
    found = [(line, match) for line in lines if line.atx and not line.style and (match := _BARE_NUMBER.match(line.plain))]
    numbers = {(line.atx, int(match[1])) for line, match in found}
    for line, match in found:
        if numbers & {(line.atx, int(match[1]) - 1), (line.atx, int(match[1]) + 1)}:
            line.style, line.number, line.parts = "number", int(match[1]), (int(match[1]),)
            begin = line.text.index(match[1], line.title_start - line.start) + len(match[1])
            _set_title(line, _after(_LEAD, line.text, begin, len(line.text)), line.title_end - line.start)


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
        else:
            last = place or int(char)
    return total + last


def asks(title: str) -> int:
    """How much a title sounds like a question: 3 ends in a question mark, 2 a question word, 1 a request or a topic, 0 no.

    >>> [asks(t) for t in ("什么是注意力?", "注意力如何计算", "介绍注意力", "注意力")]
    [3, 2, 1, 0]
    """
    if len(title) > 500:
        return 0
    bare = _ASIDE.sub("", title.rstrip(" \t*_")).rstrip(' \t"”』」*_。.;；,，')
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
    return 1 if _ASK_VERB.search(title) or (len(bare) > 4 and _ASK_NOUN.search(bare)) else 0


def is_answer_label(line: Line) -> bool:
    """Whether a line begins with «答:», «参考答案:», «A:» …, or is such a word alone."""
    stripped = line.text.strip()[:60]
    return not line.protected and bool(_ANSWER_LABEL.match(stripped) or _ANSWER_ALONE.fullmatch(stripped))


def after_answer_label(line: Line) -> int:
    """How many characters of the stripped line its answer label takes (all of them when it stands alone, 0 without one)."""
    stripped = line.text.strip()
    label = _ANSWER_LABEL.match(stripped)
    if label:
        return label.end()
    return len(stripped) if len(stripped) < 60 and _ANSWER_ALONE.fullmatch(stripped) else 0
