"""A start for item vectors in closed form: what a linear model knows in a second, training need not find in minutes."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from nightshift.models.attributes import Bags


def item_factors(matrix: sparse.csr_array, dimension: int, seed: int) -> np.ndarray:
    """(items, dimension): the leading right singular vectors of the degree-normalised user-item matrix.

    Each is scaled by its singular value and each item by the root of its degree; the root mean square length is 1.
    Randomised subspace iteration: Halko, Martinsson, Tropp (2011), arXiv:0909.4061.

    Args:
        matrix: (users, items), weights >= 0.
    """
    users, items = (np.maximum(np.asarray(matrix.sum(axis=axis)).ravel(), 1e-9) for axis in (1, 0))
    normal = sparse.diags_array(users**-0.5) @ matrix @ sparse.diags_array(items**-0.5)
    width = min(dimension + 16, *matrix.shape)
    basis = np.random.default_rng(seed).standard_normal((matrix.shape[1], width))
    for _ in range(5):
        basis = np.linalg.qr(normal.T @ (normal @ basis))[0]
    _, strength, directions = np.linalg.svd(normal @ basis, full_matrices=False)
    rank = min(dimension, len(strength))
    factors = np.zeros((matrix.shape[1], dimension))
    factors[:, :rank] = (basis @ directions.T)[:, :rank] * strength[:rank] * np.sqrt(items)[:, None]
    nobodys = np.flatnonzero(np.bincount(matrix.indices, minlength=len(items)) == 0)
    factors[nobodys] = 0.0  # nobody has it: rounding alone is there
    return factors / max(np.sqrt((factors**2).sum(axis=1).mean()), 1e-9)


def share_with_words(factors: np.ndarray, words: Bags, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """Split item vectors into what their words say and what only the item itself does: they sum to `factors`.

    A word starts as the mean of the items that have it, so that an item known by its title alone starts near its like.
    An item without factors (nobody has bought it) says nothing of its words, and is what they say.

    Returns:
        ids (items, dimension) and words (buckets, dimension).
    """
    lengths = words.lengths
    rows = np.repeat(np.arange(len(lengths)), lengths)
    share = sparse.csr_array((1 / lengths[rows], (rows, words.words)), shape=(len(lengths), buckets))
    known = np.flatnonzero(np.abs(factors).max(axis=1))
    weight = np.asarray(share[known].sum(axis=0)).ravel()
    of_word = (share[known].T @ factors[known]) / np.maximum(weight, 1e-9)[:, None]
    of_id = np.zeros_like(factors)
    of_id[known] = factors[known] - share[known] @ of_word
    return of_id, of_word
