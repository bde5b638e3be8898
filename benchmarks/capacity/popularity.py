"""Who is asked for how often, and what of it is found in memory.

Requests follow Zipf's law over the users. The pages of a machine's file cache are kept by least recent use; what share
of the requests finds its page there follows from the time that a page stays (Che, Tung and Wang, 2002, Hierarchical web
caching systems, IEEE JSAC 20(7)): so long that the pages asked for in it fill the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 4000


@dataclass(frozen=True)
class Popularity:
    """`users` of whom the i-th is asked for as i to the power of `-exponent`, for 0 <= exponent < 2.

    Attributes:
        hot: share of all requests that one further user takes alone: a crawler, a test, a bug.
    """

    users: float
    exponent: float
    hot: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.exponent < 2:
            raise ValueError(f"the exponent must be from 0 to under 2, not {self.exponent}")

    def ranks(self) -> tuple[np.ndarray, np.ndarray]:
        """Users by rank in bins, as (how many, the probability that a request is for one of them): the first singly."""
        edges = np.unique(np.round(np.geomspace(1, self.users + 1, BINS)))
        first, after = edges[:-1], edges[1:]
        counts = after - first
        weights = np.where(counts == 1, first**-self.exponent, self._integral(first - 0.5, after - 0.5) / counts)
        return counts, weights / (counts @ weights)

    def _integral(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        if self.exponent == 1:
            return np.log(high / low)
        power = 1 - self.exponent
        return (high**power - low**power) / power

    def missed(self, rate: float, seconds: float) -> float:
        """The share of requests that nobody has made in the last so many seconds, at so many requests a second."""
        counts, p = self.ranks()
        return float((1 - self.hot) * (counts * p) @ np.exp(-rate * (1 - self.hot) * p * seconds))

    def stay(self, rate: float, pages: float) -> float:
        """Seconds that a page stays in a cache of so many; infinite where all users have room."""
        if pages >= self.users:
            return float("inf")
        counts, p = self.ranks()

        def filled(seconds: float) -> float:
            return float(counts @ -np.expm1(-rate * (1 - self.hot) * p * seconds))

        low, high = 0.0, 1.0
        while filled(high) < pages:
            low, high = high, 2 * high
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if filled(middle) < pages else (low, middle)
        return high

    def misses(self, rate: float, pages: float, since_swap: float = float("inf")) -> float:
        """The share of requests whose page is not in memory, so many seconds after the cache was empty."""
        seconds = min(self.stay(rate, pages), since_swap)
        return 0.0 if seconds == float("inf") else self.missed(rate, seconds)
