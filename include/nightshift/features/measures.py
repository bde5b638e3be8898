"""Measures: the sums over events that a state keeps, and from which every feature follows.

A measure is taken over one key's events of one delivery (run date) and one day, and merges over days. So the state as
of tonight is the state as of last night, plus the day that came, minus the days that left a window; and the order in
which days were added cannot show, since sums run over integers.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Literal

from nightshift.config.sql import columns_of

PARTS = 10_000  # a price or a quantity is exact to this part of a unit
WEIGHT_PARTS = 1_000_000


@dataclass(frozen=True)
class Measure:
    """A Spark SQL aggregate over events, and how two of its values merge.

    Attributes:
        returns: whether events of weight 0 and below count as well: cancellations, returns.
    """

    name: str
    expression: str
    merge: Literal["sum", "min", "max"] = "sum"
    type: Literal["bigint", "date"] = "bigint"
    returns: bool = False


EVENTS = {
    measure.name: measure
    for measure in (
        Measure("events", "count(*)"),
        Measure("baskets", "count(distinct basket_id)"),  # one that is delivered in parts counts once a part
        Measure("price_sum", f"sum(cast(round(price * {PARTS}) as bigint))"),  # Spark's decimal sums are slow
        Measure("price_count", "count(price)"),
        Measure("quantity_sum", f"sum(cast(round(quantity * {PARTS}) as bigint))"),
        Measure("net", f"sum(cast(round(weight * {WEIGHT_PARTS}) as bigint))", returns=True),
        Measure("first_day", "min(event_date)", "min", "date"),
        Measure("last_day", "max(event_date)", "max", "date"),
    )
}
"""Over the events of a user, an item, or a pair of them."""

PAIRS = {"pairs": "true", "repeated_pairs": "baskets >= 2"}
"""Over the pairs of a user or an item that are alive: how many there are for which this holds of their measures."""

ALIVE = "events > 0 and net > 0"
"""What makes a pair one: bought, and not taken back as often."""


@dataclass(frozen=True)
class Kept:
    """A measure over the last `window` days, as a column of a state; all days where there is no window."""

    name: str
    window: int | None = None

    @property
    def column(self) -> str:
        return self.name if self.window is None else f"{self.name}_{self.window}d"

    @property
    def of_pairs(self) -> bool:
        return self.name in PAIRS

    @property
    def measure(self) -> Measure:
        return Measure(self.name, "") if self.of_pairs else EVENTS[self.name]


@functools.cache
def kept_by(expression: str) -> frozenset[Kept]:
    """The measures that an expression over a state's columns reads.

    Raises:
        ValueError: a name is no measure, or a measure without windows is given one.
    """
    return frozenset(_kept(name) for name in columns_of(expression) - {"as_of"})


def _kept(column: str) -> Kept:
    match = re.fullmatch(r"(\w+?)(?:_([1-9]\d*)d)?", column)
    kept = Kept(match[1], int(match[2]) if match[2] else None) if match else Kept(column)
    if kept.name not in EVENTS and not kept.of_pairs:
        raise ValueError(
            f"{column!r} is no measure: there are {', '.join([*EVENTS, *PAIRS])}, each with _<n>d or without"
        )
    if kept.window and (kept.of_pairs or kept.measure.merge != "sum"):
        raise ValueError(f"{column!r}: only sums over events have windows")
    return kept
