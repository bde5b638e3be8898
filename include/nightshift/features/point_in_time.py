"""Features of given entities at given times: a training set's join, and the yardstick that the increments are held to.

Straight from the events, without any state. Only that counts which was known: events of deliveries (run dates) that
were whole before the time, so that a late row counts from when it came, not from when it happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nightshift.config import Settings
from nightshift.features.contributions import contributions, daily
from nightshift.features.definitions import KEYS, USER_ITEM, Entity, Feature, all_features, kept_of
from nightshift.features.measures import ALIVE, PAIRS
from nightshift.features.pairs import PAIR

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def as_of(events: DataFrame, entities: DataFrame, entity: Entity, settings: Settings) -> DataFrame:
    """The features of each entity as they were known at its time.

    Args:
        events: `events_table`'s columns and `run_date`.
        entities: the entity's keys (user_id, item_id or both) and `time`, a UTC timestamp; other columns are kept.

    Returns:
        `entities`, with `as_of` (the last business day that was over at `time`) and a column a feature; an entity that
        was not known then has the features' defaults.

    Raises:
        ValueError: a column is missing from `entities`.
    """
    from pyspark.sql import functions as F

    keys = KEYS[entity]
    missing = [name for name in (*keys, "time") if name not in entities.columns]
    if missing:
        raise ValueError(
            f"entities lack the column {missing[0]!r}: a {entity} at a time is {', '.join((*keys, 'time'))}"
        )
    over = F.date_sub(F.to_date(F.from_utc_timestamp("time", settings.source.timezone)), 1)
    asked = entities.withColumn("as_of", over)
    features = [feature for feature in all_features(settings).values() if feature.entity == entity]
    found = features_of(events, asked.select("as_of", *keys).distinct(), keys, features)
    defaults: dict[str, bool | float | int | str] = {
        feature.name: feature.default for feature in features if feature.default is not None
    }
    return asked.join(found, ["as_of", *keys], "left").fillna(defaults)


def features_of(events: DataFrame, wanted: DataFrame, keys: Sequence[str], features: Sequence[Feature]) -> DataFrame:
    """The features of the `wanted` (as_of and keys, each once); those that were not known are left out."""
    from pyspark.sql import functions as F

    kept = [one for one in kept_of(features) if not one.of_pairs]
    relevant = events if set(keys) == set(PAIR) else events.where("weight > 0")
    state = contributions(_known(daily(relevant, keys, kept), wanted, keys), keys, kept)
    state = state.where(ALIVE if set(keys) == set(PAIR) else "events > 0")
    if any(one.of_pairs for one in kept_of(features)):
        state = state.join(_living_pairs(events, wanted, keys), ["as_of", *keys], "left").fillna(0, list(PAIRS))
    values = [F.expr(feature.expression).cast(feature.type).alias(feature.name) for feature in features]
    return state.select("as_of", *keys, *values)


def _known(measures: DataFrame, wanted: DataFrame, keys: Sequence[str]) -> DataFrame:
    return measures.join(wanted, list(keys)).where("run_date <= as_of")


def _living_pairs(events: DataFrame, wanted: DataFrame, keys: Sequence[str]) -> DataFrame:
    """The counts of living pairs of each user, or item."""
    from pyspark.sql import functions as F

    kept = kept_of(USER_ITEM)
    state = contributions(_known(daily(events, PAIR, kept), wanted, keys), PAIR, kept).where(ALIVE)
    counts = [F.count_if(F.expr(holds)).alias(name) for name, holds in PAIRS.items()]
    return state.groupBy("as_of", *keys).agg(*counts)
