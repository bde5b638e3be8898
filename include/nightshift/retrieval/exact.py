"""Exact search, whose answers depend neither on how the queries are cut into blocks nor on the number of threads.

FAISS finds the best by a matrix product. The last bits of its scores depend on the product's shape, so a few more are
fetched than are asked for, and the inner product of each pair by itself decides. Where rounding could have hidden one
that belongs to the best, more are fetched.
"""

from __future__ import annotations

import faiss
import numpy as np

SPARE = 12  # fetched beyond those that are asked for
GROWTH = 8  # times as many are fetched where that was not enough
FETCHED = 2**22  # at a time, of all queries together


def search_exactly(
    index: faiss.IndexFlat, queries: np.ndarray, k: int, longest: float
) -> tuple[np.ndarray, np.ndarray]:
    """The `k` rows that have the greatest inner products with each query; of equal ones the first.

    Args:
        queries: float32 (queries, dimension).
        k: at most as many as there are rows.
        longest: see `longest_of`.

    Returns:
        rows (int64) and inner products (float32), the greatest first: (queries, k).
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    rows = np.tile(np.arange(k), (len(queries), 1))
    scores = np.zeros(rows.shape, dtype=np.float32)
    waiting = np.flatnonzero(queries.any(axis=1))  # to a query of zeros all rows are equal
    fetch = min(k + SPARE, index.ntotal)
    while len(waiting):
        unsure = []
        for some in np.split(waiting, range(0, len(waiting), max(FETCHED // fetch, 1)))[1:]:
            rows[some], scores[some], sure = _best_fetched(index, queries[some], k, fetch, longest)
            unsure.append(some[~sure])
        waiting, fetch = np.concatenate(unsure), min(fetch * GROWTH, index.ntotal)
    return rows, scores


def longest_of(index: faiss.IndexFlat) -> float:
    """The length of the longest vector; 0 where there is none."""
    vectors = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d).reshape(index.ntotal, index.d)
    return float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors).max(initial=0)))


def _best_fetched(
    index: faiss.IndexFlat, queries: np.ndarray, k: int, fetch: int, longest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best `k` of those that are fetched, and whether it is sure that no other row belongs to them.

    A sum of d products is off by d roundings of the two lengths' product at most, in whatever order it is taken
    (Higham, Accuracy and Stability of Numerical Algorithms, 2002, 3.1): of one pair, two sums differ by twice that.
    """
    rough, rows = index.search(queries, fetch)
    rows.sort(axis=1)
    scores = _pair_by_pair(index, queries, rows)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    rows, scores = np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
    off = index.d * np.finfo(np.float32).eps * longest * np.linalg.norm(queries, axis=1)
    hidden = (fetch < index.ntotal) & (rough[:, -1] + off >= scores[:, -1])
    return rows, scores, ~hidden


def _pair_by_pair(index: faiss.IndexFlat, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Inner products of each query with its rows: float32, of the shape of `rows`."""
    scores = np.empty(rows.shape, dtype=np.float32)
    count, each = rows.shape
    index.compute_distance_subset(count, faiss.swig_ptr(queries), each, faiss.swig_ptr(scores), faiss.swig_ptr(rows))
    return scores
