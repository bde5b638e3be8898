"""Foretelling some items of a user from the others: what a model of a matrix is judged by, before it sees any test.

A matrix is CSR (users, items), an entry for each item that a user has. Lists hold items that the user does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

BLOCK = 1024  # users at a time
HIDDEN, LOOKED_AT = 0.1, 2000  # of each user's items, and users, to choose by

Scores = Callable[[np.ndarray], torch.Tensor]
"""Of users, by their rows: (users, items) float32, the higher the sooner shown. May be written to by who called it."""


@dataclass(frozen=True)
class Figures:
    """Means over the users that have something to foretell, in [0, 1].

    Attributes:
        recall: hits / hidden items. Not capped: 1 cannot be reached by a user with more than k of them.
        ndcg: its ideal has min(k, hidden items) hits.
        coverage: the share of all items that are in any list.
    """

    recall: float
    ndcg: float
    coverage: float
    users: int


def hide(known: sparse.csr_array, share: float, seed: int) -> tuple[sparse.csr_array, sparse.csr_array]:
    """What stays known, and what is to be foretold: a share of each user's items, by chance, rounded down."""
    size = np.diff(known.indptr)
    row = np.repeat(np.arange(known.shape[0]), size)
    order = np.lexsort((np.random.default_rng(seed).random(known.nnz), row))
    hidden = np.arange(known.nnz) - known.indptr[row] < np.floor(size[row] * share)
    column, value = known.indices[order], known.data[order]
    kept, gone = (
        sparse.csr_array((value[part], (row[part], column[part])), shape=known.shape) for part in (~hidden, hidden)
    )
    return kept, gone


def validation(matrix: sparse.csr_array, seed: int) -> tuple[sparse.csr_array, sparse.csr_array, np.ndarray]:
    """What to choose a model's settings by: what stays known, what is hidden, and the users to look at, if any."""
    known, hidden = hide(matrix, HIDDEN, seed)
    users = np.flatnonzero(np.diff(hidden.indptr))
    return known, hidden, np.sort(np.random.default_rng(seed).permutation(users)[:LOOKED_AT])


def foretold(
    scores: Scores, known: sparse.csr_array, hidden: sparse.csr_array, k: int, users: np.ndarray | None = None
) -> Figures:
    """Hold each user's best `k` items that are not known against the hidden ones.

    The protocol of He et al. (2020), LightGCN, arXiv:2002.02126.

    Args:
        users: rows with something hidden; all of them, unless given.
    """
    users = np.flatnonzero(np.diff(hidden.indptr)) if users is None else users
    parts = [(part, best(scores(part), known[part], k)) for part in blocks(users)]
    judged = [_judged(lists, hidden[part]) for part, lists in parts]
    recall, ndcg = (np.concatenate(values).mean() for values in zip(*judged, strict=True))
    shown = len(np.unique(np.concatenate([lists for _, lists in parts])))
    return Figures(float(recall), float(ndcg), shown / known.shape[1], len(users))


def best(scores: torch.Tensor, known: sparse.csr_array, k: int) -> np.ndarray:
    """(users, at most k): the items of the highest scores that are not known, the best first. Writes to `scores`."""
    rows = np.repeat(np.arange(known.shape[0]), np.diff(known.indptr))
    scores[torch.from_numpy(rows), torch.from_numpy(known.indices.astype(np.int64))] = -torch.inf
    return torch.topk(scores, min(k, scores.shape[1]), dim=1).indices.numpy()


def blocks(users: np.ndarray) -> Iterator[np.ndarray]:
    for begin in range(0, len(users), BLOCK):
        yield users[begin : begin + BLOCK]


def _judged(lists: np.ndarray, hidden: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Recall and NDCG of each user."""
    count, width = np.diff(hidden.indptr), hidden.shape[1]
    truth = np.repeat(np.arange(len(count)), count) * width + hidden.indices
    hits = np.isin(np.arange(len(lists))[:, None] * width + lists, truth)
    discounts = 1 / np.log2(np.arange(lists.shape[1]) + 2)
    ideal = np.cumsum(discounts)[np.minimum(count, lists.shape[1]) - 1]
    return hits.sum(axis=1) / count, hits @ discounts / ideal
