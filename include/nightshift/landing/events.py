"""Which rows are events: each is judged by the contract, and of repetitions the first is the event."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING

from nightshift.config.settings import EventType, Source
from nightshift.lake import events_table
from nightshift.landing.source import UNREADABLE

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def judge(rows: DataFrame, source: Source) -> DataFrame:
    """Every row as an event, with the `reason` why it cannot be one, if there is any.

    Args:
        rows: as `read_rows` gives them.

    Returns:
        The columns of `events_table`, `run_date`, `reason`, `raw`, `source_file`. Rows that are equal in everything an
        event has share its `event_id`.
    """
    from pyspark.sql import functions as F

    mapped = rows.select(*_event_columns(source), _broken_rule(source).alias("broken"), "_run_date", "_file", "_raw")
    end_of_day = F.to_utc_timestamp(F.date_add("_run_date", 1).cast("timestamp"), source.timezone)
    absent = [
        F.when(F.col(name).isNull(), f"{name} is missing or unreadable")
        for name in ("user_id", "item_id", "event_time", "quantity")
    ]
    reason = F.coalesce(
        F.col("broken"),
        *absent,
        F.when(F.col("event_type").isNull(), "fits no event type"),
        F.when(F.col("event_time") >= end_of_day, "time is after its run date"),
    )
    identity = [name for name in events_table(source).columns if name != "event_id"]
    return mapped.select(
        _fingerprint(identity).alias("event_id"),
        *identity,
        reason.alias("reason"),
        F.col("_run_date").alias("run_date"),
        F.col("_raw").alias("raw"),
        F.col("_file").alias("source_file"),
    )


def first_of_each(events: DataFrame) -> DataFrame:
    """One row an event: of its repetitions the one that was delivered first, by run date."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    delivered = Window.partitionBy("event_id").orderBy("run_date")
    return events.withColumn("place", F.row_number().over(delivered)).where("place = 1").drop("place")


def _fingerprint(columns: list[str]) -> Column:
    """128 bits over the columns' values, as hexadecimal text. A missing value differs from every other value."""
    from pyspark.sql import functions as F

    values: list[Column] = [F.col(name) for name in columns] + [F.col(name).isNull() for name in columns]
    return F.concat(F.hex(F.xxhash64(*values)), F.lit("-"), F.hex(F.xxhash64(F.lit("second half"), *values)))


def _event_columns(source: Source) -> list[Column]:
    """The event's fields by the configured expressions over the source's columns."""
    from pyspark.sql import functions as F

    columns = source.columns
    local_time = F.expr(columns.time).cast("timestamp")
    business_day = F.to_date(local_time)
    user = _text(columns.user)
    basket = F.expr(columns.basket) if columns.basket else F.concat_ws(" ", user, business_day.cast("string"))
    price = F.expr(columns.price) if columns.price else F.lit(None)
    return [
        user.alias("user_id"),
        _text(columns.item).alias("item_id"),
        _first_fit(source, lambda kind: F.lit(kind.name)).alias("event_type"),
        _first_fit(source, lambda kind: F.lit(float(kind.weight))).alias("weight"),
        F.to_utc_timestamp(local_time, source.timezone).alias("event_time"),
        business_day.alias("event_date"),
        _number(F.expr(columns.quantity)).alias("quantity"),
        _number(price).alias("price"),
        basket.cast("string").alias("basket_id"),
        *[F.expr(sql).cast("string").alias(name) for name, sql in source.item_attributes.items()],
        *[F.expr(sql).cast("string").alias(name) for name, sql in source.user_attributes.items()],
    ]


def _first_fit(source: Source, value: Callable[[EventType], Column]) -> Column:
    from pyspark.sql import functions as F

    types = source.event_types
    chain = F.when(F.expr(types[0].when), value(types[0]))
    return reduce(lambda so_far, kind: so_far.when(F.expr(kind.when), value(kind)), types[1:], chain)


def _text(expression: str) -> Column:
    """A key as text; the empty text is none."""
    from pyspark.sql import functions as F

    return F.nullif(F.expr(expression).cast("string"), F.lit(""))


def _number(column: Column) -> Column:
    """A double; NaN and the infinities become NULL here, and nowhere later."""
    from pyspark.sql import functions as F

    double = column.cast("double")
    return F.when(F.isnan(double) | (F.abs(double) == float("inf")), None).otherwise(double)


def _broken_rule(source: Source) -> Column:
    """The first rule that a row breaks; a rule that cannot be told is broken."""
    from pyspark.sql import functions as F

    rules = [
        F.when(~F.coalesce(F.expr(f"cast(({rule}) as boolean)"), F.lit(False)), name)
        for name, rule in source.contract.items()
    ]
    return F.coalesce(F.when(F.col(UNREADABLE).isNotNull(), "line is unreadable"), *rules, F.lit(None).cast("string"))


def business_days(first: dt.date, last: dt.date) -> list[dt.date]:
    """Every day from `first` to `last`, both included."""
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
