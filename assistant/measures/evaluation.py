"""The measures over labelled question files: what `mianpu eval` prints.

Recall and mean reciprocal rank of the ranking beside its two baselines in the same run (BM25 alone, vectors alone), with each
feature alone and left out, and how well the chance of an answer tells answerable questions from the others.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, median

import numpy as np

from assistant.measures.labels import LabelledQuestion, SpanFinder
from assistant.retrieval.confidence import probability
from assistant.retrieval.language import language_centres
from assistant.retrieval.ranking import FEATURES, Ranking, shipped_ranking, totals
from assistant.retrieval.search import Ranked, rank
from assistant.retrieval.selection import once
from ingest.document import Passage
from ingest.models.embedding import Embedder
from ingest.progress import Progress, no_progress
from ingest.storage.library import Library
from kg.graph import ConceptGraph

CUTOFFS = (1, 3, 5, 10)
BINS = 10
_RESAMPLES = 1000
_LISTED = 10  # of the worst questions; half as many of the slowest
Ranker = Callable[[str], list[Passage]]


@dataclass(frozen=True, slots=True)
class RankedQuestion:
    """A question with the passages each ranking returned, and what retrieval said of its chance.

    ``found`` are its candidates with their features, ``groups`` those of copies, for ablations and fitting.
    """

    question: LabelledQuestion
    ranked: Mapping[str, Sequence[Passage]]
    chance: float
    answered: bool
    seconds: float
    features: Mapping[str, float] = field(default_factory=dict)
    found: Ranked | None = None
    groups: Mapping[int, int] = field(default_factory=dict)


def retrieve(
    questions: Sequence[LabelledQuestion],
    library: Library,
    embedder: Embedder,
    graph: ConceptGraph,
    progress: Progress = no_progress,
    ranking: Ranking | None = None,
) -> list[RankedQuestion]:
    """Run every question through the ranking and through each baseline; ``seconds`` is the time of the ranking."""
    k = max(CUTOFFS)
    ranking = ranking or shipped_ranking()
    centres = language_centres(library, embedder, graph.glossary)
    left_out = {q.without: frozenset(p.id for p in library.all_passages(q.without)) for q in questions if q.without}
    if questions:  # the word list, the vectors and the walk over concepts come to memory once, not at the first question's cost
        rank(questions[0].question, library, embedder, graph, k, ranking, centres)
    out = []
    for number, question in enumerate(questions, start=1):
        without = left_out.get(question.without, frozenset())
        began = time.perf_counter()
        found = rank(question.question, library, embedder, graph, k, ranking, centres, without)
        seconds = time.perf_counter() - began
        ranked = {"fused": [found.candidates.passages[i] for i in found.order[:k]]}
        if not without:
            vector = embedder.encode_questions([question.question])[0]
            ranked["dense"] = library.passages([i for i, _ in library.nearest_passages(vector, k)])
            ranked["bm25"] = library.passages([i for i, _ in library.match_words(question.question, k)])
        chance = probability(found.chance, ranking) if found.order else 0.0
        groups = library.groups(found.candidates.ids)
        out.append(RankedQuestion(question, ranked, chance, chance >= ranking.threshold, seconds, found.chance, found, groups))
        progress("questions", number, len(questions))
    return out


def report(rows: Sequence[RankedQuestion], finder: SpanFinder) -> dict[str, object]:
    """The report of the retrieval measures, with the names DESIGN.md fixes."""
    answerable = [row for row in rows if row.question.answerable]
    groups: dict[str, dict[str, list[RankedQuestion]]] = {"by_type": {}, "by_lang": {}}
    for row in answerable:
        groups["by_type"].setdefault(row.question.type, []).append(row)
        groups["by_lang"].setdefault(row.question.lang, []).append(row)
    missing = sorted({row.question.id for row in answerable if not all(finder.spans(g) for g in row.question.gold)})
    seconds = sorted(row.seconds for row in rows)
    return {
        "questions": len(rows),
        "retrieval": {name: measures(answerable, name, finder) for name in ("fused", "bm25", "dense")},
        "intervals": intervals(answerable, finder),
        **{
            group: {key: {"n": len(part), **measures(part, "fused", finder)} for key, part in sorted(parts.items())}
            for group, parts in groups.items()
        },
        "ablation": ablation(answerable, finder),
        "answerable": answerable_measures(rows),
        "search_s": {
            "p50": round(median(seconds), 4),
            "p95": round(seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))], 4),
            "max": round(seconds[-1], 4),
        },
        "reliability": reliability([(row.chance, row.question.answerable) for row in rows]),
        "worst": [
            _shown(row, finder) for row in sorted(answerable, key=lambda r: _value(r, finder))[:_LISTED] if _value(row, finder) < 1
        ],
        "slowest": [_shown(row, finder) for row in sorted(rows, key=lambda r: -r.seconds)[: _LISTED // 2]],
        "gold_not_found": missing,
        "per_question": {row.question.id: {f"recall@{k}": round(recalls(row, finder)[k], 4) for k in (1, 5)} for row in answerable},
    }


def measures(rows: Sequence[RankedQuestion], name: str, finder: SpanFinder) -> dict[str, float]:
    """recall@k and MRR of one ranking over answerable questions."""
    if not rows:
        return {}
    out = {f"recall@{k}": round(mean(recall(r.question, r.ranked[name][:k], finder) for r in rows), 4) for k in CUTOFFS}
    out["mrr"] = round(mean(reciprocal_rank(r.question, r.ranked[name], finder) for r in rows), 4)
    return out


def recall(question: LabelledQuestion, passages: Sequence[Passage], finder: SpanFinder) -> float:
    """`single`: 1 when any gold or also_ok entry is hit; `multi` and `compare`: the share of gold entries hit."""
    if question.type == "single":
        return float(any(finder.hits(p, g) for p in passages for g in (*question.gold, *question.also_ok)))
    return mean(float(any(finder.hits(p, g) for p in passages)) for g in question.gold) if question.gold else 0.0


def recalls(row: RankedQuestion, finder: SpanFinder, name: str = "fused") -> dict[int, float]:
    """recall at every cutoff of one question."""
    return {k: recall(row.question, row.ranked[name][:k], finder) for k in CUTOFFS}


def reciprocal_rank(question: LabelledQuestion, passages: Sequence[Passage], finder: SpanFinder) -> float:
    """1 / rank of the first passage that hits any gold (or also_ok) entry; 0 when none does."""
    for place, passage in enumerate(passages, start=1):
        if any(finder.hits(passage, g) for g in (*question.gold, *question.also_ok)):
            return 1.0 / place
    return 0.0


def intervals(rows: Sequence[RankedQuestion], finder: SpanFinder) -> dict[str, list[float]]:
    """95 % intervals by the bootstrap over questions (Efron 1979): of the ranking's recall, and of its lead over each baseline."""
    if not rows:
        return {}
    values = {name: np.array([list(recalls(row, finder, name).values()) for row in rows]) for name in ("fused", "bm25", "dense")}
    draws = np.random.default_rng(0).integers(0, len(rows), (_RESAMPLES, len(rows)))
    out = {}
    for column, k in enumerate(CUTOFFS):
        if k not in (1, 5):
            continue
        sampled = {name: value[:, column][draws].mean(axis=1) for name, value in values.items()}
        out[f"recall@{k}"] = _interval(sampled["fused"])
        for name in ("bm25", "dense"):
            out[f"recall@{k}_over_{name}"] = _interval(sampled["fused"] - sampled[name])
    return out


def _interval(values: np.ndarray) -> list[float]:
    return [round(float(v), 4) for v in np.quantile(values, (0.025, 0.975))]


def ablation(rows: Sequence[RankedQuestion], finder: SpanFinder) -> dict[str, dict[str, float]]:
    """recall@1 and @5 with each feature alone, and with each left out, over the same candidates."""
    kept = [row for row in rows if row.found is not None]
    if not kept:
        return {}
    out = {"all": _reweighed(kept, finder)}
    for one in FEATURES:
        out[f"only {one}"] = _reweighed(kept, finder, only=one)
        out[f"without {one}"] = _reweighed(kept, finder, without=one)
    return out


def _reweighed(rows: Sequence[RankedQuestion], finder: SpanFinder, *, only: str = "", without: str = "") -> dict[str, float]:
    found = []
    for row in rows:
        assert row.found is not None
        weights = dict(shipped_ranking().weights_for(row.found.candidates.query.english))
        weights = {only: 1.0} if only else {name: weight for name, weight in weights.items() if name != without}
        found.append((row.question, reordered(row, weights)))
    return {f"recall@{k}": round(mean(recall(question, passages[:k], finder) for question, passages in found), 4) for k in (1, 5)}


def reordered(row: RankedQuestion, weights: Mapping[str, float]) -> list[Passage]:
    """The candidates of a question as other weights would rank them, best first."""
    assert row.found is not None
    candidates = row.found.candidates
    order = [int(i) for i in np.argsort(-totals(row.found.features, weights), kind="stable")]
    return [candidates.passages[i] for i in once(order, candidates.ids, row.groups)[: max(CUTOFFS)]]


def answerable_measures(rows: Sequence[RankedQuestion]) -> dict[str, float]:
    """AUROC of the chance, its expected calibration error, and what the shipped threshold refuses and loses."""
    yes = [row for row in rows if row.question.answerable]
    no = [row for row in rows if not row.question.answerable]
    out: dict[str, float] = {"threshold": shipped_ranking().threshold, "n_answerable": len(yes), "n_unanswerable": len(no)}
    if yes:
        out["lost_answerable"] = round(mean(float(not row.answered) for row in yes), 4)
    if no:
        out["refused_unanswerable"] = round(mean(float(not row.answered) for row in no), 4)
    if yes and no:
        out["auroc"] = round(auroc([row.chance for row in yes], [row.chance for row in no]), 4)
        out["ece"] = round(expected_calibration_error([(row.chance, row.question.answerable) for row in rows]), 4)
    return out


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The chance that a random positive scores above a random negative, ties counting half (Mann-Whitney U)."""
    wins = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
    return wins / (len(positive) * len(negative))


def expected_calibration_error(rows: Sequence[tuple[float, bool]], bins: int = BINS) -> float:
    """Mean distance between stated chance and observed share over equal-width bins, weighted by size (Naeini et al., 2015)."""
    parts = [part for part in _binned(rows, bins) if part]
    return sum(abs(mean(p for p, _ in part) - mean(float(y) for _, y in part)) * len(part) / len(rows) for part in parts)


def reliability(rows: Sequence[tuple[float, bool]], bins: int = BINS) -> list[str]:
    """The reliability diagram as lines: for each bin of the stated chance how many questions, and the share that was answerable."""
    lines = []
    for number, part in enumerate(_binned(rows, bins)):
        if part:
            share = mean(float(y) for _, y in part)
            bar = "#" * round(20 * share)
            lines.append(f"{number / bins:.1f}-{(number + 1) / bins:.1f}  n {len(part):5d}  answerable {share:.2f}  {bar}")
    return lines


def _binned(rows: Sequence[tuple[float, bool]], bins: int) -> list[list[tuple[float, bool]]]:
    out: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for p, y in rows:
        out[min(int(p * bins), bins - 1)].append((p, y))
    return out


def _value(row: RankedQuestion, finder: SpanFinder) -> float:
    return reciprocal_rank(row.question, row.ranked["fused"], finder) + recalls(row, finder)[5]


def _shown(row: RankedQuestion, finder: SpanFinder) -> str:
    """A question with what was returned for it, on one line."""
    first = row.ranked["fused"][:1]
    found = "; ".join(f"{p.document}:{p.line} {' '.join(p.text.split())[:60]}" for p in first) or "nothing"
    rank = reciprocal_rank(row.question, row.ranked["fused"], finder)
    place = f"rank {round(1 / rank)}" if rank else "not among ten"
    what = place if row.question.answerable else "unanswerable"
    return f"{row.question.id} {row.question.question} | {what}, {1000 * row.seconds:.0f} ms, chance {row.chance:.2f} | {found}"


def against(now: Mapping[str, object], before: Mapping[str, object]) -> dict[str, object]:
    """What changed since an earlier report: every figure that differs, and the questions whose recall@5 rose or fell."""
    earlier, later = dict(_figures(before)), dict(_figures(now))
    figures = {
        name: f"{earlier[name]:g} -> {later[name]:g} ({later[name] - earlier[name]:+.4g})"
        for name in later
        if name in earlier and earlier[name] != later[name] and not name.startswith(("per_question", "search_s"))
    }
    ours, theirs = now.get("per_question"), before.get("per_question")
    changed: dict[str, list[str]] = {"better": [], "worse": []}
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in ours.keys() & theirs.keys():
            change = ours[key]["recall@5"] - theirs[key]["recall@5"]
            if change:
                changed["better" if change > 0 else "worse"].append(str(key))
    return {"figures": figures, **{name: " ".join(sorted(ids)) or "none" for name, ids in changed.items()}}


def _figures(value: Mapping[str, object], path: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, item in value.items():
        if isinstance(item, Mapping):
            found += _figures(item, f"{path}{name}.")
        elif isinstance(item, (int, float)):
            found.append((f"{path}{name}", float(item)))
    return found
