"""Which rows are events: each row is kept, quarantined with a reason, or a repetition of a kept one."""

from __future__ import annotations

import datetime as dt
from functools import reduce
from typing import TYPE_CHECKING

from nightshift.config.settings import Source
from nightshift.lake import events_table
from nightshift.landing.source import UNREADABLE

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

KEPT, QUARANTINED, REPEATED = "kept", "quarantined", "duplicate"


def judge(rows: DataFrame, source: Source) -> DataFrame:
    """Every row with its `outcome`, its `reason` if quarantined, and the event's columns.

    Args:
        rows: as `read_rows` gives them.

    Returns:
        The columns of `events_table`, `run_date`, `outcome`, `reason`, `raw`, `source_file`. Of rows that are equal in
        everything an event has, the first run date's is kept: the same event delivered again changes nothing.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    mapped = rows.select(*_event_columns(source), _reason(source).alias("broken"), "_run_date", "_file", "_raw")
    end_of_day = F.to_utc_timestamp(F.date_add("_run_date", 1).cast("timestamp"), source.timezone)
    reason = F.coalesce(
        F.col("broken"),
        *[
            F.when(F.coalesce(F.col(c).cast("string"), F.lit("")) == "", f"{c} is missing or unreadable")
            for c in ("user_id", "item_id", "event_time", "quantity")
        ],
        F.when(F.col("event_type").isNull(), "fits no event type"),
        F.when(F.col("event_time") >= end_of_day, "time is after its run date"),
    )
    identity = [name for name in events_table(source).columns if name != "event_id"]
    text = [F.coalesce(F.col(name).cast("string"), F.lit("\0")) for name in identity]
    judged = mapped.select(
        F.md5(F.concat_ws("\x1f", *text)).alias("event_id"), *identity, reason.alias("reason"), "_run_date", "_file", "_raw"
    )
    first = Window.partitionBy("event_id", F.col("reason").isNull()).orderBy("_run_date", "_raw")
    outcome = (
        F.when(F.col("reason").isNotNull(), QUARANTINED)
        .when(F.row_number().over(first) == 1, KEPT)
        .otherwise(REPEATED)
    )
    return judged.withColumn("outcome", outcome).withColumnsRenamed(
        {"_run_date": "run_date", "_raw": "raw", "_file": "source_file"}
    )


def _event_columns(source: Source) -> list[Column]:
    """The event's fields by the configured expressions over the source's columns."""
    from pyspark.sql import functions as F

    columns = source.columns
    time = F.to_utc_timestamp(F.expr(columns.time).cast("timestamp"), source.timezone)
    business_day = F.to_date(F.from_utc_timestamp(time, source.timezone))
    user = F.expr(columns.user).cast("string")
    basket = F.expr(columns.basket) if columns.basket else F.concat_ws(" ", user, business_day.cast("string"))
    price = F.expr(columns.price) if columns.price else F.lit(None)
    return [
        user.alias("user_id"),
        F.expr(columns.item).cast("string").alias("item_id"),
        _first_fit(source, lambda kind: F.lit(kind.name)).alias("event_type"),
        _first_fit(source, lambda kind: F.lit(float(kind.weight))).alias("weight"),
        time.alias("event_time"),
        business_day.alias("event_date"),
        _number(F.expr(columns.quantity)).alias("quantity"),
        _number(price).alias("price"),
        basket.cast("string").alias("basket_id"),
        *[F.expr(sql).cast("string").alias(name) for name, sql in source.item_attributes.items()],
        *[F.expr(sql).cast("string").alias(name) for name, sql in source.user_attributes.items()],
    ]


def _first_fit(source: Source, value) -> Column:  # type: ignore[no-untyped-def]
    from pyspark.sql import functions as F

    types = source.event_types
    chain = F.when(F.expr(types[0].when), value(types[0]))
    return reduce(lambda so_far, kind: so_far.when(F.expr(kind.when), value(kind)), types[1:], chain)


def _number(column: Column) -> Column:
    """A double; NaN and the infinities become NULL here, and nowhere later."""
    from pyspark.sql import functions as F

    double = column.cast("double")
    return F.when(F.isnan(double) | (F.abs(double) == float("inf")), None).otherwise(double)


def _reason(source: Source) -> Column:
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
