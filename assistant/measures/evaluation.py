"""The measures over labelled question files: what `mianpu eval` prints.

Recall and mean reciprocal rank of the fused ranking beside its two baselines in the same run (BM25 alone, vectors alone), and
how well the chance of an answer tells answerable questions from the others.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, median

from assistant.measures.labels import LabelledQuestion, SpanFinder
from assistant.retrieval.search import Ranking, search, shipped_ranking
from ingest.document import Passage
from ingest.models.embedding import Embedder
from ingest.progress import Progress, no_progress
from ingest.storage.library import Library
from kg.graph import ConceptGraph

CUTOFFS = (1, 3, 5, 10)
Ranker = Callable[[str], list[Passage]]


@dataclass(frozen=True, slots=True)
class RankedQuestion:
    """A question with the passages each ranking returned, and what retrieval said of its chance."""

    question: LabelledQuestion
    ranked: Mapping[str, Sequence[Passage]]
    chance: float
    answered: bool
    seconds: float
    features: Mapping[str, float] = field(default_factory=dict)


def retrieve(
    questions: Sequence[LabelledQuestion],
    library: Library,
    embedder: Embedder,
    graph: ConceptGraph,
    progress: Progress = no_progress,
    ranking: Ranking | None = None,
) -> list[RankedQuestion]:
    """Run every question through the fused ranking and through each baseline."""
    k = max(CUTOFFS)
    out = []
    for number, question in enumerate(questions, start=1):
        began = time.perf_counter()
        result = search(question.question, library, embedder, graph, k, ranking)
        seconds = time.perf_counter() - began
        vector = embedder.encode_questions([question.question])[0]
        dense = library.passages([i for i, _ in library.nearest_passages(vector, k)])
        bm25 = library.passages([i for i, _ in library.match_words(question.question, k)])
        ranked = {"fused": [hit.passage for hit in result.hits], "bm25": bm25, "dense": dense}
        out.append(RankedQuestion(question, ranked, result.answerable, result.answered, seconds, result.features))
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
    return {
        "questions": len(rows),
        "retrieval": {name: measures(answerable, name, finder) for name in ("fused", "bm25", "dense")},
        **{
            group: {key: {"n": len(part), **measures(part, "fused", finder)} for key, part in sorted(parts.items())}
            for group, parts in groups.items()
        },
        "answerable": answerable_measures(rows),
        "search_s": {"p50": round(median(row.seconds for row in rows), 4), "max": round(max(row.seconds for row in rows), 4)},
        "gold_not_found": missing,
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


def reciprocal_rank(question: LabelledQuestion, passages: Sequence[Passage], finder: SpanFinder) -> float:
    """1 / rank of the first passage that hits any gold (or also_ok) entry; 0 when none does."""
    for rank, passage in enumerate(passages, start=1):
        if any(finder.hits(passage, g) for g in (*question.gold, *question.also_ok)):
            return 1.0 / rank
    return 0.0


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


def expected_calibration_error(rows: Sequence[tuple[float, bool]], bins: int = 10) -> float:
    """Mean distance between stated chance and observed share over equal-width bins, weighted by size (Naeini et al., 2015)."""
    error = 0.0
    for b in range(bins):
        part = [(p, y) for p, y in rows if min(int(p * bins), bins - 1) == b]
        if part:
            error += abs(mean(p for p, _ in part) - mean(float(y) for _, y in part)) * len(part) / len(rows)
    return error
