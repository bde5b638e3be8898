"""One metric of one variant against the control's: after CUPED, day by day, at every look and at one."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nightshift.config.settings import CONTROL, Experiments
from nightshift.experiments.sequential import Sequence
from nightshift.experiments.statistics import (
    Arm,
    Difference,
    Interval,
    adjusted,
    detectable,
    difference,
    linearised,
)

INFORMATIVE = 20  # users in each variant whose figure is not 0, before a look counts

METRICS: dict[str, tuple[str, str | None, str]] = {  # numerator, denominator, what is known from before
    "conversion": ("conversion", None, "conversion_before"),
    "value": ("value", None, "value_before"),
    "value_per_basket": ("value", "baskets", "value_before"),
    "bought_per_list": ("bought", "lists", "conversion_before"),
}


@dataclass(frozen=True)
class Look:
    """What the users who were complete on a day say: the difference, its interval, and the lowest p-value so far."""

    day: dt.date
    users: int
    difference: float
    interval: Interval
    p_value: float


@dataclass(frozen=True)
class Result:
    """A metric of a variant against the control's, over the complete users.

    Attributes:
        mean, control: of the two, as they are.
        difference: after CUPED.
        single: its interval at one look that was planned; `single_p` its p-value.
        always: its interval at any look; `p_value` the lowest of all looks, and `p_adjusted` that of several questions
            at once, by which it is judged.
        variance_taken: the share of the variance that CUPED has taken away.
        detectable: the smallest true difference that one look at the planned users finds four times in five.
        looks: by day; none where there are too few users yet.
    """

    metric: str
    variant: str
    mean: float
    control: float
    difference: float
    single: Interval
    single_p: float
    always: Interval
    p_value: float
    p_adjusted: float
    variance_taken: float
    detectable: float
    looks: tuple[Look, ...]

    def relative(self, value: float) -> float | None:
        """A difference as a share of the control's mean."""
        return value / self.control if self.control and math.isfinite(value) else None


Columns = dict[str, np.ndarray]  # numerator, denominator, before, day: a row a user, by day


def compare(users: pd.DataFrame, variant: str, metric: str, sequence: Sequence, settings: Experiments) -> Result:
    """The result of complete users, whose `day` says when they were."""
    arms = {name: _columns(users, name, metric) for name in (variant, CONTROL)}
    count = sum(len(columns["day"]) for columns in arms.values())
    looks = _looks(arms, sequence, settings.min_users)
    plain, after = _differences(arms)
    p_value = looks[-1].p_value if looks else 1.0
    return Result(
        metric=metric,
        variant=variant,
        mean=Arm.of(_values(arms[variant])).mean,
        control=Arm.of(_values(arms[CONTROL])).mean,
        difference=after.value,
        single=after.interval(settings.confidence),
        single_p=after.p_value,
        always=looks[-1].interval if looks else Interval(-math.inf, math.inf),
        p_value=p_value,
        p_adjusted=p_value,
        variance_taken=1 - (after.error / plain.error) ** 2 if plain.error else 0.0,
        detectable=detectable(after.error, settings.confidence, count, sequence.planned),
        looks=looks,
    )


def _looks(arms: dict[str, Columns], sequence: Sequence, min_users: int) -> tuple[Look, ...]:
    """Every day's look from the first on that has enough users."""
    looks: list[Look] = []
    lowest = 1.0
    for day in np.unique(np.concatenate([columns["day"] for columns in arms.values()])):
        complete = {name: _upto(columns, day) for name, columns in arms.items()}
        if looks or all(_is_enough(columns["numerator"], min_users) for columns in complete.values()):
            _, found = _differences(complete)
            users = sum(len(columns["day"]) for columns in complete.values())
            lowest = min(lowest, sequence.p_value(found.value, found.error, users))
            interval = sequence.interval(found.value, found.error, users)
            looks.append(Look(dt.date.fromordinal(int(day)), users, found.value, interval, lowest))
    return tuple(looks)


def _is_enough(values: np.ndarray, least: int) -> bool:
    """Whether a mean over these users is as good as normal, which everything here takes it to be."""
    return len(values) >= least and int(np.count_nonzero(values)) >= INFORMATIVE


def _differences(arms: dict[str, Columns]) -> tuple[Difference, Difference]:
    """The variant's less the control's, as it is and after CUPED."""
    plain = {name: _values(columns) for name, columns in arms.items()}
    less = adjusted(plain, {name: columns["before"] for name, columns in arms.items()})
    one, other = (difference(*(Arm.of(values) for values in of.values())) for of in (plain, less))
    return one, other


def _values(columns: Columns) -> np.ndarray:
    """A value a user whose mean is the metric."""
    if "denominator" not in columns:
        return columns["numerator"]
    return linearised(columns["numerator"], columns["denominator"])


def _columns(users: pd.DataFrame, variant: str, metric: str) -> Columns:
    mine = users[users["variant"] == variant]
    day = np.array([day.toordinal() for day in mine["day"]], dtype=np.int64)
    order = np.argsort(day, kind="stable")
    named = zip(("numerator", "denominator", "before"), METRICS[metric], strict=True)
    found = {name: mine[column].to_numpy(dtype=np.float64)[order] for name, column in named if column}
    return found | {"day": day[order]}


def _upto(columns: Columns, day: int) -> Columns:
    count = int(np.searchsorted(columns["day"], day, side="right"))
    return {name: values[:count] for name, values in columns.items()}
