"""The measures against values worked out by hand."""

import pytest

from assistant.measures.evaluation import (
    RankedQuestion,
    auroc,
    expected_calibration_error,
    measures,
    recall,
    reciprocal_rank,
    report,
)
from assistant.measures.labels import Gold, LabelledQuestion, SpanFinder
from ingest.document import Passage

TEXT = "甲甲乙乙丙丙丁丁"
FINDER = SpanFinder({"d": TEXT})


def passage(start: int) -> Passage:
    return Passage("d", start, start + 2, TEXT[start : start + 2])


def question(
    kind: str = "single", gold: tuple[str, ...] = ("乙乙",), also: tuple[str, ...] = (), answerable: bool = True
) -> LabelledQuestion:
    golds = tuple(Gold("d", quote) for quote in gold)
    return LabelledQuestion("q", "?", answerable, kind, "zh", golds, tuple(Gold("d", quote) for quote in also))


def test_single_needs_any_gold_or_also_ok() -> None:
    assert recall(question(), [passage(0)], FINDER) == 0
    assert recall(question(), [passage(0), passage(2)], FINDER) == 1
    assert recall(question(also=("甲甲",)), [passage(0)], FINDER) == 1


def test_multi_is_the_share_of_gold_entries() -> None:
    assert recall(question("multi", ("乙乙", "丁丁")), [passage(2), passage(0)], FINDER) == 0.5
    assert recall(question("compare", ("乙乙", "丁丁")), [passage(2), passage(6)], FINDER) == 1


def test_reciprocal_rank() -> None:
    assert reciprocal_rank(question(), [passage(0), passage(4), passage(2)], FINDER) == pytest.approx(1 / 3)
    assert reciprocal_rank(question(), [passage(0)], FINDER) == 0


def test_auroc_counts_ties_half() -> None:
    assert auroc([0.9, 0.5], [0.5, 0.1]) == pytest.approx(3.5 / 4)


def test_calibration_error_of_a_forecast() -> None:
    # Four at .75 of which three are right: no error. Two at .25 of which both are right: .75 too low, over 2 of 6 rows.
    assert expected_calibration_error([(0.75, True)] * 3 + [(0.75, False)]) == pytest.approx(0)
    rows = [(0.75, True)] * 3 + [(0.75, False)] + [(0.25, True)] * 2
    assert expected_calibration_error(rows) == pytest.approx(0.75 * 2 / 6)


def test_the_report_has_the_names_that_are_fixed() -> None:
    ranked = {"fused": [passage(2)], "bm25": [passage(0), passage(2)], "dense": [passage(0)]}
    no = RankedQuestion(question(answerable=False, gold=()), ranked, 0.1, False, 0.01)
    out = report([RankedQuestion(question(), ranked, 0.9, True, 0.01), no], FINDER)
    retrieval = out["retrieval"]
    assert isinstance(retrieval, dict)
    assert retrieval["fused"] == {"recall@1": 1, "recall@3": 1, "recall@5": 1, "recall@10": 1, "mrr": 1}
    assert retrieval["bm25"]["recall@1"] == 0 and retrieval["bm25"]["mrr"] == 0.5
    assert out["by_type"] == {"single": {"n": 1, **retrieval["fused"]}}
    answerable = out["answerable"]
    assert isinstance(answerable, dict)
    assert (answerable["auroc"], answerable["refused_unanswerable"], answerable["lost_answerable"]) == (1, 1, 0)
    assert measures([], "fused", FINDER) == {}
