"""Bounds learned from the nights before, where a fixed number would be a guess.

A figure is compared with the median of its history and the spread around it (the median absolute deviation, scaled to
a normal distribution's standard deviation: Rousseeuw and Croux (1993), Alternatives to the Median Absolute Deviation).
Neither moves much for a few odd nights. The width is bounded below, because a very steady figure may still move, and
above, so that ten times the volume is never within it however unsteady a company is.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

NORMAL = 1.4826  # median absolute deviation -> standard deviation, of a normal distribution
SAME_WEEKDAY = 5  # as many nights of the weekday, and they alone are looked at

History = Sequence[tuple[dt.date, float]]  # run date and value, in time's order


@dataclass(frozen=True)
class Learning:
    """How a bound is learned, as `meta.learned` of a suite has it.

    Attributes:
        figure: whose history, by name: a column of `table`, else a figure of this gate and suite in its own results.
        nights: how many of the last nights that have the figure.
        spread: the band reaches as many standard deviations from the median,
        least, most: but at least and at most so far: factors if `scale` is ratio, else differences.
        table: one of the histories that the step passes to the gate.
        by_weekday: only nights of the same weekday are looked at, where there are enough.
    """

    figure: str
    nights: int
    spread: float
    least: float
    most: float
    scale: Literal["ratio", "difference"] = "ratio"
    table: str | None = None
    by_weekday: bool = False

    def __post_init__(self) -> None:
        floor = 1 if self.scale == "ratio" else 0
        if not floor <= self.least <= self.most or self.nights < 1 or self.scale not in ("ratio", "difference"):
            raise ValueError(f"learned {self.figure}: {floor} <= least <= most and nights >= 1 must hold, see {self}")


@dataclass(frozen=True)
class Band:
    """What a figure may be tonight; open at both ends where there is too little history."""

    low: float | None
    high: float | None
    told: str


def band(history: History, run_date: dt.date, learning: Learning, min_nights: int) -> Band:
    """The range that a night's figure is expected in.

    Args:
        history: of the nights before `run_date`; later ones are refused, so that a backfill learns from its past alone.
        min_nights: with fewer, nothing is bounded, and the band says so.

    Raises:
        ValueError: the history holds the run date itself, or a day after it.
    """
    late = [day for day, _ in history if day >= run_date]
    if late:
        raise ValueError(f"{learning.figure}: {late[0]} is not before the run date {run_date}")
    ratio = learning.scale == "ratio"
    known = [(day, value) for day, value in history if math.isfinite(value) and (value > 0 or not ratio)]
    known = known[-learning.nights :]
    if len(known) < min_nights:
        return Band(None, None, f"not enough history ({len(known)} of {min_nights} nights)")
    same = [(day, value) for day, value in known if day.weekday() == run_date.weekday()]
    weekday = learning.by_weekday and len(same) >= SAME_WEEKDAY
    days, values = zip(*(same if weekday else known), strict=True)
    told = f"learned from {len(days)} {f'{run_date:%A}s' if weekday else 'nights'} up to {days[-1]}"
    if ratio:
        low, high = _interval(list(map(math.log, values)), learning, math.log(learning.least), math.log(learning.most))
        return Band(math.exp(low), math.exp(high), told)
    return Band(*_interval(values, learning, learning.least, learning.most), told)


def _interval(values: Sequence[float], learning: Learning, least: float, most: float) -> tuple[float, float]:
    centre = median(values)
    deviation = NORMAL * median(abs(value - centre) for value in values)
    width = min(max(learning.spread * deviation, least), most)
    return centre - width, centre + width
