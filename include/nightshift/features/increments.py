"""The feature tables of a night: the state it builds upon, plus the events that came, minus those that left a window.

Every function here is over one set of *moving* events: the events of run dates after the base, which come, and older
ones whose day leaves a window, which go. With no base all events come: that is the rebuild, by the same code. What is
built for a target day t is filed under run date t.

    events ──► daily measures ──► × targets ──► contributions ─┐
    user_features, item_features of the base ──────────────────┼──► merged by key ──► a row a user, a row an item
    pairs: the touched ones, before and after ─────────────────┘
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nightshift.config import Settings
from nightshift.features.contributions import contributions, daily, each_target, is_new, merge, union, upon
from nightshift.features.cooccurrence import counts_by_target, item_pairs
from nightshift.features.definitions import (
    USER_ITEM,
    Feature,
    feature_tables,
    item_features,
    kept_of,
    user_features,
)
from nightshift.features.lineage import Plan
from nightshift.features.measures import Kept
from nightshift.features.pairs import PAIR, pair_changes, pairs
from nightshift.features.sequences import sequences
from nightshift.lake.expressions import types_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from nightshift.lake.engine import Cached


@dataclass(frozen=True)
class Base:
    """What is built upon: partitions of the base, or of its chain of layers; of pairs, the touched. Empty: nothing."""

    tables: Mapping[str, DataFrame]


def build(moving: DataFrame, base: Base, plan: Plan, settings: Settings, cached: Cached) -> dict[str, DataFrame]:
    """The feature tables for the plan's targets that Spark computes; `neighbours` makes the last one of their files.

    Args:
        moving: events of run dates after the base, and older ones of `leaving` days, with their `run_date`.
        cached: has a frame that is needed more than once computed once.

    Returns:
        Table name -> rows with the declared columns and `run_date`; a layered table has, for a target, what changed
        since the state it is based on.

    Raises:
        StepError: `lists.sellable` cannot be evaluated over the items.
    """
    from pyspark.sql import functions as F

    check_sellable(moving.sparkSession, settings)
    moving = cached(moving)
    by_user = moving.repartition("user_id")  # one exchange for all that is grouped by user and something else
    bought, bought_by_user = moving.where("weight > 0"), by_user.where("weight > 0")
    touched = cached(pairs(by_user, base.tables.get("user_item_features"), plan))
    source = settings.source
    users = entity(
        bought_by_user, touched, base.tables.get("user_features"), plan, "user_id", user_features(settings),
        list(source.user_attributes),
    )  # fmt: skip
    items = entity(
        bought, touched, base.tables.get("item_features"), plan, "item_id", item_features(settings),
        list(source.item_attributes),
    ).withColumn("sellable", F.coalesce(F.expr(settings.lists.sellable), F.lit(False)))  # fmt: skip
    frames = {
        "item_pair_counts": counts_by_target(item_pairs(bought_by_user, plan, settings), plan),
        "item_features": items,
        "user_features": users,
        "user_item_features": touched.where("latest").select("as_of", *PAIR, *[k.column for k in kept_of(USER_ITEM)]),
        "user_sequences": sequences(bought_by_user, base.tables.get("user_sequences"), plan, settings),
    }
    tables = feature_tables(settings)
    return {
        name: frame.select(
            *[F.col(column).cast(kind) for column, kind in tables[name].columns.items()],
            F.col("as_of").alias("run_date"),
        )
        for name, frame in frames.items()
    }


def check_sellable(spark: SparkSession, settings: Settings) -> None:
    """Hold `lists.sellable` against the columns that items have.

    Raises:
        StepError: Spark cannot evaluate it.
    """
    columns = {"as_of": "date"} | feature_tables(settings)["item_features"].columns
    items = spark.createDataFrame(
        [], ", ".join(f"`{name}` {kind}" for name, kind in columns.items() if name != "sellable")
    )
    types_of(items, {"lists.sellable": (settings.lists.sellable, f"coalesce({settings.lists.sellable}, false)")})


def leaving(base: dt.date | None, last: dt.date, settings: Settings) -> list[tuple[dt.date, dt.date]]:
    """The ranges of event days, both ends included, that leave a window between the base and the last target."""
    if base is None:
        return []
    kept = kept_of(user_features(settings)) + kept_of(item_features(settings))
    windows = {each.window for each in kept if each.window} | {settings.features.cooccurrence_days}
    found: list[tuple[dt.date, dt.date]] = []
    for window in sorted(windows, reverse=True):
        start = base - dt.timedelta(days=window - 1)
        if found:
            start = max(start, found[-1][1] + dt.timedelta(days=1))
        end = min(base, last - dt.timedelta(days=window))
        if start <= end:
            found.append((start, end))
    return found


def entity(
    bought: DataFrame,
    touched: DataFrame,
    state: DataFrame | None,
    plan: Plan,
    key: str,
    features: Sequence[Feature],
    attributes: Sequence[str],
) -> DataFrame:
    """One row a user, or an item, for each target: features, attributes as last said, the state they follow from."""
    from pyspark.sql import functions as F

    kept = kept_of(features)
    of_events = [one for one in kept if not one.of_pairs]

    def with_nothing_else(rows: DataFrame, has: Sequence[Kept]) -> DataFrame:
        """The rows with every column of the state: 0, or no day, where they say nothing of it."""
        nothing = {k: F.lit(0 if k.measure.merge == "sum" else None).cast(k.measure.type).alias(k.column) for k in kept}
        return rows.select("as_of", key, *[F.col(k.column) if k in has else nothing[k] for k in kept])

    came = contributions(each_target(daily(bought, [key], of_events), plan.targets), [key], of_events, plan.base)
    parts = [with_nothing_else(came, of_events)]
    if of_pairs := [one for one in kept if one.of_pairs]:
        parts.append(with_nothing_else(pair_changes(touched, key), of_pairs))
    parts += upon(state, plan.targets, [key, *[F.col(f"state.{one.column}").alias(one.column) for one in kept]])
    merged = (
        union(parts)
        .groupBy("as_of", key)
        .agg(*[merge(one.measure, F.col(one.column)).alias(one.column) for one in kept])
        .where("events > 0")  # who only gave back is not known
    )
    if attributes:
        merged = merged.join(last_said(bought, state, plan, key, attributes), ["as_of", key], "left")
    said = [f"{name}_at" for name in attributes]
    as_state = F.struct(*[one.column for one in kept], *said).alias("state")
    return merged.select(
        "as_of", key, *[F.expr(feature.expression).cast(feature.type).alias(feature.name) for feature in features],
        *attributes, as_state,
    )  # fmt: skip


def last_said(bought: DataFrame, state: DataFrame | None, plan: Plan, key: str, attributes: Sequence[str]) -> DataFrame:
    """The attributes of each key as last known: not empty, by the event's time, of two at one time the greater text."""
    from pyspark.sql import functions as F

    new = (
        bought.where(is_new(plan.base))
        .groupBy(key, "run_date", *attributes)
        .agg(F.max(F.unix_micros("event_time")).alias("at"))
    )
    rows = each_target(new, plan.targets).select(
        "as_of", key, *attributes, *[F.when(F.col(name) != "", F.col("at")).alias(f"{name}_at") for name in attributes]
    )
    before = upon(
        state, plan.targets, [key, *attributes, *[F.col(f"state.{name}_at").alias(f"{name}_at") for name in attributes]]
    )
    said = union([rows, *before]).groupBy("as_of", key)
    return said.agg(
        *[
            F.expr(f"max_by(`{n}`, struct(`{n}_at`, `{n}`)) filter (where `{n}_at` is not null)").alias(n)
            for n in attributes
        ],
        *[F.max(f"{n}_at").alias(f"{n}_at") for n in attributes],
    )
