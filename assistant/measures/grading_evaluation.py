"""How well answers are marked, measured on labelled answers, beside a baseline of word overlap: `mianpu eval --grading FILE`.

A labelled file holds, a line each, a question with weighted key points and answers with the points they hit and the range their
score should be in; ``*_pairs.jsonl`` beside it says which answer must score higher than which. The weights were fitted on the
questions at even places of one file (counting from 0) and on our own ``tests/bench/grading_notes.jsonl``, so of that file the
figures of the odd places are the honest ones.
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
import numpy.typing as npt
from scipy.optimize import minimize  # type: ignore[import-untyped, unused-ignore]

from assistant.interviews.grading import Grade, KeyPoint, MarkedPoint, Weights, grade, shipped_weights
from assistant.interviews.marking import FEATURES, gather
from ingest.errors import UsageError
from ingest.storage.fulltext import words
from kg.concepts import Glossary

if TYPE_CHECKING:
    from ingest.models.embedding import Embedder

REGULARISATION = 3.0  # C; 3 and 10 did best among 0.1, 0.3, 1, 3, 10 in leave-one-question-out on the even half
_ASIDE_SHARE = 0.5  # our own answers are paraphrased on purpose; at full weight the fit stops looking at words
_SIGNS = dict.fromkeys(FEATURES, 1) | {"conflict": -1, "contrary": -1, "elsewhere": -1, "foreign": 0, "margin_foreign": 0}
Array = npt.NDArray[np.float64]
_STRANGERS = (5, 9)  # how far down the list the other questions stand; neighbours often share a topic
_STRANGER_SHARE = 0.5  # what one of their points weighs: at 1 good answers lose, at 0.2 fluent strangers earn 14 of 100
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

    ``pairs``: share of the pairs whose better answer scores higher (ties lose). ``precision``, ``recall``: of the points marked as
    hit. ``in_range``: share of the answers whose score is in its range; ``by_level`` the same for each kind of answer. ``error``:
    mean distance of a score from its range. Pairs come from ``<name>_pairs.jsonl`` beside the file, if there is one. The glossary
    is the project's own unless another is given.
    """
    questions = load(path)
    known = glossary or Glossary.load()
    file = path.with_name(f"{path.stem}_pairs.jsonl")
    pairs = [(str(row["id"]), int(row["better"]), int(row["worse"])) for row in _rows(file)] if file.exists() else []

    def marker(answer: str, points: Sequence[KeyPoint], question: str) -> Grade:
        return grade(answer, points, question, embedder, known)

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


def fit(
    questions: Sequence[LabelledQuestion], embedder: "Embedder", glossary: Glossary | None, aside: Sequence[LabelledQuestion] = ()
) -> Weights:
    """Logistic regression over the evidence for every point in every answer of these questions; those ``aside`` weigh half.

    L2 with C = ``REGULARISATION``, and no evidence may count backwards: what speaks for a point has a weight of at least 0, what
    speaks against it of at most 0. Good answers to other questions of the list are added as answers that hit nothing: labelled
    files hold few answers that are fluent and off the point, and hardly any in English.
    """
    rows: list[tuple[list[float], bool, float]] = []
    for group, weight in ((questions, 1.0), (aside, _ASIDE_SHARE)):
        for question, answer, share in _training_answers(group):
            evidence = gather(answer.text, [p.text for p in question.points], question.text, embedder, glossary)
            rows += [(e.numbers(), j in answer.hits, weight * share) for j, e in enumerate(evidence)]
    if len({said for _, said, _ in rows}) < 2:
        raise UsageError("fitting needs answers with points that are hit and points that are not")
    values, intercept = _logistic(np.array([r[0] for r in rows]), np.array([r[1] for r in rows]), np.array([r[2] for r in rows]))
    shipped = shipped_weights()
    named = {name: round(float(w), 3) for name, w in zip(FEATURES, values, strict=True)}
    return Weights(named, round(intercept, 3), shipped.none, shipped.full)


def _training_answers(questions: Sequence[LabelledQuestion]) -> Iterable[tuple[LabelledQuestion, LabelledAnswer, float]]:
    """(question, answer, share): its own answers, and full answers to questions further down the list, which hit nothing here."""
    for k, question in enumerate(questions):
        yield from ((question, answer, 1.0) for answer in question.answers)
        for other in (questions[(k + step) % len(questions)] for step in _STRANGERS if step < len(questions)):
            full = (a for a in other.answers if len(a.hits) == len(other.points))
            yield from ((question, replace(a, hits=frozenset()), _STRANGER_SHARE) for a in full)


def _logistic(x: Array, said: npt.NDArray[np.bool_], shares: Array) -> tuple[Array, float]:
    """(weights (d,), intercept) that minimise sum of shares * log loss + |w|^2 / 2C within the signs of ``_SIGNS``; x is (n, d)."""
    signs = np.where(said, 1.0, -1.0)

    def loss(parameters: Array) -> tuple[float, Array]:
        weights, intercept = parameters[:-1], parameters[-1]
        margins = signs * (x @ weights + intercept)
        slope = -shares * signs / (1 + np.exp(margins))
        value = float(shares @ np.logaddexp(0, -margins) + weights @ weights / (2 * REGULARISATION))
        return value, np.append(x.T @ slope + weights / REGULARISATION, slope.sum())

    bounds = [*({1: (0.0, None), -1: (None, 0.0), 0: (None, None)}[_SIGNS[name]] for name in FEATURES), (None, None)]
    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", bounds=bounds)
    return found.x[:-1], float(found.x[-1])


def main(arguments: Sequence[str] | None = None) -> int:
    """`fit FILE MORE…` prints weights fitted on the even half of FILE and all of MORE; `measure FILE…` prints the measures."""
    from ingest.models.embedding import load_embedder

    parser = argparse.ArgumentParser(prog="python -m assistant.measures.grading_evaluation", description=main.__doc__)
    parser.add_argument("what", choices=["fit", "measure"])
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    options = parser.parse_args(arguments)
    embedder, glossary = load_embedder(), Glossary.load()
    if options.what == "fit":
        first, *more = [load(file) for file in options.files]
        weights = fit([q for q in first if q.even], embedder, glossary, [q for file in more for q in file])
        print(f"intercept = {weights.intercept}\n\n[credit]\nnone = {weights.none}\nfull = {weights.full}\n\n[weights]")
        print("\n".join(f"{name} = {value}" for name, value in weights.values.items()))
    else:
        measures = {str(file): evaluate_grading(file, embedder, glossary) for file in options.files}
        print(json.dumps(measures, ensure_ascii=False, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
