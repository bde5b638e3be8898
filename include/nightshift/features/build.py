"""The feature tables, point in time: each is a function from the events to what was known as of each cut-off."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from nightshift.config import Settings
from nightshift.features.definitions import USER_ITEM, Feature, feature_tables, item_features, user_features

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def build(events: DataFrame, cutoffs: Sequence[dt.date], run_date: dt.date, settings: Settings) -> dict[str, DataFrame]:
    """All feature tables, as of each of `cutoffs`.

    Args:
        events: the lake's events; only those with a run date up to a cut-off count for it.
        run_date: the night's, which every row is filed under.

    Returns:
        Table name -> rows with the declared columns and `run_date`.
    """
    from pyspark.sql import functions as F

    known = known_as_of(events, cutoffs)
    pairs = user_item(known).persist()
    bought = known.where("weight > 0")
    frames = {
        "user_features": entity(
            bought, pairs, "user_id", user_features(settings), list(settings.source.user_attributes)
        ),
        "item_features": entity(
            bought, pairs, "item_id", item_features(settings), list(settings.source.item_attributes)
        ).withColumn("sellable", F.coalesce(F.expr(settings.lists.sellable), F.lit(False))),
        "user_item_features": pairs,
        "user_sequences": sequences(events, cutoffs, settings.features.sequence_length),
        "cooccurrence": cooccurrence(events, cutoffs, run_date, settings),
    }
    tables = feature_tables(settings)
    return {
        name: frame.select(*[F.col(c).cast(kind) for c, kind in tables[name].columns.items()]).withColumn(
            "run_date", F.lit(run_date)
        )
        for name, frame in frames.items()
    }


def known_as_of(events: DataFrame, cutoffs: Sequence[dt.date]) -> DataFrame:
    """Each event once for every cut-off that it was known by, with `as_of` and its `age` in days then.

    Known means: its run date, the day whose file brought it, is not after the cut-off. A run date is never before the
    event's own day, so nothing that happened later is known either.
    """
    from pyspark.sql import functions as F

    as_of = F.explode(F.array(*[F.lit(day) for day in sorted(set(cutoffs))]))
    return (
        events.withColumn("as_of", as_of)
        .where("run_date <= as_of")
        .withColumn("age", F.date_diff("as_of", "event_date"))
    )


def user_item(known: DataFrame) -> DataFrame:
    """One row a pair whose weights sum to more than 0: what was taken back as often as bought is gone."""
    from pyspark.sql import functions as F

    keys = ["as_of", "user_id", "item_id"]
    weight = F.round(F.col("weight") * 1_000_000).cast("bigint")  # exact in any order
    bought = known.where("weight > 0").withColumn("weight", weight)
    pairs = bought.groupBy(*keys).agg(*_aggregates(USER_ITEM, "events"), F.sum("weight").alias("given"))
    returned = known.where("weight <= 0").groupBy(*keys).agg(F.sum(weight).alias("taken"))
    affinity = (F.col("given") + F.coalesce("taken", F.lit(0))) / 1_000_000
    return pairs.join(returned, keys, "left").withColumn("affinity", affinity).where("affinity > 0")


def entity(
    bought: DataFrame, pairs: DataFrame, key: str, features: Sequence[Feature], attributes: Sequence[str]
) -> DataFrame:
    """One row a user, or an item, with its features and its attributes as last known."""
    from pyspark.sql import functions as F

    keys = ["as_of", key]
    own = bought.groupBy(*keys).agg(*_aggregates(features, "events"))
    of_pairs = pairs.groupBy(*keys).agg(*_aggregates(features, "pairs"))
    said = bought.groupBy(*keys, *attributes).agg(F.max("event_time").alias("at"))  # few rows, before text is compared
    last_said = [
        F.expr(f"max_by(`{name}`, struct(at, `{name}`)) filter (where `{name}` <> '')").alias(name)
        for name in attributes
    ]
    counts = [feature.name for feature in features if feature.over == "pairs" and feature.default is not None]
    rows = own.join(of_pairs, keys, "left").fillna(0, counts)
    return rows.join(said.groupBy(*keys).agg(*last_said), keys, "left") if attributes else rows


def sequences(events: DataFrame, cutoffs: Sequence[dt.date], length: int) -> DataFrame:
    """A user's recent items, the most recent first; an item counts once a day, and ties follow the item's id."""
    from pyspark.sql import functions as F

    bought = events.where("weight > 0")
    first_known = F.min(F.struct("run_date", "event_time")).alias("first")
    daily = bought.groupBy("user_id", "event_date", "item_id").agg(first_known)
    newest_first = F.struct(
        (-F.unix_date("event_date")).alias("day"),
        (-F.unix_micros("first.event_time")).alias("moment"),
        "item_id",
        F.col("first.run_date").alias("known"),
    )
    history = daily.groupBy("user_id").agg(F.sort_array(F.collect_list(newest_first)).alias("h"))
    each = history.withColumn("as_of", F.explode(F.array(*[F.lit(day) for day in sorted(set(cutoffs))])))
    known = each.withColumn("h", F.expr("filter(h, line -> line.known <= as_of)")).where(F.size("h") > 0)
    recent = known.withColumn("h", F.slice("h", 1, length))
    ages = F.expr("transform(h, line -> unix_date(as_of) + line.day)")
    return recent.select("as_of", "user_id", F.col("h.item_id").alias("items"), ages.alias("days_ago"))


def cooccurrence(events: DataFrame, cutoffs: Sequence[dt.date], run_date: dt.date, settings: Settings) -> DataFrame:
    """How often two items met in a basket, as the cosine of their baskets, best neighbours first.

    Source: Sarwar et al. (2001), Item-based collaborative filtering recommendation algorithms, WWW 10.
    Pairs are counted once, by the first cut-off that knew their basket, and added up over the cut-offs.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    days = [F.lit(day) for day in sorted(set(cutoffs))]
    oldest = run_date - dt.timedelta(days=settings.features.cooccurrence_days)
    first_known = F.coalesce(*[F.when(F.col("run_date") <= day, day) for day in days])
    recent = events.where((F.col("weight") > 0) & (F.col("event_date") > F.lit(oldest)))
    # Items get numbers and a pair of them one number: counting pairs is the cost here, and text is slow to count.
    number = F.row_number().over(Window.partitionBy(F.lit(0)).orderBy("item_id")).cast("bigint").alias("n")
    numbers = recent.select("item_id").distinct().select("item_id", number).persist()
    basket = F.xxhash64("user_id", "basket_id").alias("basket")
    lines = recent.join(F.broadcast(numbers), "item_id").groupBy(basket, "n").agg(F.min(first_known).alias("known"))
    # A basket may grow after a cut-off, by what a later day delivers: it is usable up to the last cut-off at which it
    # was not too large.
    whole = Window.partitionBy("basket")
    fits = [F.count_if(F.col("known") <= day).over(whole) <= settings.features.largest_basket for day in days]
    until = F.coalesce(*[F.when(fit, day) for fit, day in zip(reversed(fits), reversed(days), strict=True)])
    usable = lines.where("known is not null").select("*", until.alias("until")).where("known <= until").persist()
    left = usable.select("basket", "until", F.col("n").alias("a"), F.col("known").alias("known_a"))
    right = usable.select("basket", F.col("n").alias("b"), F.col("known").alias("known_b"))
    pair = (F.shiftleft("a", 32) + F.col("b")).alias("pair")
    known = F.greatest("known_a", "known_b").alias("known")
    met = left.join(right, "basket").where("a < b").select(pair, known, "until")
    by_cutoff = [F.count_if(day.between(F.col("known"), F.col("until"))).alias(f"by_{n}") for n, day in enumerate(days)]
    often = reduce(or_, [F.col(f"by_{n}") >= 2 for n in range(len(days))])
    counts = met.groupBy("pair").agg(*by_cutoff).where(often)
    each = F.array(*[F.struct(day.alias("as_of"), F.col(f"by_{n}").alias("baskets")) for n, day in enumerate(days)])
    pairs = counts.select("pair", F.explode(each).alias("each")).select("pair", "each.*").where("baskets >= 2")
    alone = _as_of_each(usable.groupBy("n", "known", "until").agg(F.count("*").alias("lines")), days)
    sizes = alone.groupBy("as_of", "n").agg(F.sum("lines").alias("size"))

    named = F.broadcast(sizes.join(numbers, "n"))
    of_a = named.select("as_of", F.col("n").alias("a"), F.col("item_id").alias("item_a"), F.col("size").alias("size_a"))
    of_b = named.select("as_of", F.col("n").alias("b"), F.col("item_id").alias("item_b"), F.col("size").alias("size_b"))
    apart = pairs.select(
        "as_of", "baskets", F.shiftright("pair", 32).alias("a"), F.expr("pair & 4294967295").alias("b")
    )
    scored = (
        apart.join(of_a, ["as_of", "a"])
        .join(of_b, ["as_of", "b"])
        .withColumn("score", F.col("baskets") / F.sqrt(F.col("size_a") * F.col("size_b")))
    )
    sides = F.explode(F.array(_side("item_a", "item_b"), _side("item_b", "item_a"))).alias("side")
    both = scored.select("as_of", "baskets", "score", sides).select("as_of", "baskets", "score", "side.*")
    best = Window.partitionBy("as_of", "item_id").orderBy(F.desc("score"), "neighbour_id")
    ranked = both.withColumn("place", F.row_number().over(best))
    return ranked.where(F.col("place") <= settings.features.neighbours)


def _side(item: str, neighbour: str) -> Column:
    from pyspark.sql import functions as F

    return F.struct(F.col(item).alias("item_id"), F.col(neighbour).alias("neighbour_id"))


def _as_of_each(frame: DataFrame, days: list) -> DataFrame:  # type: ignore[type-arg]
    """A row once for every cut-off from the one that first knew it to the last that may use it."""
    from pyspark.sql import functions as F

    return frame.withColumn("as_of", F.explode(F.array(*days))).where("as_of between known and until")


def _aggregates(features: Sequence[Feature], over: str) -> list:  # type: ignore[type-arg]
    from pyspark.sql import functions as F

    return [F.expr(f.expression).cast(f.type).alias(f.name) for f in features if f.over == over]
