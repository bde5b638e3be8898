"""Which rows are events: each is judged by the contract."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING

from nightshift.config.settings import EventType, Source
from nightshift.lake import events_table, quarantine_table
from nightshift.landing.columns import type_columns
from nightshift.landing.encoding import garbled
from nightshift.landing.expressions import check_expressions
from nightshift.landing.source import ORIGIN, UNREADABLE
from nightshift.landing.suppression import ERASED, Suppression

NO_TYPE = "fits no event type"
AFTER = "time is after its run date"
GARBLED_TEXT = "holds garbled text"

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def judge(rows: DataFrame, source: Source, erased: Suppression | None = None) -> DataFrame:
    """Every row as an event, and what is said against it.

    Args:
        rows: as `read_rows` gives them, of a session in `source.timezone`.
        erased: who was erased; their rows are refused as such, whatever else is said, and nothing of them is kept.

    Returns:
        The columns of `events_table`, `run_date`, and in the struct `_refused` those of `quarantine_table`, of which
        `reason` is NULL where the row is an event. Rows that are equal in everything an event has share its
        `event_id`.

    Raises:
        StepError: an expression under `source` cannot be evaluated over these rows.
    """
    from pyspark.sql import functions as F

    check_expressions(rows, source)
    fields = [name for name in events_table(source).columns if name != "event_id"]
    mapped = rows.select(
        *_event_columns(source), _first_broken(source).alias("_broken"), _told_by_types(source), *ORIGIN
    )
    judged = mapped.withColumn("_verdict", F.coalesce(*_is_erased(erased), F.col("_broken"), *_not_an_event(source)))
    told = {"reason": "_verdict.reason", "value": "_verdict.value", "raw": "_raw", "header": "_header",
            "source_file": "_file", "event_date": "event_date"}  # fmt: skip
    is_erased = F.coalesce(F.col("_verdict.reason") == ERASED, F.lit(False))
    kept = {name: F.col(column) for name, column in told.items()}
    kept |= {name: F.when(~is_erased, column) for name, column in kept.items() if name != "reason"}
    refused = F.struct(*[kept[name].alias(name) for name in quarantine_table.columns])
    return judged.select(
        _fingerprint(fields).alias("event_id"), *fields, F.col("_run_date").alias("run_date"), refused.alias("_refused")
    )


def _is_erased(erased: Suppression | None) -> list[Column]:
    from pyspark.sql import functions as F

    return [F.when(erased.holds(F.col("user_id")), _verdict(F.lit(ERASED)))] if erased else []


def sound_rows(judged: DataFrame) -> DataFrame:
    """The rows that are events, with their run date."""
    return judged.where("_refused.reason is null").drop("_refused")


def refused_rows(judged: DataFrame) -> DataFrame:
    """The rows that are not, as `quarantine_table` holds them, with their run date."""
    return judged.where("_refused.reason is not null").select("_refused.*", "run_date")


def once_a_day(events: DataFrame) -> DataFrame:
    """Of an event's repetitions within a day, one: they are equal in everything an event has."""
    return events.dropDuplicates(["event_id", "run_date"])


def _fingerprint(columns: list[str]) -> Column:
    """128 bits over the columns' values, as hexadecimal text. A missing value differs from every other value."""
    from pyspark.sql import functions as F

    values: list[Column] = [F.col(name) for name in columns] + [F.col(name).isNull() for name in columns]
    return F.concat(F.hex(F.xxhash64(*values)), F.lit("-"), F.hex(F.xxhash64(F.lit("second half"), *values)))


def _event_columns(source: Source) -> list[Column]:
    """The event's fields by the configured expressions over the source's columns."""
    from pyspark.sql import functions as F

    columns = source.columns
    time = F.expr(columns.time).cast("timestamp")
    business_day = F.to_date(time)
    user = _text(columns.user)
    basket = F.expr(columns.basket) if columns.basket else F.concat_ws(" ", user, business_day.cast("string"))
    price = F.expr(columns.price) if columns.price else F.lit(None)
    return [
        user.alias("user_id"),
        _text(columns.item).alias("item_id"),
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


def _first_broken(source: Source) -> Column:
    """What is wrong with the row before it is an event: its line, or the first rule it breaks.

    A rule that cannot be told is broken.
    """
    from pyspark.sql import functions as F

    unreadable = F.when(F.col(UNREADABLE).isNotNull(), _verdict(F.col(UNREADABLE), F.col("_value")))
    rules = [
        F.when(~F.coalesce(F.expr(f"cast(({rule}) as boolean)"), F.lit(False)), _verdict(F.lit(name)))
        for name, rule in source.contract.items()
    ]
    return F.coalesce(unreadable, *rules)


def _not_an_event(source: Source) -> list[Column]:
    """What an event cannot be without, over its own fields."""
    from pyspark.sql import functions as F

    end_of_day = F.date_add("_run_date", 1).cast("timestamp")
    after = (F.col("event_time") >= end_of_day) | (F.col("event_date") > F.col("_run_date"))
    return [
        *[
            F.when(F.col(name).isNull(), _verdict(F.lit(f"{name} is missing or unreadable")))
            for name in ("user_id", "item_id", "event_time", "quantity")
        ],
        *[
            F.when(garbled(F.col(name)), _verdict(F.lit(f"{name} {GARBLED_TEXT}"), F.col(name)))
            for name in ("user_id", "item_id", "basket_id")
        ],
        F.when(F.col("event_type").isNull(), _verdict(F.lit(NO_TYPE), F.col("_type_columns"))),
        F.when(after, _verdict(F.lit(AFTER), F.date_format("event_time", "yyyy-MM-dd HH:mm:ssXXX"))),
    ]


def _told_by_types(source: Source) -> Column:
    """The values that an event's type is told by, as `action=look`."""
    from pyspark.sql import functions as F

    told = [
        F.concat(F.lit(f"{name}="), F.coalesce(F.col(name).cast("string"), F.lit("none")))
        for name in type_columns(source)
    ]
    return F.nullif(F.concat_ws(", ", *told), F.lit("")).alias("_type_columns")


def _verdict(reason: Column, value: Column | None = None) -> Column:
    from pyspark.sql import functions as F

    value = F.lit(None) if value is None else value
    return F.struct(reason.alias("reason"), value.cast("string").alias("value"))


def business_days(first: dt.date, last: dt.date) -> list[dt.date]:
    """Every day from `first` to `last`, both included."""
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]
