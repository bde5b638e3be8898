"""What moving events contribute to a state: daily measures, once for each target, coming in or leaving a window."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

from nightshift.features.lineage import Plan
from nightshift.features.measures import EVENTS, Kept, Measure

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def contributions(each: DataFrame, keys: Sequence[str], kept: Sequence[Kept], base: dt.date | None = None) -> DataFrame:
    """What events add to the state of each key as of each day.

    Args:
        each: daily measures, once for every day `as_of` which they are known by.
        base: the day of the state they are added to; None: to nothing.

    Returns:
        `as_of`, the keys, `came` (the last run date that brought the key something) and a column a kept measure.
    """
    from pyspark.sql import functions as F

    merged = [merge(one.measure, _coming(one, base)).alias(one.column) for one in kept]
    came = F.max(F.when(is_new(base), F.col("run_date"))).alias("came")
    return each.groupBy("as_of", *keys).agg(came, *merged)


def daily(events: DataFrame, keys: Sequence[str], kept: Sequence[Kept]) -> DataFrame:
    """The measures of each key over one delivery and one day, by the measure's name."""
    from pyspark.sql import functions as F

    measures = [EVENTS[name] for name in sorted({one.name for one in kept})]
    both = any(measure.returns for measure in measures)  # else the events are the positive ones
    sums = [
        F.expr(of_positive(m.expression) if both and not m.returns else m.expression).alias(m.name) for m in measures
    ]
    return events.groupBy(*keys, "run_date", "event_date").agg(*sums)


def of_positive(expression: str) -> str:
    """An aggregate over the positive events only. (Spark makes two rows of each for a distinct count with a filter.)"""
    if distinct := re.fullmatch(r"count\(distinct (\w+)\)", expression):
        return f"count(distinct if(weight > 0, {distinct[1]}, null))"
    return f"{expression} filter (where weight > 0)"


def each_target(frame: DataFrame, targets: Sequence[dt.date]) -> DataFrame:
    """Each row once for every target that knows it: its run date is not after the target."""
    from pyspark.sql import functions as F

    if len(targets) == 1:
        return frame.withColumn("as_of", F.lit(targets[0]))
    return frame.withColumn("as_of", F.explode(F.array(*[F.lit(day) for day in targets]))).where("run_date <= as_of")


def _coming(kept: Kept, base: dt.date | None) -> Column:
    """A daily measure times 1 where it comes into the state, -1 where it leaves, 0 where it stays in or out."""
    from pyspark.sql import functions as F

    value = F.col(kept.name)
    if kept.measure.merge != "sum":
        return F.when(is_new(base), value)
    return value * (counts_as_of(F.col("as_of"), kept.window) - counts_as_of(base, kept.window))


def is_new(base: dt.date | None) -> Column:
    from pyspark.sql import functions as F

    return F.lit(True) if base is None else F.col("run_date") > F.lit(base)


def counts_as_of(day: Column | dt.date | None, window: int | None) -> Column:
    """1 where a row had been delivered by a day and lies in the window that ends with it, else 0; of no day, 0."""
    from pyspark.sql import functions as F

    if day is None:
        return F.lit(0)
    end = F.lit(day) if isinstance(day, dt.date) else day
    inside = F.col("run_date") <= end
    if window:
        inside = inside & (F.date_diff(end, F.col("event_date")) < window)
    return inside.cast("int")


def merge(measure: Measure, column: Column) -> Column:
    from pyspark.sql import functions as F

    return F.coalesce(F.sum(column), F.lit(0)) if measure.merge == "sum" else getattr(F, measure.merge)(column)


def upon(state: DataFrame | None, targets: Sequence[dt.date], columns: Sequence[Column | str]) -> list[DataFrame]:
    """The rows of the base once for every target; none for a rebuild."""
    from pyspark.sql import functions as F

    if state is None:
        return []
    return [state.select(F.explode(F.array(*[F.lit(day) for day in targets])).alias("as_of"), *columns)]


def union(parts: Sequence[DataFrame]) -> DataFrame:
    return reduce(lambda one, other: one.unionByName(other), parts)


def since_the_target_before(came: str, plan: Plan) -> Column:
    """Whether a key was brought something since the state that the row's target is based on."""
    from pyspark.sql import functions as F

    previous = F.coalesce(*[F.when(F.col("as_of") == day, F.lit(on)) for day, on in plan.states.items()])
    return F.coalesce(F.col(came) > previous, F.col(came).isNotNull())
