"""Entries that belong to rows (an item of a user's list, an event of a basket), as flat arrays: what needs no loop."""

from __future__ import annotations

import numpy as np
from scipy import sparse


def ranked(rows: np.ndarray, items: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The best `k` entries of each row, of equal scores the smaller item first.

    Returns:
        which entries they are, by row and rank, and their ranks from 1.
    """
    order = np.lexsort((items, -scores, rows))
    starts = np.flatnonzero(np.diff(rows[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order))) + 1
    return order[rank <= k], rank[rank <= k]


def top_of_rows(
    matrix: sparse.csr_array, k: int, allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The `k` greatest stored entries of each row, in columns that are `allowed`.

    Returns:
        rows, columns, values and ranks from 1, by row and rank.
    """
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    keep = allowed[matrix.indices]
    rows, columns, values = rows[keep], matrix.indices[keep], matrix.data[keep]
    order, rank = ranked(rows, columns, values, k)
    return rows[order], columns[order], values[order], rank


def top_of_scores(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `k` greatest of each row of a matrix, of equal ones the first column.

    Only what may be among them is sorted: of many columns, that is little.

    Returns:
        rows and columns, by row and rank.
    """
    k = min(k, scores.shape[1])
    if not k:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    least = np.partition(scores, -k, axis=1)[:, -k]
    rows, columns = np.nonzero(scores >= least[:, None])
    order, _ = ranked(rows, columns, scores[rows, columns], k)
    return rows[order], columns[order]


def expand(starts: np.ndarray, wanted: np.ndarray, length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Where the entries of the `wanted` groups lie in arrays whose group g is [starts[g], starts[g + 1]).

    Args:
        wanted: groups; -1 stands for an empty one.
        length: at most so many of each, from its start.

    Returns:
        for each entry, its row in `wanted` and its place.
    """
    group = np.maximum(wanted, 0)
    counts = np.where(wanted >= 0, starts[group + 1] - starts[group], 0)
    if length is not None:
        counts = np.minimum(counts, length)
    rows = np.repeat(np.arange(len(wanted)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, starts[group][rows] + within


def find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The place of each wanted key among `keys` (distinct, any order); -1 for one that is not there."""
    if not len(keys):
        return np.full(len(wanted), -1)
    order = np.argsort(keys, kind="stable")
    place = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    return np.where(keys[place] == wanted, place, -1)
