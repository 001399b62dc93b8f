"""Which words of an answer carry a key point: the spans to highlight."""

import re
from collections.abc import Sequence

from ingest.storage.fulltext import words
from kg.concepts import Glossary

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-.+][A-Za-z0-9]+)*|\d+(?:\.\d+)?|[\u3400-\u4dbf\u4e00-\u9fff]+")
Span = tuple[int, int]


def highlights(answer: str, window: Span, point: str, glossary: Glossary | None = None) -> tuple[Span, ...]:
    """The spans of ``answer[window]`` that say what the point says: shared words, runs of Chinese, names of the same concept.

    Where nothing is shared in writing (another language, other words) it is the whole window.
    """
    start, end = window
    wanted = set(words(point))
    found: list[Span] = []
    for match in _WORD.finditer(answer, start, end):
        if match.group()[0].isascii():
            if wanted.intersection(words(match.group())):
                found.append(match.span())
        else:
            found += _shared_runs(match.group(), match.start(), point)
    if glossary is not None:
        concepts = {m.concept for m in glossary.find(point)}
        found += [(start + m.start, start + m.end) for m in glossary.find(answer[start:end]) if m.concept in concepts]
    return joined(found) or (window,)


def _shared_runs(run: str, offset: int, point: str) -> list[Span]:
    """The longest pieces of a Chinese run, of two characters or more, that stand in the point."""
    found, i = [], 0
    while i + 1 < len(run):
        length = 0
        while i + length < len(run) and run[i : i + length + 1] in point:
            length += 1
        if length >= 2:
            found.append((offset + i, offset + i + length))
            i += length
        else:
            i += 1
    return found


def joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The spans in order, those that touch made one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)
