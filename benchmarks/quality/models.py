"""The models that can be compared, by name: ours first, then what anybody has, then peers from PyPI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy import sparse

from benchmarks.quality import baselines, peers
from benchmarks.quality.shape_search import choose_shape
from nightshift.config import settings
from nightshift.models.graph_filter import GraphFilter, Shape, directions, fit_filter, shaped


class Fitted(Protocol):
    """A model that has learnt from a matrix."""

    def scores(self, users: np.ndarray) -> torch.Tensor:
        """Of these rows of the matrix: (users, items) float32."""
        ...


Fit = Callable[[sparse.csr_array, int], Fitted]  # of train, and a seed


@dataclass(frozen=True)
class Filtered:
    """The project's graph filter: an embedding model, whose inner products an index serves."""

    train: sparse.csr_array
    fitted: GraphFilter
    note: str

    @classmethod
    def fit(cls, train: sparse.csr_array, seed: int) -> Filtered:
        """With the configuration's defaults: what a night fits, but that here no purchase is older than another."""
        shape = Shape(**settings.GraphFilter().model_dump(exclude={"half_life_days"}))
        fitted = fit_filter(train, shape, seed)
        return cls(train, fitted, f"defaults, {fitted.items.shape[1]} dimensions")

    @classmethod
    def searched(cls, train: sparse.csr_array, seed: int) -> Filtered:
        """With a shape that was chosen on items hidden from train: with as many directions as it was chosen with."""
        shape = choose_shape(train, seed)
        found = directions(train, shape.dimension, shape.user_degree, shape.item_degree, seed)
        return cls(train, shaped(found, shape), ", ".join(f"{k} {v}" for k, v in vars(shape).items()))

    def scores(self, users: np.ndarray) -> torch.Tensor:
        return self.fitted.scores(self.train[users])


MODELS: dict[str, Fit] = {
    "graph_filter": Filtered.fit,
    "graph_filter_searched": Filtered.searched,
    "popularity": baselines.Popularity.fit,
    "item_item": baselines.ItemItem.fit,
    "ease": baselines.Ease.fit,
    "gf_cf": baselines.GfCf.fit,
    "implicit_als": peers.als,
    "implicit_bpr": peers.bpr,
    "cornac_mult_vae": peers.mult_vae,
}
OWN = ("graph_filter", "graph_filter_searched")
