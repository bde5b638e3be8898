"""Items that are bought together: by how much a night changes how often two have met in a basket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightshift.config import Settings
from nightshift.features.contributions import counts_as_of
from nightshift.features.lineage import Plan

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


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
