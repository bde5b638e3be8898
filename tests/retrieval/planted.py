"""Vectors as models leave them: in clusters, and of any length."""

from __future__ import annotations

import functools

import numpy as np

from nightshift.retrieval.index import ItemIndex, build_index
from tests import shop

DIMENSION = 24
RNG = np.random.default_rng(3)
TASTES = RNG.normal(size=(40, DIMENSION))


def vectors(rows: int, spread: float = 0.7) -> np.ndarray:
    """Popular items are longer: by up to ten times."""
    found = TASTES[RNG.integers(0, len(TASTES), rows)] + RNG.normal(size=(rows, DIMENSION)) * spread
    return (found * RNG.lognormal(sigma=0.6, size=(rows, 1))).astype(np.float32)


def names(begin: int, end: int) -> np.ndarray:
    return np.array([f"item{number:04d}" for number in range(begin, end)], dtype=object)


ITEMS, TUNING, HELD_OUT = vectors(2500), vectors(60), vectors(100)
IDS = names(0, len(ITEMS))


@functools.cache
def shared(kind: str) -> ItemIndex:
    """Not to be changed."""
    return built(kind)


def built(kind: str, items: int = len(ITEMS), **limits: object) -> ItemIndex:
    settings = shop.settings(index={"kind": kind, **limits})
    return build_index(IDS[:items], ITEMS[:items], settings, lambda: TUNING)
