"""Labelled question files: reading them, and deciding whether a passage hits a gold entry.

JSON lines: ``{"id", "question", "answerable", "type", "gold": [{"document", "quote"}], "also_ok": [...], "key_points": [[...]]}``;
or a SQuAD file (``.json``: data, paragraphs, context, qas), whose contexts are then the documents.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ingest.document import Passage, fold
from ingest.errors import UsageError

LEFT_OUT = 4
"""Every so manieth question of a SQuAD file is asked a second time with its context left out."""


@dataclass(frozen=True, slots=True)
class Gold:
    """A span that answers: ``quote`` as it stands in the document named ``document``."""

    document: str
    quote: str


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """One question with its labels; ``key_points`` are groups of alternatives, one of each group counts.

    ``without`` names a document that is treated as if it were not in the library: the question is then unanswerable.
    """

    id: str
    question: str
    answerable: bool
    type: str = "single"
    lang: str = "zh"
    gold: tuple[Gold, ...] = ()
    also_ok: tuple[Gold, ...] = ()
    key_points: tuple[tuple[str, ...], ...] = ()
    without: str = ""


def read_questions(path: Path) -> list[LabelledQuestion]:
    """Read a labelled question file. Raises UsageError naming the line that is wrong."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}): give a labelled question file in UTF-8") from None
    if path.suffix == ".json":
        answerable = [question for question, _ in _squad(path, text)]
        return [*answerable, *(_left_out(question) for question in answerable[::LEFT_OUT])]
    questions = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                questions.append(_question(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UsageError(f"{path} line {number} is not a labelled question ({error!r})") from None
    if not questions:
        raise UsageError(f"{path} holds no questions")
    return questions


def _left_out(question: LabelledQuestion) -> LabelledQuestion:
    """The question once more, without the one context that answers it."""
    without = question.gold[0].document
    return replace(
        question,
        id=f"{question.id}-left-out",
        answerable=False,
        type="unanswerable",
        gold=(),
        also_ok=(),
        key_points=(),
        without=without,
    )


def squad_documents(path: Path) -> dict[str, str]:
    """The contexts of a SQuAD file by the document name its questions refer to."""
    return {q.gold[0].document: context for q, context in _squad(path, path.read_text(encoding="utf-8-sig"))}


def _question(row: Mapping[str, Any]) -> LabelledQuestion:
    return LabelledQuestion(
        id=str(row["id"]),
        question=str(row["question"]),
        answerable=bool(row.get("answerable", True)),
        type=str(row.get("type", "single")),
        lang=str(row.get("lang", "zh")),
        gold=_golds(row.get("gold")),
        also_ok=_golds(row.get("also_ok")),
        key_points=tuple(tuple(str(a) for a in group) for group in row.get("key_points") or ()),
    )


def _golds(rows: Sequence[Mapping[str, Any]] | None) -> tuple[Gold, ...]:
    return tuple(Gold(str(row["document"]), str(row["quote"])) for row in rows or ())


def _squad(path: Path, text: str) -> Iterator[tuple[LabelledQuestion, str]]:
    try:
        for article in json.loads(text)["data"]:
            for paragraph in article["paragraphs"]:
                context = paragraph["context"]
                for qa in paragraph["qas"]:
                    document = f"{paragraph.get('id') or qa['id']}.txt"
                    answers = tuple({a["text"]: None for a in qa["answers"]})
                    gold, *others = (Gold(document, answer) for answer in answers)
                    question = LabelledQuestion(qa["id"], qa["question"], True, "single", "zh", (gold,), tuple(others), (answers,))
                    yield question, context
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not a SQuAD file ({error!r})") from None


class SpanFinder:
    """Finds quotes in the cleaned texts of the library's documents; white space and width may differ from the label's."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._squeezed: dict[str, tuple[str, list[int]]] = {}
        self._found: dict[Gold, list[tuple[int, int]]] = {}

    def spans(self, gold: Gold) -> list[tuple[int, int]]:
        """Every span (start, end) of the quote in its document; empty when it does not stand there."""
        if gold not in self._found:
            text = self._texts.get(gold.document, "")
            self._found[gold] = _occurrences(text, gold.quote) or self._squeezed_spans(gold)
        return self._found[gold]

    def hits(self, passage: Passage, gold: Gold) -> bool:
        """Whether the passage overlaps the quote's span by at least half of the quote."""
        if passage.document != gold.document:
            return False
        return any(2 * (min(passage.end, end) - max(passage.start, start)) >= end - start for start, end in self.spans(gold))

    def _squeezed_spans(self, gold: Gold) -> list[tuple[int, int]]:
        if gold.document not in self._texts:
            return []
        if gold.document not in self._squeezed:
            letters, index = [], []
            for position, character in enumerate(self._texts[gold.document]):
                for folded in fold(character):
                    letters.append(folded)
                    index.append(position)
            self._squeezed[gold.document] = "".join(letters), index
        letters_text, index = self._squeezed[gold.document]
        quote = fold(gold.quote).replace(" ", "")
        return [(index[start], index[end - 1] + 1) for start, end in _occurrences(letters_text, quote)]


def _occurrences(text: str, part: str) -> list[tuple[int, int]]:
    spans, start = [], text.find(part) if part else -1
    while start >= 0:
        spans.append((start, start + len(part)))
        start = text.find(part, start + 1)
    return spans


def key_point_share(text: str, key_points: Sequence[Sequence[str]]) -> float | None:
    """The share of the groups of which one alternative stands in the text (NFKC, lower case, no spaces); None without groups."""
    if not key_points:
        return None
    folded = fold(text).replace(" ", "")
    return sum(any(fold(a).replace(" ", "") in folded for a in group) for group in key_points) / len(key_points)
