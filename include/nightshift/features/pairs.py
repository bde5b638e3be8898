"""Pairs of a user and an item: what the night touched, after and before, and what that changes for user and item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import sqlglot

from nightshift.features.contributions import (
    daily,
    is_new,
    merge,
    since_the_target_before,
    union,
    upon,
)
from nightshift.features.definitions import USER_ITEM, kept_of
from nightshift.features.lineage import Plan
from nightshift.features.measures import ALIVE, PAIRS, Kept

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

PAIR = ["user_id", "item_id"]


def pairs(moving: DataFrame, known: DataFrame | None, plan: Plan) -> DataFrame:
    """The pairs that the moving events touch, as of each target that knows of it, after and before.

    Args:
        known: those that the base has, of each the newest row; None: there is no base.

    Returns:
        `as_of`, user_id, item_id, the pair's measures, `before` (a struct of them as of the base, zero where it was
        not), and `latest`: whether it was touched since the target before.
    """
    from pyspark.sql import functions as F

    kept = kept_of(USER_ITEM)
    names = [one.column for one in kept]
    new = by_target(daily(moving.where(is_new(plan.base)), PAIR, kept), kept, plan)
    if known is None:
        nothing = F.struct(*[_nothing(one).alias(one.column) for one in kept])
        merged = new.withColumn("before", nothing)
    else:
        parts = [new.select("as_of", *PAIR, "came", *names, F.lit(False).alias("old"))]
        before = known.select(*PAIR, F.lit(None).cast("date").alias("came"), *names, F.lit(True).alias("old"))
        parts += upon(before, plan.targets, [*PAIR, "came", *names, "old"])
        after = [merge(one.measure, F.col(one.column)).alias(one.column) for one in kept]
        was = [merge(one.measure, F.expr(f"if(old, {one.column}, null)")).alias(one.column) for one in kept]
        came = F.max("came").alias("came")
        merged = union(parts).groupBy("as_of", *PAIR).agg(came, *after, F.struct(*was).alias("before"))
        merged = merged.where("came is not null")
    return merged.withColumn("latest", since_the_target_before("came", plan)).drop("came")


def by_target(each_day: DataFrame, kept: Sequence[Kept], plan: Plan) -> DataFrame:
    """What new days contribute to each pair, a row for each target that knows of it.

    Pairs are many, so they are grouped once, with columns for each target, and not once for each target.
    """
    from pyspark.sql import functions as F

    sums, targets = [], []
    for n, day in enumerate(plan.targets):
        known = F.col("run_date") <= day
        of_day = {"came": F.max(F.when(known, F.col("run_date")))}
        of_day |= {one.column: merge(one.measure, F.when(known, F.col(one.name))) for one in kept}
        sums += [column.alias(f"{name}_{n}") for name, column in of_day.items()]
        targets.append(F.struct(F.lit(day).alias("as_of"), *[F.col(f"{name}_{n}").alias(name) for name in of_day]))
    wide = each_day.groupBy(*PAIR).agg(*sums)
    return wide.select(*PAIR, F.explode(F.array(*targets)).alias("t")).select(*PAIR, "t.*").where("came is not null")


def _nothing(kept: Kept) -> Column:
    from pyspark.sql import functions as F

    return F.lit(0 if kept.measure.merge == "sum" else None).cast(kept.measure.type)


def newest(layers: DataFrame, keys: Sequence[str]) -> DataFrame:
    """Of each key the row of the newest layer."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    place = F.row_number().over(Window.partitionBy(*keys).orderBy(F.desc("run_date")))
    return layers.withColumn("place", place).where("place = 1").drop("place")


def pair_changes(touched: DataFrame, key: str) -> DataFrame:
    """By how much the counts of living pairs of a user, or an item, change from the base to each target."""
    from pyspark.sql import functions as F

    alive = f"({ALIVE})"
    was = _prefixed(alive, "before")
    changes = [
        F.sum(F.expr(f"int({alive} and ({holds})) - int({was} and ({_prefixed(holds, 'before')}))")).alias(name)
        for name, holds in PAIRS.items()
    ]
    return touched.groupBy("as_of", key).agg(*changes)


def _prefixed(condition: str, struct: str) -> str:
    """A condition on measures, on those of a struct."""
    parsed = sqlglot.parse_one(condition, read="spark")
    for column in list(parsed.find_all(sqlglot.exp.Column)):
        column.set("table", sqlglot.exp.to_identifier(struct))
    return parsed.sql(dialect="spark")
