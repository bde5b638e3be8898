"""What a model has to be better than: popularity, neighbours, and the closed forms of the literature.

Each is fitted by `fit(train, seed)` and answers `scores(users)`; see `benchmarks.quality.held_out`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from scipy import sparse

Matrix: TypeAlias = sparse.csr_array


@dataclass(frozen=True)
class Popularity:
    """The items that most users have, the same for everybody."""

    counts: torch.Tensor

    @classmethod
    def fit(cls, train: Matrix, seed: int) -> Popularity:
        return cls(torch.from_numpy(np.asarray(train.sum(axis=0), dtype=np.float32)))

    def scores(self, users: np.ndarray) -> torch.Tensor:
        return self.counts.expand(len(users), -1).clone()


@dataclass(frozen=True)
class ItemItem:
    """Cosine neighbours of the user's items, 200 of each.

    Sarwar et al. (2001), Item-based collaborative filtering recommendation algorithms, doi 10.1145/371920.372071.
    """

    train: Matrix
    similar: Matrix

    @classmethod
    def fit(cls, train: Matrix, seed: int, neighbours: int = 200) -> ItemItem:
        length = np.sqrt(np.maximum(np.asarray(train.sum(axis=0)), 1))
        normal = sparse.csr_array(train @ sparse.diags_array(1 / length)).astype(np.float32)
        parts = []
        for begin in range(0, train.shape[1], 2048):
            block = (normal[:, begin : begin + 2048].T @ normal).toarray()
            block[np.arange(len(block)), begin + np.arange(len(block))] = 0
            if neighbours < block.shape[1]:
                lowest = np.partition(block, -neighbours, axis=1)[:, -neighbours]
                block[block < np.maximum(lowest, 1e-9)[:, None]] = 0
            parts.append(sparse.csr_array(block))
        return cls(train, sparse.csr_array(sparse.vstack(parts).T))

    def scores(self, users: np.ndarray) -> torch.Tensor:
        return torch.from_numpy((self.train[users] @ self.similar).toarray())


@dataclass(frozen=True)
class Ease:
    """Steck (2019), Embarrassingly shallow autoencoders for sparse data, arXiv:1905.03375. Needs 4 bytes × items²."""

    train: Matrix
    weights: torch.Tensor

    @classmethod
    def fit(cls, train: Matrix, seed: int, penalty: float = 200.0) -> Ease:
        gram = torch.from_numpy((train.T @ train).astype(np.float32).toarray())
        gram.diagonal().add_(penalty)
        factor = torch.linalg.cholesky(gram, out=gram)
        inverse = torch.cholesky_inverse(factor, out=factor)
        inverse.div_(-inverse.diagonal().clone())
        inverse.fill_diagonal_(0)
        return cls(train, inverse)

    def scores(self, users: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.train[users].astype(np.float32) @ self.weights.numpy())


@dataclass(frozen=True)
class GfCf:
    """Shen et al. (2021), How powerful is graph convolution for recommendation?, arXiv:2108.07567; its settings."""

    train: Matrix
    normal: Matrix
    low: torch.Tensor  # (items, rank): the leading right singular vectors of `normal`
    degree: torch.Tensor  # of items, its root
    share: float

    @classmethod
    def fit(cls, train: Matrix, seed: int, rank: int = 256, share: float = 0.3) -> GfCf:
        user, item = (np.sqrt(np.maximum(np.asarray(train.sum(axis=axis)), 1)) for axis in (1, 0))
        normal = sparse.csr_array(sparse.diags_array(1 / user) @ train @ sparse.diags_array(1 / item)).astype(
            np.float32
        )
        start = np.random.default_rng(seed).standard_normal(min(train.shape))
        _, _, low = sparse.linalg.svds(normal, k=min(rank, min(train.shape) - 1), v0=start)
        return cls(train, normal, torch.from_numpy(low.T.copy()), torch.from_numpy(item.astype(np.float32)), share)

    def scores(self, users: np.ndarray) -> torch.Tensor:
        own = self.train[users]
        linear = torch.from_numpy(((own @ self.normal.T) @ self.normal).toarray())
        spread = (_dense(self.train, users) / self.degree) @ self.low
        return linear + self.share * (spread @ self.low.T) * self.degree


def _dense(train: Matrix, users: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(train[users].toarray())
