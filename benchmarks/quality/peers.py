"""Libraries that others use, where they are installed: `pip install implicit`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from scipy import sparse


class NotHereError(RuntimeError):
    """A model cannot run on this machine; says why, and what would help."""


@dataclass(frozen=True)
class Factors:
    """User and item vectors, whoever has fitted them."""

    users: torch.Tensor
    items: torch.Tensor

    def scores(self, users: np.ndarray) -> torch.Tensor:
        return self.users[torch.from_numpy(users)] @ self.items.T


def als(train: sparse.csr_array, seed: int) -> Factors:
    """Hu, Koren, Volinsky (2008), Collaborative filtering for implicit feedback, by implicit; 64 factors, 15 sweeps."""
    found = _implicit("als").AlternatingLeastSquares(
        factors=64, regularization=0.05, alpha=10.0, iterations=15, random_state=seed
    )
    return _factors(found, train)


def bpr(train: sparse.csr_array, seed: int) -> Factors:
    """Rendle et al. (2009), BPR, arXiv:1205.2618, by implicit; 64 factors, 200 epochs."""
    found = _implicit("bpr").BayesianPersonalizedRanking(
        factors=63, learning_rate=0.05, regularization=0.01, iterations=200, random_state=seed
    )
    return _factors(found, train)


def _factors(model: Any, train: sparse.csr_array) -> Factors:
    model.fit(sparse.csr_matrix(train), show_progress=False)
    return Factors(*(torch.from_numpy(np.ascontiguousarray(part)) for part in (model.user_factors, model.item_factors)))


def _implicit(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"implicit.{name}")
    except ImportError as error:
        raise NotHereError(f"implicit cannot be imported ({error}): pip install implicit") from None
