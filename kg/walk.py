"""Personalised PageRank over concepts and passages (Haveliwala 2002): what a question's concepts lead to.

A walk goes from a concept to a passage that mentions it, from there to a concept of that passage, and at every step returns with
chance ``RESTART`` to the question's concepts. Seen only at concepts it is a walk over the few hundred of them, so its answer for
every start is one small matrix, made once for a library; a question then costs a product with it and one pass over the mentions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
RESTART = 0.3


@dataclass(frozen=True, slots=True)
class ConceptWalk:
    """``concepts`` gives each key its column; ``passages`` (n,) are the ids with mentions, ascending; mention i says that passage
    ``rows[i]`` mentions concept ``columns[i]`` (once each, rows ascending); ``spread`` (k, k) is where a walk from a concept is."""

    concepts: Mapping[str, int]
    passages: Ids
    rows: Ids
    columns: Ids
    spread: Floats
    counts: Floats

    @classmethod
    def over(cls, mentions: Mapping[str, Sequence[int]]) -> "ConceptWalk":
        """The walk over the passages (ids) that mention each concept (key)."""
        from scipy import sparse  # a tenth of a second that commands without a search save

        keys = sorted(key for key, ids in mentions.items() if len(ids))
        counts = np.array([len(mentions[key]) for key in keys], dtype=np.float32)
        flat = np.concatenate([np.asarray(mentions[key], dtype=np.int64) for key in keys]) if keys else np.zeros(0, dtype=np.int64)
        passages, rows = np.unique(flat, return_inverse=True)
        columns = np.repeat(np.arange(len(keys)), counts.astype(np.int64))
        order = np.argsort(rows, kind="stable")
        rows, columns = rows[order], columns[order]
        degree = np.bincount(rows, minlength=len(passages)).astype(np.float32)
        links = sparse.csr_matrix((1 / degree[rows], (rows, columns)), shape=(len(passages), len(keys)))
        once = sparse.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=links.shape)
        step = np.asarray((once.T @ links).todense(), dtype=np.float64) / np.maximum(counts, 1)[:, None]
        spread = RESTART * np.linalg.inv(np.eye(len(keys)) - (1 - RESTART) * step)
        return cls({key: i for i, key in enumerate(keys)}, passages, rows, columns, spread.astype(np.float32), counts)

    def scores(self, start: Mapping[str, float]) -> Floats:
        """For each passage of ``passages`` the chance that a walk from the weighted concepts is there; 0 without any."""
        known = {self.concepts[key]: weight for key, weight in start.items() if key in self.concepts and weight > 0}
        if not known:
            return np.zeros(len(self.passages), dtype=np.float32)
        places = np.zeros(len(self.concepts), dtype=np.float32)
        for column, weight in known.items():
            places += weight * self.spread[column]
        places /= sum(known.values())
        out = places / np.maximum(self.counts, 1)
        scores: Floats = np.bincount(self.rows, weights=out[self.columns], minlength=len(self.passages)).astype(np.float32)
        return scores

    def concepts_of(self, ids: Sequence[int]) -> list[set[str]]:
        """The concepts that each passage mentions, in the order of the ids."""
        names = list(self.concepts)
        found = []
        for i in ids:
            row = int(np.searchsorted(self.passages, i))
            if row < len(self.passages) and self.passages[row] == i:
                low, high = np.searchsorted(self.rows, (row, row + 1))
                found.append({names[c] for c in self.columns[low:high]})
            else:
                found.append(set())
        return found

    def column(self, scores: Floats, ids: Sequence[int]) -> Floats:
        """The scores (of every passage) for the given passages, in their order; 0 for one without mentions."""
        wanted = np.asarray(ids, dtype=np.int64)
        if not len(self.passages) or not len(wanted):
            return np.zeros(len(wanted), dtype=np.float32)
        rows = np.minimum(np.searchsorted(self.passages, wanted), len(self.passages) - 1)
        column: Floats = np.where(self.passages[rows] == wanted, scores[rows], 0.0).astype(np.float32)
        return column

    def nearest(self, scores: Floats, k: int) -> list[int]:
        """The ids of the ``k`` passages with the highest scores above 0, best first."""
        k = min(k, len(scores))
        if k <= 0:
            return []
        best = np.argpartition(-scores, k - 1)[:k]
        return [int(self.passages[i]) for i in best[np.lexsort((best, -scores[best]))] if scores[i] > 0]
