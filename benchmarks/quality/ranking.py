"""Rank all items that a user does not have, and hold the first k against what came true: LightGCN's protocol.

He et al. (2020), LightGCN, arXiv:2002.02126: recall is hits / test items; NDCG's ideal has min(k, test items) hits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy import sparse

from benchmarks.quality.data import Split

BLOCK = 1024  # users at a time


class Scorer(Protocol):
    """A fitted model."""

    def scores(self, users: np.ndarray) -> torch.Tensor:
        """(users, items) float32: the higher, the sooner an item is shown."""
        ...


@dataclass(frozen=True)
class Figures:
    """Means over the users that have test items; `coverage` is the share of all items that are in any list."""

    recall: float
    ndcg: float
    coverage: float
    users: int


def evaluate(model: Scorer, split: Split, k: int = 20, users: np.ndarray | None = None) -> Figures:
    """The model's first `k` items of each user against the split's test."""
    users = split.users if users is None else users
    lists = np.concatenate([top(model, split.train, part, k) for part in blocks(users)])
    recall, ndcg = judged(lists, split.test, users)
    shown = len(np.unique(lists)) / split.train.shape[1]
    return Figures(float(recall.mean()), float(ndcg.mean()), shown, len(users))


def blocks(users: np.ndarray) -> list[np.ndarray]:
    return [users[begin : begin + BLOCK] for begin in range(0, len(users), BLOCK)]


def top(model: Scorer, known: sparse.csr_array, users: np.ndarray, k: int) -> np.ndarray:
    """(users, k): the best items that are not among the users' known ones, the best first."""
    scores = model.scores(users)
    own = known[users]
    rows = np.repeat(np.arange(len(users)), np.diff(own.indptr))
    scores[torch.from_numpy(rows), torch.from_numpy(own.indices.astype(np.int64))] = -torch.inf
    return torch.topk(scores, k, dim=1).indices.numpy()


def judged(lists: np.ndarray, test: sparse.csr_array, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and NDCG of each user, in [0, 1]."""
    k, width = lists.shape[1], test.shape[1]
    truth = test[users]
    relevant = np.diff(truth.indptr)
    keys = np.repeat(np.arange(len(users)), relevant) * width + truth.indices
    hits = np.isin(np.arange(len(users))[:, None] * width + lists, keys)
    discounts = 1 / np.log2(np.arange(k) + 2)
    ideal = np.cumsum(discounts)[np.minimum(relevant, k) - 1]
    return hits.sum(axis=1) / relevant, hits @ discounts / ideal
