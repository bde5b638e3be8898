"""Which shape of a filter suits a shop: a search from the defaults, on items hidden for it and then given back.

One value is moved at a time, by a step either way for as long as that helps; then once more by half a step. What is
costly, the directions, is computed once for each normalisation. The number of trials is bounded, not their time, so
that the same matrix gives the same shape.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from benchmarks.quality.held_out import foretold, validation
from nightshift.models.graph_filter import Directions, Shape, directions, shaped

log = logging.getLogger("benchmarks.quality")

STEPS: dict[str, float] = {
    "user_degree": 0.1,
    "dimension": 0.5,  # doublings
    "popularity": 0.1,
    "history": 0.1,
    "sharpening": 0.2,
    "slope": 0.15,
    "noise": 0.1,
    "item_degree": 0.1,
}
K = 20
LEAST_GAIN = 1.002  # a smaller one is chance


@dataclass
class _Trials:
    known: sparse.csr_array
    hidden: sparse.csr_array
    users: np.ndarray
    seed: int
    rank: int

    def __post_init__(self) -> None:
        self.found: dict[Shape, float] = {}
        self._directions: dict[tuple[float, float], Directions] = {}

    def of(self, shape: Shape) -> float:
        """NDCG of a shape, on the users that are looked at."""
        if shape not in self.found:
            key = (shape.user_degree, shape.item_degree)
            if key not in self._directions:
                self._directions = {key: directions(self.known, self.rank, *key, self.seed)}  # the last only: memory
            fitted = shaped(self._directions[key], shape)
            figures = foretold(lambda rows: fitted.scores(self.known[rows]), self.known, self.hidden, K, self.users)
            self.found[shape] = figures.ndcg
            log.info(
                "filter: trial %d, NDCG %.4f, recall %.4f: %s", len(self.found), figures.ndcg, figures.recall, shape
            )
        return self.found[shape]


def choose_shape(matrix: sparse.csr_array, seed: int, start: Shape | None = None, trials: int = 40) -> Shape:
    """The best shape found within so many trials.

    Args:
        matrix: (users, items) what may be learnt from.
        trials: 0: the start.
    """
    best = start or Shape()
    best = replace(best, dimension=min(best.dimension, *matrix.shape))
    known, hidden, users = validation(matrix, seed)
    if not trials or not len(users):
        return best
    looked = _Trials(known, hidden, users, seed, min(Shape.dimension, *matrix.shape))
    for size in (1.0, 0.5):
        for name, step in STEPS.items():
            for sign in (1, -1):
                before = best
                while len(looked.found) < trials:
                    moved = _moved(best, name, sign * step * size)
                    if looked.of(moved) <= looked.of(best) * LEAST_GAIN:
                        break
                    best = moved
                if best != before:
                    break
    return best


def _moved(shape: Shape, name: str, step: float) -> Shape:
    value = getattr(shape, name)
    if name == "dimension":
        return replace(shape, dimension=max(16, round(value * 2**step)))
    return replace(shape, **{name: round(value + step, 4)})
