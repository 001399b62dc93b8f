"""A reference answer -> the discrete points it makes, each with a weight.

The author's own structure is the best guide: items of a list are points, a paragraph's sentences are points. Lead-ins («主要有以下
几点：»), headings, summaries of what was said and code are none. Short fragments join a neighbour, and no answer has more than
``MOST`` points: a learner cannot hold more in mind, and nobody wants to read a longer checklist.
"""

import math
import re
from dataclasses import dataclass, replace

from assistant.answers.sentences import split, states_something
from ingest.storage.fulltext import words

MOST = 8
_LONGEST = 160  # characters of one point; a long list item is cut into its sentences
_WRAPPED = 30  # a line shorter than this was not broken because it was full
_SHORTEST = 8  # Chinese characters (or half as many Latin words): less is a fragment
_FENCE = re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_ITEM = re.compile(
    r"^[ \t]*(?:(?P<bullet>[-*+•·●])|(?P<number>\(?\d{1,3}[.)、．])|(?P<bracket>[（(]\d{1,3}[)）])|(?P<circle>[①-⑳])"
    r"|(?P<chinese>[一二三四五六七八九十]{1,3}、))[ \t]*(?=\S)(?!\d)"
)
_MARKUP = re.compile(r"\*\*|__|`|^#{1,6}\s+|^>\s?|!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_LEAD_IN = re.compile(
    r"(?:以下|如下|下面|几个方面|几点|几个|分为|包括|有|原因是?|as follows|following|including|several|such as)[^。.]{0,14}[:：]$"
)
_SUMMARY = re.compile(r"^(?:总之|总的来说|综上|总结|因此总体|简言之|一句话|in summary|in short|to sum up|overall)", re.IGNORECASE)
_EXAMPLE = re.compile(r"^(?:例如|比如|举例|例[:：]|for example|e\.g\.|for instance)", re.IGNORECASE)
_ASIDE = re.compile(r"^(?:注[:：]|提示[:：]|参考|来源|常见错误|追问|以上就是|希望|note:|see also)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class KeyPoint:
    """One thing a full answer says, and how much it weighs against the others."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class _Statement:
    text: str
    alone: bool  # whether it may be a point by itself; the second sentence of a long item goes with the first
    section: str = ""  # the heading line above it, inside the answer
    item: bool = False  # whether its author made it an item of a list


def key_points(reference: str, question: str = "") -> tuple[KeyPoint, ...]:
    """The points of a reference answer, in its order; empty when it states nothing.

    The weight of a point is the square root of how many words it has that are not in the question, relative to the average point
    and kept within 0.5 and 2; examples and summaries weigh half of that. An answer with more than ``MOST`` statements gives one
    point for each of its sections where it has them, else its ``MOST`` heaviest statements.
    """
    asked = set(words(question))
    statements = _merged(_statements(reference))
    if len(statements) > MOST and len({s.section for s in statements}) >= 3:
        statements = _by_section(statements)
    if not statements:
        return ()
    amounts = [_amount(s.text, asked) for s in statements]
    if len(statements) > MOST:
        heaviest = sorted(sorted(range(len(statements)), key=lambda k: -amounts[k])[:MOST])
        statements, amounts = [statements[k] for k in heaviest], [amounts[k] for k in heaviest]
    mean = sum(amounts) / len(amounts)
    return tuple(
        KeyPoint(s.text, round(min(max(amount / mean, 0.5), 2.0), 2)) for s, amount in zip(statements, amounts, strict=True)
    )


def _amount(text: str, asked: set[str]) -> float:
    own = len(set(words(text)) - asked)
    return math.sqrt(max(own, 1)) * (0.5 if _SUMMARY.match(text) or _EXAMPLE.match(text) else 1.0)


def _statements(reference: str) -> list[_Statement]:
    """Everything the reference states: list items whole, prose by sentences."""
    found: list[_Statement] = []
    blocks = _blocks(_FENCE.sub("", reference))
    section = ""
    for i, (item, body) in enumerate(blocks):
        last = i + 1 == len(blocks)
        if _ASIDE.match(body):
            continue
        if not last and (not item or blocks[i + 1][0] != item) and _size(body) <= 14 and not re.search(r"[。！？；，,;!?]", body):
            section = body.rstrip(":： ")  # a short line without punctuation above something of another kind is a heading
            continue
        opens_list = body.endswith((":", "：")) and not last and (blocks[i + 1][0] or item)
        if item and len(body) <= _LONGEST and not opens_list:
            if _says(body) and not _LEAD_IN.search(body):
                found.append(_Statement(body, True, section, True))
            continue
        sentences = [body[s.start : s.end] for s in split(body)]
        if opens_list:
            sentences.pop()
        kept = [s for s in sentences if states_something(s) and not _LEAD_IN.search(s) and not _ASIDE.match(s) and _says(s)]
        found += [_Statement(sentence, not item or k == 0, section, bool(item)) for k, sentence in enumerate(kept)]
    return found


def _by_section(statements: list[_Statement]) -> list[_Statement]:
    """One statement for each section: its heading and as much of what stands below as fits."""
    merged: list[_Statement] = []
    for statement in statements:
        if merged and merged[-1].section == statement.section:
            if len(merged[-1].text) + len(statement.text) <= _LONGEST:
                merged[-1] = replace(merged[-1], text=_joined(merged[-1].text, statement.text))
        else:
            head = f"{statement.section}：" if statement.section else ""
            merged.append(replace(statement, text=head + statement.text))
    return merged


def _blocks(text: str) -> list[tuple[str, str]]:
    """(kind of list mark or "", text without the mark): items with the lines that go on below them, other lines one by one."""
    blocks: list[tuple[str, str]] = []
    blank = True
    before = ""
    for line in text.splitlines():
        if not line.strip():
            blank = True
            continue
        match = _ITEM.match(line)
        body = _clean(line[match.end() :] if match else line)
        if not body:
            continue
        wrapped = line[0].isspace() or (len(before) >= _WRAPPED and before[-1] not in "。！？.!?:：")
        if match or blank or not wrapped or not blocks:
            blocks.append((match.lastgroup or "" if match else "", body))
        else:
            joint = "" if blocks[-1][1][-1:] > "\u2e80" else " "
            blocks[-1] = (blocks[-1][0], blocks[-1][1] + joint + body)
        blank, before = False, line.strip()
    return blocks


def _clean(line: str) -> str:
    return _MARKUP.sub("", _LINK.sub(r"\1", line.strip())).strip()


def _says(text: str) -> bool:
    return len(words(text)) >= 2 and not text.endswith(("?", "？"))


def _size(text: str) -> float:
    return sum(2.0 if part[0].isascii() else 1.0 for part in re.findall(r"[A-Za-z0-9]+|[\u3400-\u9fff]", text))


def _merged(statements: list[_Statement]) -> list[_Statement]:
    """Fragments go with the statement before them (a first one with the next)."""
    merged: list[_Statement] = []
    for statement in statements:
        before = merged[-1] if merged and merged[-1].section == statement.section else None
        short = _size(statement.text) < (_SHORTEST / 2 if statement.item else _SHORTEST) or not statement.alone
        joinable = before is not None and len(before.text) + len(statement.text) <= _LONGEST
        stump = before is not None and not before.item and _size(before.text) < _SHORTEST
        if before is not None and joinable and (short or stump):
            merged[-1] = replace(before, text=_joined(before.text, statement.text))
        else:
            merged.append(statement)
    return merged


def _joined(first: str, second: str) -> str:
    return first + ("" if first[-1:] in "。！？；" else " " if first[-1:] in ".;!?" else "；") + second
