"""Fits the numbers of ``assistant/answers/quoting.toml`` that are models: what tells a unit, and a pair, that answers.

    python tests/bench/fit_quotes.py [--library DIR] [--write]

Logistic regressions (L2) on tests/bench/training.jsonl over the starter notes and on nothing else. A unit or a pair's answer that
overlaps a gold quote is positive; every question weighs the same. Weights of what can only speak for an answer are not below zero.
Key points by ten-fold cross-validation over documents, and those of tests/bench/questions.jsonl, at several budgets, are printed.
"""

import argparse
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.model_selection import GroupKFold

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from assistant.answers.quoting import FEATURES, PAIR_FEATURES, QuoteModel, chosen, pair_features, shipped_model  # noqa: E402
from assistant.measures.labels import LabelledQuestion, SpanFinder, key_point_share, read_questions  # noqa: E402
from tests.bench.labelled_quotes import Searched, assistant_over, finder_for, searched  # noqa: E402

FREE = frozenset(("intercept", "level", "opens", "item", "row", "code", "length"))
PENALTY = 0.002
Floats = npt.NDArray[np.float64]
_Group = tuple[Floats, Floats]


def _overlaps(question: LabelledQuestion, document: str, start: int, end: int, finder: SpanFinder) -> bool:
    golds = (gold for gold in (*question.gold, *question.also_ok) if gold.document == document)
    return any(a < end and start < b for gold in golds for a, b in finder.spans(gold))


def _units(row: Searched, finder: SpanFinder) -> _Group:
    values, labels = [], []
    for unit in row.material.units:
        region = row.material.regions[unit.region]
        found = region.found[unit.place]
        values.append([1.0, *(unit.features[name] for name in FEATURES)])
        labels.append(_overlaps(row.question, region.document, region.start + found.start, region.start + found.end, finder))
    return np.array(values), np.array(labels, dtype=np.float64)


def _pairs(row: Searched, finder: SpanFinder) -> _Group:
    values, labels = [], []
    for number, features in pair_features(row.material).items():
        pair = row.material.regions[number].pair
        assert pair is not None
        values.append([1.0, *(features[name] for name in PAIR_FEATURES)])
        labels.append(_overlaps(row.question, pair.document, pair.answer_start, pair.answer_end, finder))
    return np.array(values), np.array(labels, dtype=np.float64)


def _fit(groups: Sequence[_Group], names: Sequence[str], free: frozenset[str]) -> dict[str, float]:
    values = np.concatenate([v for v, _ in groups])
    labels = np.concatenate([y for _, y in groups])
    shares = np.concatenate([np.full(len(y), 1 / len(y)) for _, y in groups]) / len(groups)
    penalty = np.array([0.0 if name == "intercept" else PENALTY for name in names])

    def loss(weights: Floats) -> tuple[float, Floats]:
        z = values @ weights
        slope = values.T @ (shares * (1 / (1 + np.exp(-z)) - labels)) + penalty * weights
        return float((shares * (np.logaddexp(0, z) - labels * z)).sum() + (penalty * weights**2).sum() / 2), slope

    bounds = [(None, None) if name in free else (0, None) for name in names]
    found = minimize(loss, np.zeros(len(names)), jac=True, method="L-BFGS-B", bounds=bounds).x
    return {name: round(float(weight), 3) for name, weight in zip(names, found, strict=True)}


def fit(rows: Sequence[Searched], finder: SpanFinder, settings: QuoteModel) -> QuoteModel:
    """The settings with both models fitted on these questions."""
    units = [group for row in rows if (group := _units(row, finder))[1].any()]
    pairs = [group for row in rows if len((group := _pairs(row, finder))[1])]
    return replace(
        settings,
        units=_fit(units, ("intercept", *FEATURES), FREE),
        pairs=_fit(pairs, ("intercept", *PAIR_FEATURES), frozenset(("intercept", "late"))),
    )


def measure(rows: Sequence[Searched], model: QuoteModel) -> list[tuple[float, int]]:
    """For each question the share of its key points that the quotation holds, and its characters."""
    found = []
    for row in rows:
        text = "\n".join(s.text for s in chosen(row.material, model).sentences) if row.result.answered else ""
        found.append((key_point_share(text, row.question.key_points) or 0.0, len(text)))
    return found


def _line(found: Sequence[tuple[float, int]]) -> str:
    return f"key points {mean(k for k, _ in found):.3f} at {mean(n for _, n in found):.0f} characters"


def _written(model: QuoteModel, text: str) -> str:
    """``quoting.toml`` with its weights replaced; comments and settings stay."""
    head = text[: text.index("[units]")]
    parts = [f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in weights.items())
             for name, weights in (("units", model.units), ("pairs", model.pairs))]  # fmt: skip
    return head + "\n".join(parts)


def main() -> None:
    """Fit, cross-validate, print, and write if asked to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", type=Path, help="keep the library of the starter notes there")
    parser.add_argument("--write", action="store_true", help="write the weights into quoting.toml")
    arguments = parser.parse_args()
    bench = ROOT / "tests" / "bench"
    with assistant_over(ROOT / "ingest" / "samples", arguments.library) as assistant:
        finder = finder_for(assistant.library)
        rows, held_out = (
            list(searched([q for q in read_questions(bench / name) if q.answerable and q.key_points], assistant))
            for name in ("training.jsonl", "questions.jsonl")
        )
    settings = shipped_model()
    kept = [row for row in rows if row.result.answered]
    groups = [row.question.gold[0].document for row in kept]
    folds = []
    for train, test in GroupKFold(10).split(kept, groups=groups):
        folds.append((fit([kept[i] for i in train], finder, settings), [kept[i] for i in test]))
    model = fit(kept, finder, settings)
    for budget in (200, 300, 400, 500, 600, 700):
        unseen = [value for fitted, part in folds for value in measure(part, replace(fitted, budget=budget))]
        own = measure(held_out, replace(model, budget=budget))
        print(f"budget {budget}: training, unseen documents, answered only: {_line(unseen)}; questions.jsonl: {_line(own)}")
    print(_written(model, "[units]"))
    if arguments.write:
        path = ROOT / "assistant" / "answers" / "quoting.toml"
        path.write_text(_written(model, path.read_text("utf-8")), "utf-8")
        tomllib.loads(path.read_text("utf-8"))


if __name__ == "__main__":
    main()
