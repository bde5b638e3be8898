"""States in the lake: what a plan builds upon is read, what it builds is staged and, once audited, committed."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nightshift.config import Settings
from nightshift.features.contributions import union
from nightshift.features.definitions import LAYERED, feature_tables
from nightshift.features.increments import Base, build, leaving
from nightshift.features.known_pairs import TABLE as KNOWN_PAIRS
from nightshift.features.known_pairs import known_pairs
from nightshift.features.lineage import Lineage, Plan, State, forget, record
from nightshift.features.neighbours import COOCCURRENCE, stage_neighbours
from nightshift.features.pairs import PAIR, newest
from nightshift.lake import Lake, Staged, engine, events_table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger("nightshift.features")

SIDE_BY_SIDE = 3
NOT_NEEDED = ("event_id", "event_type")  # by any feature
BUILT_UPON = ("user_features", "item_features", "user_sequences")  # by Spark, as they are


@contextlib.contextmanager
def one_at_a_time(lake: Lake) -> Iterator[None]:
    """Wait for whoever builds states of this lake on this machine: a night builds upon what another leaves."""
    lake.root.mkdir(parents=True, exist_ok=True)
    with (lake.root / "features.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("build_features: waiting for another night's features")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class StagedStates:
    """What a plan says is built, as files that no reader sees: its stages by table name."""

    plan: Plan
    tables: dict[str, Staged]


def stage_states(
    spark: SparkSession, lake: Lake, lineage: Lineage, plans: Sequence[Plan], settings: Settings, events: int
) -> list[StagedStates]:
    """Build what the plans say, from a version of the events.

    Raises:
        StepError: what is to be built upon is not all on record.
    """
    tables = feature_tables(settings)

    def stage(plan: Plan, name: str, frame: DataFrame) -> Staged:
        staged = lake.stage(engine.named(frame), tables[name], plan.targets)
        log.info("build_features: %s as of %s is staged", name, ", ".join(map(str, plan.targets)))
        return staged

    def stage_best(plan: Plan, counts: Future[Staged], items: Future[Staged]) -> Staged:
        layers = pair_counts_of(lake, lineage, plan)
        staged = stage_neighbours(lake, plan, layers, counts.result(), items.result(), settings)
        log.info("build_features: %s as of %s is staged", COOCCURRENCE, ", ".join(map(str, plan.targets)))
        return staged

    # Side by side: planning a table is a single thread's work, which another can use the time of.
    with (
        ExitStack() as held,
        engine.caching() as cached,
        ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool,
        ThreadPoolExecutor(max_workers=1) as beside_spark,
    ):
        pending = []
        for plan in plans:
            moving = moving_events(spark, lake, plan, settings, events)
            base = base_of(spark, lake, lineage, plan, settings, events, held)
            frames = build(moving, base, plan, settings, cached)
            staged = {name: pool.submit(stage, plan, name, frame) for name, frame in frames.items()}
            counts, items = staged["item_pair_counts"], staged["item_features"]
            staged[COOCCURRENCE] = beside_spark.submit(stage_best, plan, counts, items)
            pending.append((plan, staged))
        return [StagedStates(plan, {name: done.result() for name, done in staged.items()}) for plan, staged in pending]


def commit_states(lake: Lake, lineage: Lineage, staged: Sequence[StagedStates], settings: Settings) -> None:
    """Commit the stages, and put the states on record last: until then nobody builds upon them or reads them."""
    tables = feature_tables(settings)
    forget(lake, [day for states in staged for day in states.plan.targets])
    for states in staged:
        for name, stage in states.tables.items():
            lake.commit(stage, tables[name])
    record(lake, [State(day, lineage.of(day), on) for states in staged for day, on in states.plan.states.items()])


def moving_events(spark: SparkSession, lake: Lake, plan: Plan, settings: Settings, version: int) -> DataFrame:
    """The events that come after the base, and those before it that leave a window up to the last target."""
    table, last = events_table(settings.source), plan.targets[-1]
    came: list[tuple[str, str, dt.date]] = [("run_date", "<=", last)]
    if plan.base:
        came.append(("run_date", ">", plan.base))
    frames = [lake.spark(spark, table, came, version)]
    for first, until in leaving(plan.base, last, settings):
        where = [("event_date", "between", (first, until)), ("run_date", "between", (first, plan.base))]
        frames.append(lake.spark(spark, table, where, version))
    needed = [column for column in table.columns if column not in NOT_NEEDED]
    return union(frames).select(*needed, "run_date")


def base_of(
    spark: SparkSession, lake: Lake, lineage: Lineage, plan: Plan, settings: Settings, events: int, held: ExitStack
) -> Base:
    """The tables' rows that the first target builds upon; of the pairs, those that the events since touch.

    Args:
        events: the version of the events.
        held: until it is closed, the pairs can be read.
    """
    if plan.base is None:
        return Base({})
    chain, tables = lineage.chain(plan.base), feature_tables(settings)
    found = {
        name: lake.spark(spark, tables[name], [("run_date", "in", chain if name in LAYERED else [plan.base])])
        for name in BUILT_UPON
    }
    came = lake.files("events", [("run_date", ">", plan.base), ("run_date", "<=", plan.targets[-1])], events)
    layers = lake.files(KNOWN_PAIRS, [("run_date", "in", chain)])
    if came and layers:
        file = held.enter_context(known_pairs(lake, plan.targets, layers, came, settings))
        known = spark.read.parquet(str(file))
    else:
        known = lake.spark(spark, tables[KNOWN_PAIRS], [("run_date", "in", chain)])  # nothing touches them
    return Base({**found, KNOWN_PAIRS: known})


def pair_counts_of(lake: Lake, lineage: Lineage, plan: Plan) -> list[str]:
    """The files of `item_pair_counts` that the first target builds upon."""
    chain = lineage.chain(plan.base)
    return lake.files("item_pair_counts", [("run_date", "in", chain)]) if chain else []


def consolidate(spark: SparkSession, lake: Lake, lineage: Lineage, day: dt.date, settings: Settings) -> None:
    """Merge the layers of a day into one, so that what is built upon it, and who reads it, looks through no others.

    What is known as of the day stays the same, row by row. While it is at work, and if it is killed, the day is off the
    record: a night then builds upon the day before, and the day itself is built again when it is asked for.
    """
    state, tables = lineage.states[day], feature_tables(settings)
    merged = {
        name: merged_layers(lake.spark(spark, tables[name], [("run_date", "in", lineage.chain(day))]), name, day)
        for name in LAYERED
    }
    staged = {name: lake.stage(frame, tables[name], [day]) for name, frame in merged.items()}
    forget(lake, [day])
    for name, stage in staged.items():
        lake.commit(stage, tables[name])
    record(lake, [State(day, state.lineage, None)])


def expire(lake: Lake, days: Sequence[dt.date], settings: Settings) -> None:
    """Empty the partitions of days whose states nobody needs. A night that is run again for one of them builds it."""
    forget(lake, days)
    for table in feature_tables(settings):
        lake.replace(table, days, lake.schema(table).empty_table())


def merged_layers(layers: DataFrame, table: str, day: dt.date) -> DataFrame:
    """The rows of a layered table as of a day, as its own partition would have them were it built upon nothing."""
    from pyspark.sql import functions as F

    if table == "item_pair_counts":
        sums = [F.sum("baskets").alias("baskets"), F.sum("weight").alias("weight")]
        rows = layers.groupBy("a", "b").agg(*sums).where("baskets <> 0 or weight <> 0")
    else:
        rows = newest(layers, PAIR if table == "user_item_features" else ["user_id"])
    return rows.withColumn("run_date", F.lit(day))
