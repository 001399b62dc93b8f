"""Which lines of a text are questions.

Numbers decide little alone: «1、» opens a question, a section and an item of a list inside an answer. So the numbered lines are
read as a whole: the questions are the chain 1, 2, 3 … whose members ask most (dynamic programming over the lines, linear in their
number). Marks of other kinds (labels, ``#`` headings, bold lines) count only where the page uses them throughout.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from ingest.structure.lines import FRAME_TITLE, Line, is_answer_label

_MAY_BE_ANSWER = re.compile(r"[\s>*]*(?:[AaＡ](?![a-z])|我|本人)")
_OPTION = re.compile(r"\s*[A-HＡ-Ｈ]\s*[.、．:：)）]\s*\S")
_ASKING_PAGE = re.compile(
    r"题|面试|[一二三四五六]面|面经|面筋|凉经|手撕|问答|八股|追问|FAQ|Q ?& ?A|interview|questions?\b|quiz|onsite", re.I
)
_INTERVIEW_ITEM = re.compile(
    r"自我介绍|手撕|反问|拷打|深挖|八股|算法题|代码题?[:：]|场景题|智力题|项目|实习|有什么想问|想问我|leetcode|力扣"
    r"|(?:原理|结构|区别|流程|优缺点|作用|实现|细节|过程|思路|方案|难点|对比|机制|架构|公式|推导|优化|损失|复杂度)$",
    re.I,
)


def mark_questions(lines: Sequence[Line]) -> None:
    """Give every line that is a question the role «question»."""
    free = [line for line in lines if not line.protected and line.plain]
    asking = _is_asking_page(lines)
    _mark_labelled(lines)
    _mark_headings(free, asking=asking)
    outside = [line for line in _outside_questions(free) if not line.atx and not line.bullet]
    _mark_chain([line for line in outside if line.style == "number" and line.indent <= 3], lines)
    _mark_other_numbers(outside)
    _mark_bold(outside)
    if sum(line.role == "question" for line in lines) < 2:
        _mark_standing_alone(lines)
    if asking:
        _mark_interview_lists(lines)
    _mark_bare_lists(lines)


def _is_asking_page(lines: Sequence[Line]) -> bool:
    """Whether the first lines of a page say that it holds questions."""
    return any(_ASKING_PAGE.search(line.plain) for line in lines[:3] if len(line.plain) <= 60 and (not line.style or line.atx))


def _mark_labelled(lines: Sequence[Line]) -> None:
    """«问:» opens a question if it asks or an answer is labelled below; a line right above «答:» is one, however it is written.

    «问题 4:» needs no question mark of its own when the others of its count have one.
    """
    labels = [is_answer_label(line) for line in lines]
    for n, line in enumerate(lines):
        if line.label and line.plain and (line.quote or not line.bullet) and (line.asks or any(labels[n + 1 : n + 4])):
            line.role = "question"
    counted = [line for line in lines if line.style == "ask" and line.plain and not line.bullet]
    clear = sum(line.asks >= 2 for line in counted)
    for n, line in enumerate(counted):
        neighbours = {other.number for other in counted[max(n - 1, 0) : n + 2]}
        goes_on = neighbours & {line.number - 1, line.number + 1}
        if line.asks or (clear >= 2 and clear * 4 >= len(counted) and goes_on):
            line.role = "question"
    for (above, line), answers in zip(pairwise(lines), labels[1:], strict=False):
        if not answers or above.role == "question" or (above.asks < 2 and _MAY_BE_ANSWER.match(line.text)):
            continue  # «A:» also opens the options of a test, «我:» a remark
        if _OPTION.match(above.text):
            continue
        if not above.protected and above.plain and len(above.plain) <= 400 and not above.bullet and above.plain[0] not in "(【[":
            above.role = "question"


def _mark_headings(free: Sequence[Line], *, asking: bool) -> None:
    headings = [line for line in free if line.atx]
    marked = [line for line in headings if line.asks == 3]
    levels = {line.atx for line in marked}
    strict = len(marked) >= 3  # the page marks its questions: a heading of another level without a mark is a section
    for line in headings:
        # Without a mark a single heading («怎么换的») may as well be a section of prose.
        several = asking or line.style or marked or sum(other.asks >= 2 for other in headings if other.atx == line.atx) >= 2
        if line.asks == 3 or (line.asks == 2 and several and (not strict or line.atx in levels)):
            line.role = "question"
    for level in {line.atx for line in headings if line.asks == 1}:
        group = [line for line in headings if line.atx == level and not FRAME_TITLE.fullmatch(line.plain)]
        if len(group) >= 2 and all(line.asks for line in group) and (asking or any(line.role for line in free if line.label)):
            _accept(group)  # «讲讲 X», «介绍 Y» throughout, on a page with questions of other kinds
    for level in levels | {line.atx for line in headings}:
        group = [line for line in headings if line.atx == level and line.style in ("number", "decimal", "ask")]
        clear, some = sum(line.role == "question" for line in group), sum(line.asks >= 1 for line in group)
        if clear >= 2 and some * 5 >= len(group) * 3:
            _accept(group)
        elif asking and len(group) >= 2 and all(line.asks or line.style == "ask" for line in group):
            _accept(group)  # «1. 写一个 softmax», «2. 推导梯度»: requests throughout, on a page of questions


def _accept(lines: Sequence[Line]) -> None:
    for line in lines:
        if not line.role and len(line.plain) <= 500 and not FRAME_TITLE.fullmatch(line.plain):
            line.role = "question"


def _outside_questions(lines: Sequence[Line]) -> list[Line]:
    """Lines that do not stand below a heading which is a question itself: there, a numbered list is part of an answer."""
    outside, inside = [], False
    for line in lines:
        if line.atx:
            inside = line.role == "question"
        elif not inside:
            outside.append(line)
    return outside


# --- numbered lines -------------------------------------------------------------------------------------------------


def _mark_chain(numbered: Sequence[Line], lines: Sequence[Line]) -> None:
    """Choose the chain(s) 1, 2, 3 … of questions among the numbered lines.

    Each line adds what :func:`_weight` says; going from n to n + 1 is free, a gap or a new start costs. The best total wins.
    """
    sections = [line.index for line in lines if line.atx or (line.style in ("chinese", "chapter") and len(line.plain) <= 40)]
    sections.reverse()
    below = {line.index: following for line, following in pairwise(lines)}
    best: list[float] = []
    before: list[int] = []
    by_number: dict[int, int] = {}  # number -> the line with the best total that carries it
    top = top_before_section = -1  # the best chain so far ends here; and the best one above the latest section heading
    for n, line in enumerate(numbered):
        while sections and sections[-1] < line.index:
            sections.pop()
            top_before_section = top
        options: list[tuple[float, int]] = [(-0.5 if line.number > 1 else 0.0, -1)]
        for step, cost in ((1, 0.0), (2, 1.5), (3, 2.0)):
            if (previous := by_number.get(line.number - step)) is not None:
                change = 0.0 if _sign(numbered[previous]) == _sign(line) else 0.4
                options.append((best[previous] - cost - change, previous))
        if line.number == 1:
            if top_before_section >= 0:
                options.append((best[top_before_section] - 0.5, top_before_section))
            if top >= 0:
                options.append((best[top] - 2.0, top))
        value, link = max(options)
        best.append(value + _weight(line, below.get(line.index)))
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
    _extend_open_lists(lines)


def _sign(line: Line) -> tuple[str, bool]:
    """What closes the number («、», «.» …), and whether the line is bold."""
    found = re.search(r"\d\s*(\D)", line.text)
    return (found[1] if found else "", line.bold)


def _weight(line: Line, below: Line | None) -> float:
    """What a numbered line adds to a chain of questions."""
    if line.role == "question":
        return 2.0
    weight = (-0.6, 0.6, 1.5, 2.0)[line.asks]
    if line.indent:
        weight -= 0.5
    if not line.asks and (len(line.plain) > 40 or line.plain[-1:] in "。；;，,:："):
        weight -= 0.6
    if line.asks < 3 and below is not None and below.style == "number" and below.number == line.number + 1:
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
    most = len(chain) >= 3 and sum(_asks(line) >= 1 for line in chain) * 5 >= len(chain) * 3
    for run in runs:
        clear, some = sum(_asks(line) >= 2 for line in run), sum(_asks(line) >= 1 for line in run)
        if clear and some * 5 >= len(run) * 3 and (len(run) >= 2 or most or run[0].asks == 3):
            _accept(run)
        _accept([line for line in run if line.asks == 3 and len(line.plain) <= 120])


def _extend_open_lists(lines: Sequence[Line]) -> None:
    """In a list of questions without answers, an item that does not ask («3. 自我介绍») is one as well."""
    for order in (lines, lines[::-1]):
        together = 0  # how many questions of the list stand one under the other
        for line, next_line in pairwise(order):
            if line.style != "number" or next_line.style != "number" or abs(next_line.number - line.number) != 1 or line.atx:
                together = 0
                continue
            together += line.role == "question"
            like = _sign(line) == _sign(next_line) and not next_line.bullet and len(next_line.plain) <= 200
            if line.role == "question" and together >= 2 and like:
                _accept([next_line])


def _asks(line: Line) -> int:
    return 3 if line.role == "question" else line.asks


def _mark_other_numbers(outside: Sequence[Line]) -> None:
    """«一、», «2.1», «（三）», «(4)»: all of a kind if most ask; of the first two, which also number sections, single ones too."""
    for style in ("chinese", "decimal", "bracket-chinese", "bracket"):
        group = [line for line in outside if line.style == style and line.indent <= 3]
        asking = [line for line in group if line.asks >= 2]
        if len(asking) >= 2 and len(asking) * 5 >= len(group) * 3:
            _accept([line for line in group if len(line.plain) <= 300])
        elif style in ("chinese", "decimal"):
            _accept([line for line in asking if len(line.plain) <= 300])


# --- lines without a number -----------------------------------------------------------------------------------------


def _mark_bold(outside: Sequence[Line]) -> None:
    bold = [line for line in outside if line.bold and not line.style and not line.role]
    most = sum(line.asks >= 2 for line in bold) * 2 > len(bold)
    _accept([line for line in bold if line.asks == 3 or (line.asks == 2 and most)])


def _mark_standing_alone(lines: Sequence[Line]) -> None:
    """A page without numbers and marks: short lines that end in a question mark, each with a body below, are its questions."""
    found = []
    for n, line in enumerate(lines[:-1]):
        if line.protected or line.bullet or line.role or line.asks != 3 or not 4 <= len(line.plain) <= 80:
            continue
        apart = n == 0 or line.index - lines[n - 1].index > 1 or lines[n - 1].text.rstrip()[-1] in "。！？；!?;"
        if apart and lines[n + 1].asks != 3 and not re.search(r"[。!?]", line.plain[:-1]):
            found.append(line)
    if len(found) >= 2:
        _accept(found)


def _mark_interview_lists(lines: Sequence[Line]) -> None:
    """On a page of an interview, three or more numbered lines right below each other, half of which could be asked."""
    run: list[Line] = []
    for line in [*lines, None]:
        listed = line is not None and not line.protected and not line.atx and line.style == "number" and line.role != "heading"
        listed = listed and line is not None and 2 <= len(line.plain) <= 120 and line.plain[-1] not in "。；;:："
        goes_on = line is not None and (not run or (line.number == run[-1].number + 1 and line.indent == run[-1].indent))
        if line is not None and listed and goes_on:
            run.append(line)
            continue
        if len(run) >= 3 and run[0].number == 1:
            could = sum(item.asks >= 1 or bool(_INTERVIEW_ITEM.search(item.plain)) for item in run)
            if could * 2 >= len(run) and any(item.asks >= 1 or _INTERVIEW_ITEM.search(item.plain) for item in run[:2]):
                _accept(run)
        run = [line] if line is not None and listed and line.number == 1 else []


def _mark_bare_lists(lines: Sequence[Line]) -> None:
    """A list of questions without answers that stands before the first question with a number or a mark."""
    run: list[Line] = []
    for line in lines:
        if line.role == "question":
            break
        listed = not line.protected and not line.atx and not line.style and 4 <= len(line.plain) <= 150
        if listed and (line.asks >= 2 or (run and line.bullet and line.asks)):
            run.append(line)
            continue
        if line.protected or line.plain:  # a line that is nothing but a bullet does not end the list
            _accept_list(run)
            run = []
    _accept_list(run)


def _accept_list(run: Sequence[Line]) -> None:
    if len(run) >= 3 and sum(line.asks == 3 for line in run) * 2 >= len(run):
        _accept(run)
