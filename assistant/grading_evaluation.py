"""How well answers are marked, measured on labelled answers, beside a baseline of plain word overlap: `mianpu eval --grading FILE`.

A labelled file holds, a line each, a question with weighted key points and answers with the points they hit and the range their score
should be in; ``*_pairs.jsonl`` beside it says which answer must score higher than which. The weights were fitted on the questions at
even places of the file (counting from 0), so the figures of the odd places are the honest ones.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from assistant.grading import Grade, KeyPoint, MarkedPoint, Weights, grade, shipped_weights
from assistant.marking import FEATURES, gather
from ingest.errors import UsageError
from ingest.fulltext import words
from kg.concepts import Glossary

if TYPE_CHECKING:
    from ingest.embedding import Embedder

REGULARISATION = 3.0  # sklearn's C; 3 and 10 did best among 0.1, 0.3, 1, 3, 10 in leave-one-question-out on the even half
_STRANGERS = (5, 9)  # how far down the list the other questions stand; neighbours often share a topic
_STRANGER_SHARE = 0.5  # what one of their points weighs: at 1 the fit trusts good answers too little, at 0.2 fluent strangers earn 14
_OVERLAP = 0.3  # the baseline calls a point hit when this share of its words is in the answer


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """An answer, the numbers of the points it makes, and the range its score should be in."""

    text: str
    level: str
    hits: frozenset[int]
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """A question with its key points and answers; ``even`` tells the half that weights are fitted on."""

    id: str
    text: str
    points: tuple[KeyPoint, ...]
    answers: tuple[LabelledAnswer, ...]
    even: bool


Marker = Callable[[str, Sequence[KeyPoint], str], Grade]


def load(path: Path) -> list[LabelledQuestion]:
    """Read a labelled file. Raises UsageError with the line when it cannot be read."""
    questions = []
    for number, row in enumerate(_rows(path), 1):
        try:
            points = tuple(KeyPoint(p["point"], float(p["weight"])) for p in row["key_points"])
            answers = tuple(
                LabelledAnswer(a["text"], a.get("level", ""), frozenset(a["hits"]), float(a["range"][0]), float(a["range"][1]))
                for a in row["answers"]
            )
            questions.append(LabelledQuestion(str(row["id"]), row["question"], points, answers, number % 2 == 1))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UsageError(f"{path}, line {number}, is not a labelled question for grading: {error!r}") from None
    return questions


def _rows(path: Path) -> Iterable[Any]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise UsageError(f"{path}, line {number}, is not JSON: {error}") from None


def evaluate_grading(path: Path, embedder: "Embedder", glossary: Glossary | None = None) -> dict[str, Any]:
    """The measures of the grader and of the baseline, over all questions and over each half.

    ``pairs``: share of the pairs whose better answer scores higher (ties lose). ``precision``, ``recall``: of the points marked as hit.
    ``in_range``: share of the answers whose score is in its range; ``by_level`` the same for each kind of answer. ``error``: mean
    distance of a score from its range. Pairs come from ``<name>_pairs.jsonl`` beside the file, if there is one.
    """
    questions = load(path)
    file = path.with_name(f"{path.stem}_pairs.jsonl")
    pairs = [(str(row["id"]), int(row["better"]), int(row["worse"])) for row in _rows(file)] if file.exists() else []

    def marker(answer: str, points: Sequence[KeyPoint], question: str) -> Grade:
        return grade(answer, points, question, embedder, glossary)

    return {
        "questions": len(questions),
        "answers": sum(len(q.answers) for q in questions),
        **_measures(questions, pairs, marker),
        "baseline": _measures(questions, pairs, overlap_grade),
    }


def overlap_grade(answer: str, points: Sequence[KeyPoint], question: str) -> Grade:
    """The baseline: a point is worth the share of its words that occur in the answer."""
    said = set(words(answer))
    shares = [len(said & set(words(p.text))) / max(len(set(words(p.text))), 1) for p in points]
    marked = tuple(MarkedPoint(p, share >= _OVERLAP, share) for p, share in zip(points, shares, strict=True))
    total = sum(p.weight for p in points)
    return Grade(100 * sum(p.weight * share for p, share in zip(points, shares, strict=True)) / total if total else 0.0, marked)


def _measures(questions: Sequence[LabelledQuestion], pairs: Sequence[tuple[str, int, int]], mark: Marker) -> dict[str, Any]:
    grades = {(q.id, i): mark(a.text, q.points, q.text) for q in questions for i, a in enumerate(q.answers)}
    halves = {"all": questions, "even": [q for q in questions if q.even], "odd": [q for q in questions if not q.even]}
    return {name: _measure(half, pairs, grades) for name, half in halves.items() if half}


def _measure(
    questions: Sequence[LabelledQuestion], pairs: Sequence[tuple[str, int, int]], grades: Mapping[tuple[str, int], Grade]
) -> dict[str, Any]:
    said = right = wanted = 0
    inside: dict[str, list[bool]] = defaultdict(list)
    distances = []
    for question in questions:
        for i, answer in enumerate(question.answers):
            marks = grades[question.id, i]
            hits = {j for j, m in enumerate(marks.points) if m.hit}
            said, right, wanted = said + len(hits), right + len(hits & answer.hits), wanted + len(answer.hits)
            distances.append(max(answer.low - marks.score, marks.score - answer.high, 0.0))
            inside[answer.level].append(distances[-1] == 0.0)
    mine = {q.id for q in questions}
    won = [grades[i, better].score > grades[i, worse].score for i, better, worse in pairs if i in mine]
    flat = [ok for level in inside.values() for ok in level]
    return {
        "pairs": _share(won),
        "precision": round(right / said, 4) if said else None,
        "recall": round(right / wanted, 4) if wanted else None,
        "in_range": _share(flat),
        "error": round(sum(distances) / len(distances), 2),
        "by_level": {level: _share(oks) for level, oks in sorted(inside.items())},
    }


def _share(values: Sequence[bool]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def fit(questions: Sequence[LabelledQuestion], embedder: "Embedder", glossary: Glossary | None) -> Weights:
    """Logistic regression (L2, C = ``REGULARISATION``) over the evidence for every point in every answer of these questions.

    Good answers to other questions of the list are added as answers that hit nothing: labelled files hold few answers that are fluent
    and off the point, and hardly any in English.
    """
    features: list[list[float]] = []
    labels: list[bool] = []
    shares: list[float] = []
    for k, question in enumerate(questions):
        strangers = [questions[(k + step) % len(questions)] for step in _STRANGERS if step < len(questions)]
        wrong = [replace(a, hits=frozenset()) for other in strangers for a in other.answers if len(a.hits) == len(other.points)]
        for answer in [*question.answers, *wrong]:
            evidence = gather(answer.text, [p.text for p in question.points], question.text, embedder, glossary)
            features += [e.numbers() for e in evidence]
            labels += [j in answer.hits for j in range(len(evidence))]
            shares += [1.0 if answer in question.answers else _STRANGER_SHARE] * len(evidence)
    if len(set(labels)) < 2:
        raise UsageError("fitting needs answers with points that are hit and points that are not")
    model = LogisticRegression(C=REGULARISATION, max_iter=5000).fit(np.array(features), np.array(labels), np.array(shares))
    shipped = shipped_weights()
    values = {name: round(float(w), 3) for name, w in zip(FEATURES, model.coef_[0], strict=True)}
    return Weights(values, round(float(model.intercept_[0]), 3), shipped.none, shipped.full)


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m assistant.grading_evaluation fit FILE`` prints weights fitted on the even half; ``measure FILE`` the measures."""
    from ingest.embedding import load_embedder

    parser = argparse.ArgumentParser(prog="python -m assistant.grading_evaluation", description=main.__doc__)
    parser.add_argument("what", choices=["fit", "measure"])
    parser.add_argument("file", type=Path)
    options = parser.parse_args(arguments)
    embedder, glossary = load_embedder(), Glossary.load()
    if options.what == "fit":
        weights = fit([q for q in load(options.file) if q.even], embedder, glossary)
        sys.stdout.write(f"intercept = {weights.intercept}\n\n[credit]\nnone = {weights.none}\nfull = {weights.full}\n\n[weights]\n")
        sys.stdout.writelines(f"{name} = {value}\n" for name, value in weights.values.items())
    else:
        sys.stdout.write(json.dumps(evaluate_grading(options.file, embedder, glossary), ensure_ascii=False, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
