"""A history small enough to work out by hand, and a way to build features from any such history."""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from nightshift.config import Settings
from nightshift.features.lineage import Plan, load_lineage
from nightshift.features.snapshot import load_snapshot
from nightshift.features.states import commit_states, stage_states
from nightshift.lake import Lake, events_table

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
            "windows_days": [1, 7, 28, 90],
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


def bring(lake: Lake, events: Iterable[Event]) -> None:
    """Make these events all that the lake has of their run dates, as ingest and its gate would."""
    schema = events_table(SETTINGS.source).arrow
    rows = [dict(zip(schema.names, event.row(), strict=True)) for event in events]
    days = sorted({row["run_date"] for row in rows})
    if not days:
        return
    lake.replace("events", days, pa.Table.from_pylist(rows, schema=schema))
    ids = {day: sorted(row["event_id"] for row in rows if row["run_date"] == day) for day in days}
    counts = [{"run_date": day, "content": str(zlib.crc32("".join(ids[day]).encode()))} for day in days]
    lake.replace(
        "ingest_counts",
        days,
        pa.Table.from_pylist(counts, pa.schema([("run_date", pa.date32()), ("content", pa.string())])),
    )


def advance(
    spark: SparkSession, lake: Lake, *targets: dt.date, rebuild: bool = False, settings: Settings = SETTINGS
) -> list[Plan]:
    """Build and commit the states of `targets`. Returns how."""
    lineage = load_lineage(lake, settings)
    if plans := lineage.plans(targets, rebuild):
        staged = stage_states(spark, lake, lineage, plans, settings, lake.version("events"))
        commit_states(lake, lineage, staged, settings)
    return plans


def tables_as_of(lake: Lake, day: dt.date, versions: dict[str, int] | None = None) -> dict[str, pd.DataFrame]:
    """The feature tables as of a day, by the snapshot's names; at earlier versions of theirs, if given."""
    snapshot = load_snapshot(lake, day, versions)
    return {name: getattr(snapshot, name) for name in ("users", "items", "pairs", "sequences", "cooccurrence")}


def state_as_of(lake: Lake, day: dt.date) -> dict[str, pd.DataFrame]:
    """What the next night builds upon, layers merged, in an order of its own."""
    chain = load_lineage(lake, SETTINGS).chain(day)
    users, items = (
        lake.pandas(f"{entity}_features", where=[("run_date", "=", day)]).sort_values(f"{entity}_id", ignore_index=True)
        for entity in ("user", "item")
    )
    pairs, sequences, counts = (
        lake.pandas(table, where=[("run_date", "in", chain)]).sort_values("run_date", kind="stable")
        for table in ("user_item_features", "user_sequences", "item_pair_counts")
    )
    merged = counts.groupby(["a", "b"], as_index=False)[["baskets", "weight"]].sum()
    latest = {
        "pairs": pairs.drop_duplicates(["user_id", "item_id"], keep="last").sort_values(["user_id", "item_id"]),
        "sequences": sequences.drop_duplicates("user_id", keep="last").sort_values("user_id"),
    }
    return {
        "users": users,
        "items": items,
        "counts": merged[(merged["baskets"] != 0) | (merged["weight"] != 0)].reset_index(drop=True),
        **{name: frame.drop(columns="run_date").reset_index(drop=True) for name, frame in latest.items()},
    }
