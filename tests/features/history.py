"""A history small enough to work out by hand, and a way to build features from any such history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from nightshift.config import Settings
from nightshift.features.build import build
from nightshift.lake import events_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RUN_DATE = dt.date(2011, 6, 30)
CUTOFFS = (dt.date(2011, 6, 10), dt.date(2011, 6, 20), RUN_DATE)

SETTINGS = Settings.model_validate(
    {
        "name": "shop",
        "source": {
            "address": "{run_date}.csv",
            "format": "csv",
            "first_day": "2011-06-01",
            "columns": {"user": "u", "item": "i", "time": "t"},
            "event_types": [{"name": "purchase", "when": "true", "weight": 1}],
            "item_attributes": {"title": "t"},
            "user_attributes": {"country": "c"},
        },
        "features": {
            "windows_days": [7, 28, 90],
            "sequence_length": 4,
            "neighbours": 3,
            "cooccurrence_days": 60,
            "largest_basket": 3,
        },
    }
)


@dataclass(frozen=True)
class Event:
    """`day` is of June 2011, and so is `known`, the run date whose file brought it: the day itself, unless late."""

    user: str
    item: str
    day: int
    basket: str
    price: float | None = 2.0
    quantity: float = 1.0
    weight: float = 1.0
    title: str | None = "Thing"
    country: str | None = "GB"
    known: int = 0
    hour: int = 9

    @property
    def run_date(self) -> dt.date:
        return dt.date(2011, 6, max(self.known, self.day))

    def row(self) -> tuple[Any, ...]:
        day = dt.date(2011, 6, self.day)
        time = dt.datetime(2011, 6, self.day, self.hour)
        kind = "purchase" if self.weight > 0 else "cancellation"
        row = (repr(astuple(self)), self.user, self.item, kind, self.weight, time, day, self.quantity, self.price)
        return (*row, self.basket, self.title, self.country, self.run_date)


def features(
    spark: SparkSession, events: Iterable[Event], cutoffs: Sequence[dt.date] = CUTOFFS, only: Iterable[str] = ()
) -> dict[str, pd.DataFrame]:
    """The feature tables, or those of `only`, of a history."""
    ddl = f"{events_table(SETTINGS.source).ddl}, run_date date"
    frame = spark.createDataFrame([event.row() for event in events], ddl).coalesce(1)
    tables = build(frame, cutoffs, max(cutoffs), SETTINGS)
    return {name: table.toPandas() for name, table in tables.items() if not only or name in only}
