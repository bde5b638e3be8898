"""What two variants' users differ by, and how sure that is at one look that was planned beforehand.

Users are what is drawn at random, so a user is the unit: each has one value, and a ratio of sums over users becomes one
(`linearised`). How sure it is while somebody looks every day: `sequential`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

POWER = 0.8  # that a minimum detectable effect is found with


@dataclass(frozen=True)
class Interval:
    """Bounds; of what is not known, -inf and inf."""

    low: float
    high: float


@dataclass(frozen=True)
class Arm:
    """One variant's users: how many, the mean of their values, and the variance of one user's."""

    users: int
    mean: float
    variance: float

    @classmethod
    def of(cls, values: np.ndarray) -> Arm:
        users = len(values)
        return cls(users, float(values.mean()) if users else 0.0, float(values.var(ddof=1)) if users > 1 else 0.0)


@dataclass(frozen=True)
class Difference:
    """A variant's mean less the control's, its standard error, and the degrees of freedom that the error has."""

    value: float
    error: float
    freedom: float

    def interval(self, confidence: float) -> Interval:
        """Where the true difference lies, at one look."""
        if not self.error:
            return Interval(-math.inf, math.inf)
        half = float(stats.t.ppf((1 + confidence) / 2, self.freedom)) * self.error
        return Interval(self.value - half, self.value + half)

    @property
    def p_value(self) -> float:
        """Of no difference, at one look."""
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.freedom)) if self.error else 1.0


def difference(variant: Arm, control: Arm) -> Difference:
    """By user, whatever the two variances: Welch (1947), The generalization of Student's problem, Biometrika 34."""
    parts = [arm.variance / arm.users if arm.users > 1 else 0.0 for arm in (variant, control)]
    error = math.sqrt(sum(parts))
    weights = sum(part**2 / (arm.users - 1) for part, arm in zip(parts, (variant, control), strict=True) if part)
    return Difference(variant.mean - control.mean, error, sum(parts) ** 2 / weights if weights else 1.0)


def linearised(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """A value a user whose mean is the ratio of the sums, and whose variance is the ratio's by the delta method.

    Deng, Knoblich and Lu (2018), Applying the delta method in metric analytics, KDD.
    """
    if not denominators.sum():
        return np.zeros(len(numerators))
    ratio = float(numerators.sum() / denominators.sum())
    adjusted: np.ndarray = ratio + (numerators - ratio * denominators) / denominators.mean()
    return adjusted


def adjusted(values: Mapping[str, np.ndarray], before: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each variant's values less what `before`, known of the user before the experiment, foretells of them (CUPED).

    It takes variance away and leaves every expected difference as it is, for what was before cannot depend on the
    variant. Deng, Xu, Kohavi and Walker (2013), Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data, WSDM.
    """
    centred = {name: before[name] - before[name].mean() for name in values if len(before[name])}
    spread = sum(float(x @ x) for x in centred.values())
    slope = sum(float(x @ values[name]) for name, x in centred.items()) / spread if spread else 0.0
    mean = float(np.concatenate(list(before.values())).mean()) if centred else 0.0
    return {name: of - slope * (before[name] - mean) for name, of in values.items()}


def detectable(error: float, confidence: float, users: int, planned: int) -> float:
    """The smallest true difference that one look at `planned` users finds with a probability of 80 %.

    Args:
        error: of the difference that `users` have shown.
    """
    quantiles = stats.norm.ppf((1 + confidence) / 2) + stats.norm.ppf(POWER)
    return float(quantiles * error * math.sqrt(users / planned)) if users else math.inf


def sample_ratio(counts: Sequence[float], shares: Sequence[float]) -> float:
    """The p-value of these counts of users under the declared shares (chi-square).

    A low one says that who is counted depends on the variant, and then nothing else can be believed. Fabijan et al.
    (2019), Diagnosing sample ratio mismatch in online controlled experiments, KDD.
    """
    if not sum(counts):
        return 1.0
    expected = np.asarray(shares) / sum(shares) * sum(counts)
    return float(stats.chisquare(counts, expected).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values for several questions at once: Holm (1979), A simple sequentially rejective multiple test procedure.

    A p-value that holds at every look does so after this as well.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    found, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        found[place] = highest
    return found
