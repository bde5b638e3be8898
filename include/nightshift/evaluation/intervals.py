"""How sure a mean over users is: bootstrap intervals, of one model's figures or of the difference between two models'.

Users are what is drawn again, so that an interval says what other users of the same shop would give, not other days.
Two models are compared on the same users, each by their difference: what makes a user hard is hard for both.
Percentile bootstrap: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95
DRAWN_AT_ONCE = 2_000_000  # numbers: memory is bounded by it
MANY = 20_000  # users from which the mean is as good as normal, and the drawing would only take time


@dataclass(frozen=True)
class Interval:
    """A mean, and the bounds between which it would lie for other users, with some confidence."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} ({self.low:.4f} to {self.high:.4f})"

    @property
    def signed(self) -> str:
        """As a difference."""
        return f"{self.mean:+.4f} ({self.low:+.4f} to {self.high:+.4f})"


def interval(values: np.ndarray, seed: int, confidence: float = CONFIDENCE) -> Interval:
    """The interval of the mean of a value a user; NaN over nobody, or where a value is not a number.

    The same values in the same order give the same interval. One user alone tells nothing of others: low is -inf, high
    is inf.
    """
    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean()) if len(values) else np.nan
    if not np.isfinite(mean):
        return Interval(np.nan, np.nan, np.nan)
    if len(values) == 1:
        return Interval(mean, -np.inf, np.inf)
    if len(values) >= MANY:
        half = NormalDist().inv_cdf((1 + confidence) / 2) * float(values.std(ddof=1)) / len(values) ** 0.5
        return Interval(mean, mean - half, mean + half)
    rng, means = np.random.default_rng(seed), []
    rows = max(DRAWN_AT_ONCE // len(values), 1)
    for begin in range(0, RESAMPLES, rows):
        drawn = rng.integers(0, len(values), (min(rows, RESAMPLES - begin), len(values)), dtype=np.int32)
        means.append(values[drawn].mean(axis=1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Interval(mean, float(low), float(high))
