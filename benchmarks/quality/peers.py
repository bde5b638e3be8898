"""Libraries that others use, where they are installed: `pip install -r requirements/peers.txt`."""

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
    found = _module("implicit.als").AlternatingLeastSquares(
        factors=64, regularization=0.05, alpha=10.0, iterations=15, random_state=seed
    )
    return _factors(found, train)


def bpr(train: sparse.csr_array, seed: int) -> Factors:
    """Rendle et al. (2009), BPR, arXiv:1205.2618, by implicit; 64 factors, 200 epochs."""
    found = _module("implicit.bpr").BayesianPersonalizedRanking(
        factors=63, learning_rate=0.05, regularization=0.01, iterations=200, random_state=seed
    )
    return _factors(found, train)


@dataclass(frozen=True)
class Vae:
    """An autoencoder, and the rows that it has learnt to restore."""

    train: sparse.csr_array
    network: Any

    @torch.no_grad()
    def scores(self, users: np.ndarray) -> torch.Tensor:
        middle, _ = self.network.encode(torch.from_numpy(self.train[users].toarray().astype(np.float32)))
        found: torch.Tensor = self.network.decode(middle)
        return found


def mult_vae(train: sparse.csr_array, seed: int) -> Vae:
    """Liang et al. (2018), Variational autoencoders for collaborative filtering, arXiv:1802.05814, by cornac.

    One hidden layer of 200, 64 dimensions in the middle, 30 epochs: what two cores do with 40,000 items in minutes.
    """
    users, items = train.shape
    entries = train.tocoo()
    ones = np.ones(len(entries.data), dtype=np.float32)
    names = [{n: n for n in range(count)} for count in (users, items)]
    data = _module("cornac.data").Dataset(users, items, *names, (entries.row, entries.col, ones), seed=seed)
    model = _module("cornac.models").VAECF(
        k=64, autoencoder_structure=[200], n_epochs=30, batch_size=500, learning_rate=1e-3, beta=0.2, seed=seed
    )
    return Vae(train, model.fit(data).vae)


def _factors(model: Any, train: sparse.csr_array) -> Factors:
    model.fit(sparse.csr_matrix(train), show_progress=False)
    return Factors(*(torch.from_numpy(np.ascontiguousarray(part)) for part in (model.user_factors, model.item_factors)))


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NotHereError(f"{name} cannot be imported ({error}): pip install -r requirements/peers.txt") from None
