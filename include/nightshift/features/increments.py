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
from functools import reduce
from typing import TYPE_CHECKING, Any

from nightshift.config import Settings
from nightshift.features.definitions import (
    USER_ITEM,
    Feature,
    feature_tables,
    item_features,
    kept_of,
    user_features,
)
from nightshift.features.lineage import Plan
from nightshift.features.measures import ALIVE, EVENTS, PAIRS, Kept, Measure

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

PAIR = ["user_id", "item_id"]


@dataclass(frozen=True)
class Base:
    """What is built upon: the tables' partitions of the base, or of its chain of layers; empty for a rebuild."""

    tables: Mapping[str, DataFrame]


def build(moving: DataFrame, base: Base, plan: Plan, settings: Settings) -> dict[str, DataFrame]:
    """All feature tables for the plan's targets.

    Args:
        moving: events of run dates after the base, and older ones of `leaving` days, with their `run_date`.

    Returns:
        Table name -> rows with the declared columns and `run_date`; a layered table has, for a target, what changed
        since the state it is based on.
    """
    from pyspark.sql import functions as F

    bought = moving.where("weight > 0").persist()
    touched = pairs(moving, base.tables.get("user_item_features"), plan).persist()
    source = settings.source
    users = entity(
        bought, touched, base.tables.get("user_features"), plan, "user_id", user_features(settings),
        list(source.user_attributes),
    )  # fmt: skip
    items = entity(
        bought, touched, base.tables.get("item_features"), plan, "item_id", item_features(settings),
        list(source.item_attributes),
    ).withColumn("sellable", F.coalesce(F.expr(settings.lists.sellable), F.lit(False))).persist()  # fmt: skip
    counts = item_pairs(bought, plan, settings).persist()
    frames = {
        "user_features": users,
        "item_features": items,
        "user_item_features": touched.where("latest").select("as_of", *PAIR, *[k.column for k in kept_of(USER_ITEM)]),
        "user_sequences": sequences(bought, base.tables.get("user_sequences"), plan, settings.features.sequence_length),
        "item_pair_counts": counts_by_target(counts, plan),
        "cooccurrence": neighbours(counts, base.tables.get("item_pair_counts"), items, plan, settings),
    }
    tables = feature_tables(settings)
    return {
        name: frame.select(
            *[F.col(column).cast(kind) for column, kind in tables[name].columns.items()],
            F.col("as_of").alias("run_date"),
        )
        for name, frame in frames.items()
    }


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


# contributions of events


def contributions(each: DataFrame, keys: Sequence[str], kept: Sequence[Kept], base: dt.date | None = None) -> DataFrame:
    """What events add to the state of each key as of each day.

    Args:
        each: daily measures, once for every day `as_of` which they are known by.
        base: the day of the state they are added to; None: to nothing.

    Returns:
        `as_of`, the keys, `came` (the last run date that brought the key something) and a column a kept measure.
    """
    from pyspark.sql import functions as F

    merged = [_merge(one.measure, _coming(one, base)).alias(one.column) for one in kept]
    came = F.max(F.when(_is_new(base), F.col("run_date"))).alias("came")
    return each.groupBy("as_of", *keys).agg(came, *merged)


def daily(events: DataFrame, keys: Sequence[str], kept: Sequence[Kept]) -> DataFrame:
    """The measures of each key over one delivery and one day, by the measure's name."""
    from pyspark.sql import functions as F

    named = sorted({one.name for one in kept})
    both = any(EVENTS[name].returns for name in named)  # else the events are the positive ones
    sums = [
        F.expr(EVENTS[n].expression + ("" if EVENTS[n].returns or not both else " filter (where weight > 0)")).alias(n)
        for n in named
    ]
    return events.groupBy(*keys, "run_date", "event_date").agg(*sums)


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
        return F.when(_is_new(base), value)
    return value * (_counts("as_of", kept.window, None) - _counts_in_base(kept.window, base))


def _is_new(base: dt.date | None) -> Column:
    from pyspark.sql import functions as F

    return F.lit(True) if base is None else F.col("run_date") > F.lit(base)


def _counts(day: str, window: int | None, delivered: Column | None) -> Column:
    """1 where a row counts in the window that ends with `day`, else 0."""
    from pyspark.sql import functions as F

    holds = F.lit(True) if delivered is None else delivered
    if window:
        holds = holds & (F.date_diff(F.col(day), F.col("event_date")) < window)
    return holds.cast("int")


def _counts_in_base(window: int | None, base: dt.date | None) -> Column:
    from pyspark.sql import functions as F

    if base is None:
        return F.lit(0)
    inside = F.col("run_date") <= F.lit(base)
    if window:
        inside = inside & (F.date_diff(F.lit(base), F.col("event_date")) < window)
    return inside.cast("int")


def _merge(measure: Measure, column: Column) -> Column:
    from pyspark.sql import functions as F

    return F.coalesce(F.sum(column), F.lit(0)) if measure.merge == "sum" else getattr(F, measure.merge)(column)


def upon(state: DataFrame | None, targets: Sequence[dt.date], columns: Sequence[Column | str]) -> list[DataFrame]:
    """The rows of the base once for every target; none for a rebuild."""
    from pyspark.sql import functions as F

    if state is None:
        return []
    return [state.select(F.explode(F.array(*[F.lit(day) for day in targets])).alias("as_of"), *columns)]


def _union(parts: Sequence[DataFrame]) -> DataFrame:
    return reduce(lambda one, other: one.unionByName(other), parts)


# user and item


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
    none = [F.lit(None if one.measure.merge != "sum" else 0).cast(one.measure.type).alias(one.column) for one in kept]
    rows = contributions(each_target(daily(bought, [key], of_events), plan.targets), [key], of_events, plan.base)
    parts = [
        rows.select(
            "as_of",
            key,
            *[c if one in of_events else n for one, n in zip(kept, none, strict=True) for c in [one.column]],
        )
    ]
    if len(of_events) < len(kept):
        changed = pair_changes(touched, key)
        parts.append(
            changed.select(
                "as_of", key, *[one.column if one.of_pairs else n for one, n in zip(kept, none, strict=True)]
            )
        )
    parts += upon(state, plan.targets, [key, *[F.col(f"state.{one.column}").alias(one.column) for one in kept]])
    merged = (
        _union(parts)
        .groupBy("as_of", key)
        .agg(*[_merge(one.measure, F.col(one.column)).alias(one.column) for one in kept])
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
        bought.where(_is_new(plan.base))
        .groupBy(key, "run_date", *attributes)
        .agg(F.max(F.unix_micros("event_time")).alias("at"))
    )
    rows = each_target(new, plan.targets).select(
        "as_of", key, *attributes, *[F.when(F.col(name) != "", F.col("at")).alias(f"{name}_at") for name in attributes]
    )
    before = upon(
        state, plan.targets, [key, *attributes, *[F.col(f"state.{name}_at").alias(f"{name}_at") for name in attributes]]
    )
    said = _union([rows, *before]).groupBy("as_of", key)
    return said.agg(
        *[
            F.expr(f"max_by(`{n}`, struct(`{n}_at`, `{n}`)) filter (where `{n}_at` is not null)").alias(n)
            for n in attributes
        ],
        *[F.max(f"{n}_at").alias(f"{n}_at") for n in attributes],
    )


# pairs


def pairs(moving: DataFrame, layers: DataFrame | None, plan: Plan) -> DataFrame:
    """The pairs that the moving events touch, as of each target that knows of it, after and before.

    Returns:
        `as_of`, user_id, item_id, the pair's measures, `before` (a struct of them as of the base, zero where it was
        not), and `latest`: whether it was touched since the target before.
    """
    from pyspark.sql import functions as F

    kept = kept_of(USER_ITEM)
    names = [one.column for one in kept]
    came = daily(moving.where(_is_new(plan.base)), PAIR, kept)
    new = contributions(each_target(came, plan.targets), PAIR, kept, plan.base)
    parts = [new.select("as_of", *PAIR, "came", *names, F.lit(False).alias("old"))]
    if layers is not None:
        known = known_pairs(new, layers).select(
            *PAIR, F.lit(None).cast("date").alias("came"), *names, F.lit(True).alias("old")
        )
        parts.append(
            known.select(F.explode(F.array(*[F.lit(day) for day in plan.targets])).alias("as_of"), *known.columns)
        )
    after = [_merge(one.measure, F.col(one.column)).alias(one.column) for one in kept]
    before = F.struct(*[_merge(one.measure, F.expr(f"if(old, {one.column}, null)")).alias(one.column) for one in kept])
    merged = _union(parts).groupBy("as_of", *PAIR).agg(F.max("came").alias("came"), *after, before.alias("before"))
    previous = F.coalesce(*[F.when(F.col("as_of") == day, F.lit(on)) for day, on in plan.states.items()])
    latest = F.coalesce(F.col("came") > previous, F.lit(True))
    return merged.where("came is not null").withColumn("latest", latest).drop("came")


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
    import sqlglot

    parsed = sqlglot.parse_one(condition, read="spark")
    for column in list(parsed.find_all(sqlglot.exp.Column)):
        column.set("table", sqlglot.exp.to_identifier(struct))
    return parsed.sql(dialect="spark")


# sequences


def sequences(bought: DataFrame, layers: DataFrame | None, plan: Plan, length: int) -> DataFrame:
    """The recent items of the users that bought since the target before, the most recent first.

    An item counts once a day, by its last event that day; ties follow the item's id.
    """
    from pyspark.sql import functions as F

    came = bought.where(_is_new(plan.base)).groupBy("user_id", "run_date", "event_date", "item_id")
    lines = each_target(came.agg(F.max(F.unix_micros("event_time")).alias("moment")), plan.targets)
    lines = lines.select("as_of", "user_id", "event_date", "item_id", "moment", F.col("run_date").alias("came"))
    parts = [lines]
    if layers is not None:
        users = F.broadcast(lines.select("user_id").distinct())
        before = newest(layers.join(users, "user_id", "left_semi"), ["user_id"])
        line = F.explode(F.arrays_zip("items", "days", "moments")).alias("line")
        days = F.array(*[F.lit(day) for day in plan.targets])
        old = before.select(F.explode(days).alias("as_of"), "user_id", "items", "days", "moments").select(
            "as_of", "user_id", line
        )
        parts.append(old.select(
            "as_of", "user_id", F.col("line.days").alias("event_date"), F.col("line.items").alias("item_id"),
            F.col("line.moments").alias("moment"), F.lit(None).cast("date").alias("came"),
        ))  # fmt: skip
    repeated = _union(parts).groupBy("as_of", "user_id", "event_date", "item_id")
    once = repeated.agg(F.max("moment").alias("moment"), F.max("came").alias("came"))
    newest_first = F.struct(
        (-F.unix_date("event_date")).alias("day"), (-F.col("moment")).alias("moment"), "item_id", "event_date"
    )
    history = once.groupBy("as_of", "user_id").agg(
        F.max("came").alias("came"), F.sort_array(F.collect_list(newest_first)).alias("h")
    )
    previous = F.coalesce(*[F.when(F.col("as_of") == day, F.lit(on)) for day, on in plan.states.items()])
    changed = history.where(F.coalesce(F.col("came") > previous, F.col("came").isNotNull()))
    recent = changed.withColumn("h", F.slice("h", 1, length))
    return recent.select(
        "as_of", "user_id", F.col("h.item_id").alias("items"), F.col("h.event_date").alias("days"),
        F.expr("transform(h, line -> -line.moment)").alias("moments"),
    )  # fmt: skip


# items bought together


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
    basket = F.xxhash64("user_id", "basket_id").alias("basket")
    items = F.array_distinct(F.collect_list(F.xxhash64("item_id"))).alias("items")
    whole = bought.groupBy(basket, "run_date", "event_date").agg(items)
    usable = whole.where(F.size("items") <= features.largest_basket)
    # Of most baskets nothing changes between base and targets but that they are new: their pairs are made once.
    steps = [_coefficient(day, on, features.cooccurrence_days) for day, on in plan.states.items()]
    half_lives = F.floor(F.date_diff("event_date", F.lit(settings.source.first_day)) / features.half_life_days)
    moved = usable.select(
        "items", F.pow(F.lit(2.0), half_lives).alias("weight"), *[s.alias(f"step_{n}") for n, s in enumerate(steps)]
    )
    moved = moved.where(" or ".join(f"step_{n} <> 0" for n in range(len(steps))))
    rest = ["weight", *[f"step_{n}" for n in range(len(steps))]]
    one = moved.select(F.explode("items").alias("a"), "items", *rest)
    both = one.select("a", F.explode("items").alias("b"), *rest).where("a <= b")
    sums = []
    for n in range(len(steps)):
        sums += [F.sum(f"step_{n}").alias(f"baskets_{n}"), F.sum(F.expr(f"step_{n} * weight")).alias(f"weight_{n}")]
    return both.groupBy("a", "b").agg(*sums)


def _coefficient(day: dt.date, on: dt.date | None, window: int) -> Column:
    """1 where a basket counts as of `day` and did not as of `on`; -1 the other way round; else 0."""
    from pyspark.sql import functions as F

    def counts(as_of: dt.date) -> Column:
        known = F.col("run_date") <= F.lit(as_of)
        return (known & (F.date_diff(F.lit(as_of), F.col("event_date")) < window)).cast("int")

    return counts(day) if on is None else counts(day) - counts(on)


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
    counts: DataFrame, layers: DataFrame | None, items: DataFrame, plan: Plan, settings: Settings
) -> DataFrame:
    """The items that met each item in two baskets or more, by the cosine of their baskets, the best first.

    Source: Sarwar et al. (2001), Item-based collaborative filtering recommendation algorithms, WWW 10.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    numbers = range(len(plan.targets))
    parts = [
        counts.select(
            "a", "b", F.lit(0).cast("bigint").alias("baskets"), F.lit(0.0).alias("weight"), *counts.columns[2:]
        )
    ]
    if layers is not None:
        zeros = [
            F.lit(0).cast("bigint" if name.startswith("baskets") else "double").alias(name)
            for name in counts.columns[2:]
        ]
        parts.append(layers.select("a", "b", "baskets", "weight", *zeros))
    sums = [F.sum(name).alias(name) for name in ["baskets", "weight", *counts.columns[2:]]]
    total = _union(parts).groupBy("a", "b").agg(*sums)
    so_far = [
        F.struct(
            F.lit(day).alias("as_of"),
            F.expr(" + ".join(["baskets", *[f"baskets_{m}" for m in numbers if m <= n]])).alias("baskets"),
            F.expr(" + ".join(["weight", *[f"weight_{m}" for m in numbers if m <= n]])).alias("weight"),
        )
        for n, day in enumerate(plan.targets)
    ]
    rows = total.select("a", "b", F.explode(F.array(*so_far)).alias("each")).select("a", "b", "each.*")
    rows = rows.where("a = b or baskets >= 2").persist()

    named = items.select("as_of", "item_id", F.xxhash64("item_id").alias("n"))
    alone = rows.where("a = b").select("as_of", F.col("a").alias("n"), F.col("weight").alias("size"))
    sized = F.broadcast(alone.join(named, ["as_of", "n"]))
    of_a = sized.select("as_of", F.col("n").alias("a"), F.col("item_id").alias("item_a"), F.col("size").alias("size_a"))
    of_b = sized.select("as_of", F.col("n").alias("b"), F.col("item_id").alias("item_b"), F.col("size").alias("size_b"))
    cosine = F.col("weight") / F.sqrt(F.col("size_a") * F.col("size_b"))
    scored = rows.where("a < b").join(of_a, ["as_of", "a"]).join(of_b, ["as_of", "b"]).withColumn("score", cosine)
    sides = F.explode(F.array(_side("item_a", "item_b"), _side("item_b", "item_a"))).alias("side")
    both = scored.select("as_of", "baskets", "score", sides).select("as_of", "baskets", "score", "side.*")
    best = Window.partitionBy("as_of", "item_id").orderBy(F.desc("score"), "neighbour_id")
    return both.withColumn("place", F.row_number().over(best)).where(F.col("place") <= settings.features.neighbours)


def _side(item: str, neighbour: str) -> Any:
    from pyspark.sql import functions as F

    return F.struct(F.col(item).alias("item_id"), F.col(neighbour).alias("neighbour_id"))
