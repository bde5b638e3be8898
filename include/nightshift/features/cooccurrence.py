"""Items that are bought together: how often two met in a basket, and each item's best neighbours by that."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from nightshift.config import Settings
from nightshift.features.contributions import counts_as_of, union
from nightshift.features.lineage import Plan

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from nightshift.lake.engine import Cached


def item_pairs(bought: DataFrame, plan: Plan, settings: Settings) -> DataFrame:
    """By how much baskets change the count of each two items from target to target; of an item with itself, too.

    A basket is what one delivery brought of it for one day. Old ones weigh less by forward decay: a basket weighs 2 to
    the number of half-lives from the source's first day to its own, a whole number, so that sums are exact, and since
    only ratios of sums are used, nothing need be done to a sum as time goes by.

    Source: Cormode et al. (2009), Forward decay: a practical time decay model for streaming systems, ICDE.

    Returns:
        `a`, `b` (64-bit numbers of the items, a <= b), and for each target n `baskets_n` and `weight_n`.
    """
    from pyspark.sql import functions as F

    features = settings.features
    basket = F.xxhash64("basket_id").alias("basket")
    items = F.array_sort(F.collect_set(F.xxhash64("item_id"))).alias("items")
    whole = bought.groupBy("user_id", basket, "run_date", "event_date").agg(items)
    usable = whole.where(F.size("items") <= features.largest_basket)
    # Of most baskets nothing changes between base and targets but that they are new: their pairs are made once.
    window = features.cooccurrence_days
    steps = [counts_as_of(day, window) - counts_as_of(on, window) for day, on in plan.states.items()]
    half_lives = F.floor(F.date_diff("event_date", F.lit(settings.source.first_day)) / features.half_life_days)
    moved = usable.select(
        "items", F.pow(F.lit(2.0), half_lives).alias("weight"), *[s.alias(f"step_{n}") for n, s in enumerate(steps)]
    )
    moved = moved.where(" or ".join(f"step_{n} <> 0" for n in range(len(steps))))
    rest = ["weight", *[f"step_{n}" for n in range(len(steps))]]
    one = moved.select(F.posexplode("items").alias("at", "a"), "items", *rest)
    both = one.select("a", F.explode(F.expr("slice(items, at + 1, size(items))")).alias("b"), *rest)  # each two once
    sums = []
    for n in range(len(steps)):
        sums += [F.sum(f"step_{n}").alias(f"baskets_{n}"), F.sum(F.expr(f"step_{n} * weight")).alias(f"weight_{n}")]
    return both.groupBy("a", "b").agg(*sums)


def counts_by_target(counts: DataFrame, plan: Plan) -> DataFrame:
    """The changes of each target as rows of their own."""
    from pyspark.sql import functions as F

    each = [
        F.struct(
            F.lit(day).alias("as_of"), F.col(f"baskets_{n}").alias("baskets"), F.col(f"weight_{n}").alias("weight")
        )
        for n, day in enumerate(plan.targets)
    ]
    rows = counts.select("a", "b", F.explode(F.array(*each)).alias("each")).select("a", "b", "each.*")
    return rows.where("baskets <> 0 or weight <> 0")


def neighbours(
    counts: DataFrame, layers: DataFrame | None, items: DataFrame, plan: Plan, settings: Settings, cached: Cached
) -> DataFrame:
    """The items that met each item in two baskets or more, by the cosine of their baskets, the best first.

    Source: Sarwar et al. (2001), Item-based collaborative filtering recommendation algorithms, WWW 10.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    steps = range(len(plan.targets))
    new = {f"{what}_{n}": kind for n in steps for what, kind in (("baskets", "bigint"), ("weight", "double"))}
    old = {"baskets": "bigint", "weight": "double"}
    total = counts.select("a", "b", *_zeros(old), *new)
    if layers is not None:
        both = union([total, layers.select("a", "b", *old, *_zeros(new))])
        total = both.groupBy("a", "b").agg(*[F.sum(name).alias(name) for name in (*old, *new)])
    # Most pairs meet once, so the rest is over few.
    enough = reduce(or_, [F.expr(_so_far("baskets", n)) >= 2 for n in steps])
    total = total.where((F.col("a") == F.col("b")) | enough)
    so_far = [
        F.struct(
            F.lit(day).alias("as_of"),
            *[F.expr(_so_far(what, n)).alias(what) for what in old],
        )
        for n, day in enumerate(plan.targets)
    ]
    rows = total.select("a", "b", F.explode(F.array(*so_far)).alias("each")).select("a", "b", "each.*")
    rows = cached(rows.where("a = b or baskets >= 2"))

    alone = F.broadcast(rows.where("a = b").select("as_of", F.col("a").alias("n"), F.col("weight").alias("size")))
    of_a = alone.select("as_of", F.col("n").alias("a"), F.col("size").alias("size_a"))
    of_b = alone.select("as_of", F.col("n").alias("b"), F.col("size").alias("size_b"))
    cosine = F.col("weight") / F.sqrt(F.col("size_a") * F.col("size_b"))
    scored = rows.where("a < b").join(of_a, ["as_of", "a"]).join(of_b, ["as_of", "b"]).withColumn("score", cosine)
    sides = F.explode(F.array(_side("a", "b"), _side("b", "a"))).alias("side")
    both = scored.select("as_of", "baskets", "score", sides).select("as_of", "baskets", "score", "side.*")
    # By number and not by name: names are slow to sort, and only few rows need theirs.
    best = Window.partitionBy("item", "as_of").orderBy(F.desc("score"), "neighbour")
    ranked = both.withColumn("place", F.row_number().over(best)).where(F.col("place") <= settings.features.neighbours)
    named = F.broadcast(items.select("item_id").distinct().select("item_id", F.xxhash64("item_id").alias("n")))
    of_item = named.select("item_id", F.col("n").alias("item"))
    of_neighbour = named.select(F.col("item_id").alias("neighbour_id"), F.col("n").alias("neighbour"))
    return ranked.join(of_item, "item").join(of_neighbour, "neighbour")


def _so_far(what: str, step: int) -> str:
    """What had been summed up by a step: what there was, and every step's change up to it."""
    return " + ".join([what, *[f"{what}_{n}" for n in range(step + 1)]])


def _zeros(columns: dict[str, str]) -> list[Column]:
    from pyspark.sql import functions as F

    return [F.lit(0).cast(kind).alias(name) for name, kind in columns.items()]


def _side(item: str, neighbour: str) -> Column:
    from pyspark.sql import functions as F

    return F.struct(F.col(item).alias("item"), F.col(neighbour).alias("neighbour"))
