"""Questions and answers in the cells of a table: «| 问题 | 答案 |»."""

import re
from collections.abc import Iterator, Sequence

from ingest.structure.lines import Line

_QUESTION = re.compile(r"(?:面试|常见|高频)?(?:问题|题目|面试题|提问|问)|questions?|q", re.I)
_ANSWER = re.compile(r"(?:参考|标准|简要|简短|推荐)?(?:答案|回答|解答|答|解析|答案要点|要点)|answers?|a", re.I)
_DELIMITER = re.compile(r"\s*:?-+:?\s*")
_BREAK = re.compile(r"<br\s*/?>", re.I)

Span = tuple[int, int]


def table_pairs(text: str, lines: Sequence[Line]) -> Iterator[tuple[Span, Span]]:
    """The spans of (question, answer) of every table whose header names a column of questions and one of answers.

    An empty answer is an open question: an empty span behind the question.
    """
    n = 0
    while n + 2 < len(lines):
        if not (_is_row(lines[n]) and _is_row(lines[n + 1]) and _is_delimiter(text, lines[n + 1])):
            n += 1
            continue
        header = [text[a:b] for a, b in cells(text, lines[n])]
        asked = next((k for k, cell in enumerate(header) if _QUESTION.fullmatch(cell.strip("* "))), -1)
        answered = next((k for k, cell in enumerate(header) if _ANSWER.fullmatch(cell.strip("* "))), -1)
        n += 2
        while n < len(lines) and _is_row(lines[n]) and lines[n].index == lines[n - 1].index + 1:
            row = cells(text, lines[n])
            n += 1
            if asked < 0 or answered < 0 or max(asked, answered) >= len(row):
                continue
            question, answer = _bare(text, row[asked]), row[answered]
            if question[0] < question[1]:
                yield question, answer if answer[0] < answer[1] else (question[1], question[1])


def cells(text: str, line: Line) -> list[Span]:
    """The spans of the cells of a row, without white space; «\\|» and bars within code or formulas part no cells."""
    found: list[Span] = []
    start, quoted, k = -1, "", line.start + line.indent
    while k < line.end:
        char = text[k]
        if char == "\\":
            k += 2
            continue
        if char in "`$":
            quoted = "" if quoted == char else quoted or (char if text.find(char, k + 1, line.end) >= 0 else "")
        elif char == "|" and not quoted:
            if start >= 0:
                found.append(_trimmed(text, start, k))
            start = k + 1
        k += 1
    if start >= 0 and text[start : line.end].strip():
        found.append(_trimmed(text, start, line.end))
    return found


def _trimmed(text: str, start: int, end: int) -> Span:
    part = text[start:end]
    return (start + len(part) - len(part.lstrip()), start + len(part.rstrip())) if part.strip() else (start, start)


def _bare(text: str, span: Span) -> Span:
    """A span without the marks of bold type around it, and without a number before it."""
    start, end = span
    while end - start > 4 and text[start : start + 2] == text[end - 2 : end] == "**":
        start, end = start + 2, end - 2
    number = re.compile(r"(?:[Qq]?\d{1,3}\s*[.、:：)）]\s*)").match(text, start, end)
    return (number.end() if number and number.end() < end else start, end)


def _is_row(line: Line) -> bool:
    return line.text.lstrip().startswith("|") and line.text.count("|") > 1


def _is_delimiter(text: str, line: Line) -> bool:
    row = cells(text, line)
    return bool(row) and all(_DELIMITER.fullmatch(text[a:b]) for a, b in row)
