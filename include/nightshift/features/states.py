"""States in the lake: what a plan builds upon is read, what it builds is staged and, once audited, committed."""

from __future__ import annotations

import datetime as dt
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import TYPE_CHECKING

from nightshift.config import Settings
from nightshift.features.definitions import LAYERED, feature_tables
from nightshift.features.increments import Base, build, leaving
from nightshift.features.lineage import Lineage, Plan, State, forget, record
from nightshift.lake import Lake, Staged, events_table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger("nightshift.features")

SIDE_BY_SIDE = 3
NOT_NEEDED = ("event_id", "event_type")  # by any feature


def stage_states(
    spark: SparkSession, lake: Lake, lineage: Lineage, plan: Plan, settings: Settings
) -> dict[str, Staged]:
    """Build what the plan says, as files that no reader sees. Returns the stages by table name."""
    tables = feature_tables(settings)
    frames = build(
        moving_events(spark, lake, plan, settings), base_of(spark, lake, lineage, plan, settings), plan, settings
    )

    def stage(name: str) -> Staged:
        staged = lake.stage(frames[name], tables[name], plan.targets)
        log.info("build_features: %s is staged", name)
        return staged

    # Side by side: planning a table is a single thread's work, which another can use the time of.
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        return dict(zip(frames, pool.map(stage, frames), strict=True))


def commit_states(lake: Lake, lineage: Lineage, plan: Plan, staged: dict[str, Staged], settings: Settings) -> None:
    """Commit the stages, and put the states on record last: until then nobody builds upon them or reads them."""
    tables = feature_tables(settings)
    forget(lake, plan.targets)
    for name, stage in staged.items():
        lake.commit(stage, tables[name])
    record(lake, [State(day, lineage.of(day), on) for day, on in plan.states.items()])


def moving_events(spark: SparkSession, lake: Lake, plan: Plan, settings: Settings) -> DataFrame:
    """The events that come after the base, and those before it that leave a window on the way to the last target."""
    table, last = events_table(settings.source), plan.targets[-1]
    version = lake.version("events")
    came: list[tuple[str, str, dt.date]] = [("run_date", "<=", last)]
    if plan.base:
        came.append(("run_date", ">", plan.base))
    frames = [lake.spark(spark, table, came, version)]
    for first, until in leaving(plan.base, last, settings):
        where = [("event_date", "between", (first, until)), ("run_date", "between", (first, plan.base))]
        frames.append(lake.spark(spark, table, where, version))
    needed = [column for column in table.columns if column not in NOT_NEEDED]
    return reduce(lambda one, other: one.unionByName(other), frames).select(*needed, "run_date")


def base_of(spark: SparkSession, lake: Lake, lineage: Lineage, plan: Plan, settings: Settings) -> Base:
    """The tables' rows that the first target builds upon."""
    if plan.base is None:
        return Base({})
    chain = lineage.chain(plan.base)
    return Base(
        {
            name: lake.spark(spark, table, [("run_date", "in", chain if name in LAYERED else [plan.base])])
            for name, table in feature_tables(settings).items()
        }
    )
