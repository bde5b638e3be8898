"""Intervals and p-values that hold at every look at once, so that one may look every day and stop when one likes.

Asymptotic confidence sequences: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), Time-uniform central limit
theory and asymptotic confidence sequences, The Annals of Statistics 52(6). The p-value is the same bound read the other
way: the normal mixture of Robbins (1970), which the mSPRT takes too (Johari et al., 2017, Peeking at A/B tests, KDD).
They are asymptotic: no look counts before there are enough users (`experiments.min_users`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import lambertw

from nightshift.experiments.statistics import Interval


@dataclass(frozen=True)
class Sequence:
    """Looks at a mean over ever more users.

    Attributes:
        alpha: the probability that any look at all misses the truth.
        planned: users at which the intervals are to be the sharpest. To be chosen before the first look.
    """

    alpha: float
    planned: int

    def interval(self, value: float, error: float, users: int) -> Interval:
        """Where the truth lies.

        Args:
            value: the mean, or a difference of means, over `users` whose values are complete.
            error: its standard error.
        """
        if not error or not users:
            return Interval(-math.inf, math.inf)
        x = self._scaled(users)
        half = error * math.sqrt(2 * (x + 1) / x * math.log(math.sqrt(x + 1) / self.alpha))
        return Interval(value - half, value + half)

    def p_value(self, value: float, error: float, users: int) -> float:
        """Of no difference: the smallest `alpha` whose interval, with the same mixture, leaves 0 out."""
        if not error or not users:
            return 1.0
        x = self._scaled(users)
        exponent = (value / error) ** 2 / 2 * x / (x + 1)
        return min(1.0, math.exp(math.log(x + 1) / 2 - exponent))

    def _scaled(self, users: int) -> float:
        """Users in the mixture's measure; its best at `planned` is a branch of Lambert's W (their section 3.5)."""
        best = -float(lambertw(-(self.alpha**2) / math.e, k=-1).real) - 1
        return users * best / self.planned
