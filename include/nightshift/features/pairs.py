"""Pairs of a user and an item: what the night touched, after and before, and what that changes for user and item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import sqlglot

from nightshift.features.contributions import (
    contributions,
    daily,
    each_target,
    is_new,
    merge,
    since_the_target_before,
    union,
    upon,
)
from nightshift.features.definitions import USER_ITEM, kept_of
from nightshift.features.lineage import Plan
from nightshift.features.measures import ALIVE, PAIRS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

PAIR = ["user_id", "item_id"]


def pairs(moving: DataFrame, layers: DataFrame | None, plan: Plan) -> DataFrame:
    """The pairs that the moving events touch, as of each target that knows of it, after and before.

    Returns:
        `as_of`, user_id, item_id, the pair's measures, `before` (a struct of them as of the base, zero where it was
        not), and `latest`: whether it was touched since the target before.
    """
    from pyspark.sql import functions as F

    kept = kept_of(USER_ITEM)
    names = [one.column for one in kept]
    came = daily(moving.where(is_new(plan.base)), PAIR, kept)
    new = contributions(each_target(came, plan.targets), PAIR, kept, plan.base)
    parts = [new.select("as_of", *PAIR, "came", *names, F.lit(False).alias("old"))]
    if layers is not None:
        known = known_pairs(new, layers).select(
            *PAIR, F.lit(None).cast("date").alias("came"), *names, F.lit(True).alias("old")
        )
        parts += upon(known, plan.targets, [*PAIR, "came", *names, "old"])
    after = [merge(one.measure, F.col(one.column)).alias(one.column) for one in kept]
    before = F.struct(*[merge(one.measure, F.expr(f"if(old, {one.column}, null)")).alias(one.column) for one in kept])
    merged = union(parts).groupBy("as_of", *PAIR).agg(F.max("came").alias("came"), *after, before.alias("before"))
    return merged.where("came is not null").withColumn("latest", since_the_target_before("came", plan)).drop("came")


def known_pairs(touched: DataFrame, layers: DataFrame) -> DataFrame:
    """The touched pairs as the layers last had them. All layers are looked through, by a number, and little is kept."""
    from pyspark.sql import functions as F

    number = F.xxhash64(*PAIR)
    numbers = F.broadcast(touched.select(number.alias("number")).distinct())
    found = layers.withColumn("number", number).join(numbers, "number", "left_semi").drop("number")
    return newest(found, PAIR)


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
