"""Libraries that others use, where they are installed: `pip install -r requirements/peers.txt`.

What suits a matrix differs from one to the next, so implicit's settings are chosen on items hidden from train, by the
same rule whatever the matrix: `chosen`.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import torch
from scipy import sparse

from benchmarks.quality.held_out import foretold, validation

log = logging.getLogger("benchmarks.quality")

K = 20
ALS = {"alpha": (10.0, 40.0, 160.0), "regularization": (10.0, 1.0, 100.0), "factors": (64, 128, 256, 512)}
BPR = {
    "learning_rate": (0.01, 0.05, 0.002),
    "regularization": (0.001, 0.01, 0.0001),
    "iterations": (100, 50, 200),
    "factors": (63, 127),
}
Grid = Mapping[str, Sequence[float]]


class NotHereError(RuntimeError):
    """A model cannot run on this machine; says why, and what would help."""


@dataclass(frozen=True)
class Factors:
    """User and item vectors, whoever has fitted them."""

    users: torch.Tensor
    items: torch.Tensor
    note: str = ""

    def scores(self, users: np.ndarray) -> torch.Tensor:
        return self.users[torch.from_numpy(users)] @ self.items.T


def als(train: sparse.csr_array, seed: int) -> Factors:
    """Hu, Koren, Volinsky (2008), Collaborative filtering for implicit feedback, by implicit; 15 sweeps.

    `alpha` is the weight of an entry beside 1 for what is not there. It, the regularisation and many factors decide:
    Rendle et al. (2021), Revisiting the performance of iALS, arXiv:2110.14037. Unlike there, implicit's regularisation
    is not scaled by frequency.
    """
    return _searched("implicit.als", "AlternatingLeastSquares", train, seed, ALS)


def bpr(train: sparse.csr_array, seed: int) -> Factors:
    """Rendle et al. (2009), BPR, arXiv:1205.2618, by implicit.

    implicit draws the items that a user does not have by their popularity, where the paper draws them evenly.
    """
    return _searched("implicit.bpr", "BayesianPersonalizedRanking", train, seed, BPR)


def _searched(module: str, name: str, train: sparse.csr_array, seed: int, grid: Grid) -> Factors:
    """A model of implicit, with what was chosen of the grid."""

    kind, limited = getattr(_module(module), name), _module("threadpoolctl").threadpool_limits

    def fit(matrix: sparse.csr_array, **settings: float) -> Factors:
        with limited(1, "blas"):  # implicit has threads of its own
            model = kind(random_state=seed, **settings)
            model.fit(sparse.csr_matrix(matrix), show_progress=False)
        return Factors(torch.from_numpy(model.user_factors), torch.from_numpy(model.item_factors))

    settings = chosen(fit, train, seed, grid)
    return replace(fit(train, **settings), note=", ".join(f"{name} {value:g}" for name, value in settings.items()))


def chosen(fit: Callable[..., Factors], train: sparse.csr_array, seed: int, grid: Grid) -> dict[str, float]:
    """The settings of the highest NDCG@20 on items that are hidden from train for it.

    One setting at a time, in the grid's order, the others as they are by then: first values, or what was best.
    """
    known, hidden, users = validation(train, seed)
    best: dict[str, float] = {name: values[0] for name, values in grid.items()}
    if not len(users):
        return best
    highest = -1.0
    for number, (name, values) in enumerate(grid.items()):
        for value in values[min(number, 1) :]:  # of all but the first setting, the first value has been looked at
            settings = {**best, name: value}
            figures = foretold(fit(known, **settings).scores, known, hidden, K, users)
            log.info("NDCG %.4f, recall %.4f: %s", figures.ndcg, figures.recall, settings)
            if figures.ndcg > highest:
                highest, best = figures.ndcg, settings
    return best


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

    One hidden layer of 200, 64 dimensions in the middle, 30 epochs of batches of 100: what two cores do with 40,000
    items in half an hour. Batches of 500 take half as long again.
    """
    users, items = train.shape
    entries = train.tocoo()
    ones = np.ones(len(entries.data), dtype=np.float32)
    names = [{n: n for n in range(count)} for count in (users, items)]
    data = _module("cornac.data").Dataset(users, items, *names, (entries.row, entries.col, ones), seed=seed)
    model = _module("cornac.models").VAECF(
        k=64, autoencoder_structure=[200], n_epochs=30, batch_size=100, learning_rate=1e-3, beta=0.2, seed=seed
    )
    return Vae(train, model.fit(data).vae)


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NotHereError(f"{name} cannot be imported ({error}): pip install -r requirements/peers.txt") from None
