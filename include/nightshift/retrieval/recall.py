"""How many of the items that exact search finds an index finds too, by the vectors of real users and items."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np

NEAREST = 100
QUERIES = 1000  # that an index is tuned with, and as many others that it is measured with
BLOCK = 256  # queries at a time whose found items' vectors are in memory
ROUNDING = 1e-6  # of the largest score there could be: closer ones are a tie


def split_queries(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Of so many users, or items, those to tune with and others to measure with: spread evenly, `QUERIES` at most each.

    Of a single one there is none to tune with.
    """
    spread = np.unique(np.linspace(0, count - 1, min(count, 2 * QUERIES)).astype(np.int64))
    return spread[1::2], spread[::2]


@dataclass(frozen=True)
class Truth:
    """What exact search finds.

    Attributes:
        queries: (queries, dimension); those that are nothing but 0, which score all items alike, are left out.
        vectors: (items, dimension) that were searched.
        least: (queries) the score of the last that was found; whatever scores as high is as right.
        k: how many were looked for.
    """

    queries: np.ndarray
    vectors: np.ndarray
    least: np.ndarray
    k: int

    @classmethod
    def of(cls, queries: np.ndarray, vectors: np.ndarray, k: int = NEAREST) -> Truth:
        """Search exactly.

        Raises:
            ValueError: there is no query, or no vector: a recall of nothing says nothing.
        """
        k = min(k, len(vectors))
        queries = queries[queries.any(axis=1)]
        if not len(queries) or not k:
            raise ValueError(f"the recall of {len(queries)} queries among {len(vectors)} vectors cannot be measured")
        scores, _ = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
        tie = ROUNDING * np.linalg.norm(queries, axis=1) * np.linalg.norm(vectors, axis=1).max()
        return cls(queries, vectors, scores[:, -1] - tie, k)

    def recall(self, rows: np.ndarray) -> float:
        """Share of the exact `k` best that is among `rows` (queries, at least `k`; -1: none), mean over the queries."""
        blocks = range(0, len(self.queries), BLOCK)
        found = sum(self._hits(slice(begin, begin + BLOCK), rows[begin : begin + BLOCK, : self.k]) for begin in blocks)
        return float(found / (len(self.queries) * self.k))

    def _hits(self, which: slice, rows: np.ndarray) -> int:
        scores = np.einsum("qd,qkd->qk", self.queries[which], self.vectors[rows])
        hit = (scores >= self.least[which, None]) & (rows >= 0)
        distinct = np.sort(np.where(hit, rows, -1), axis=1)  # a row that was given twice counts once
        return int(np.count_nonzero(np.diff(distinct, axis=1, prepend=-1)))
