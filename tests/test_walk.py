"""Personalised PageRank that can be worked out by hand, and beside networkx."""

import networkx as nx
import numpy as np
import pytest

from kg.walk import RESTART, ConceptWalk

MENTIONS = {"a": [1, 2], "b": [2, 3], "c": [3], "none": []}


def test_it_is_the_pagerank_of_the_graph_of_concepts_and_passages() -> None:
    walk = ConceptWalk.over(MENTIONS)
    # The same walk as networkx sees it: from concept to concept, as often as a shared passage, chosen evenly, leads there.
    graph: nx.DiGraph[str] = nx.DiGraph()
    for key, ids in MENTIONS.items():
        for other, theirs in MENTIONS.items():
            shared = sum(1 / sum(i in t for t in MENTIONS.values()) for i in ids if i in theirs)
            if shared:
                graph.add_edge(key, other, weight=shared)
    expected = nx.pagerank(graph, alpha=1 - RESTART, personalization={"a": 1.0}, weight="weight", tol=1e-12)
    assert walk.spread[walk.concepts["a"]].tolist() == pytest.approx([expected[key] for key in walk.concepts], abs=1e-5)


def test_a_passage_that_joins_two_concepts_is_nearest_to_both() -> None:
    walk = ConceptWalk.over(MENTIONS)
    scores = walk.scores({"a": 1.0, "b": 1.0})
    assert walk.nearest(scores, 1) == [2]
    assert float(scores.sum()) == pytest.approx(1.0)  # the walk is somewhere
    assert walk.column(scores, [3, 9, 2]).tolist() == pytest.approx([float(scores[2]), 0.0, float(scores[1])])


def test_what_is_not_mentioned_leads_nowhere() -> None:
    walk = ConceptWalk.over(MENTIONS)
    assert walk.nearest(walk.scores({"none": 1.0, "unknown": 1.0}), 5) == []
    assert walk.concepts_of([2, 9]) == [{"a", "b"}, set()]
    empty = ConceptWalk.over({})
    assert empty.nearest(empty.scores({"a": 1.0}), 3) == [] and empty.column(np.zeros(0, np.float32), [1]).tolist() == [0.0]
