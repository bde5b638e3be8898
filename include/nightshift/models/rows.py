"""The best entries of each row of a sparse matrix."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from nightshift.models.recommender import ranked


def top_of_rows(
    matrix: sparse.csr_array, k: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The `k` greatest entries of each row, of equal ones the leftmost first; only columns that are `allowed` count.

    Returns:
        rows, columns, values and ranks from 1, by row and rank.
    """
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    columns, values = matrix.indices, matrix.data
    if allowed is not None:
        keep = allowed[columns]
        rows, columns, values = rows[keep], columns[keep], values[keep]
    order, rank = ranked(rows, columns, values, k)
    return rows[order], columns[order], values[order], rank
