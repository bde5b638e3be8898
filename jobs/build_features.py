"""Build the feature tables as of the night's three cut-offs, audit them, and commit them.

    python -m jobs.build_features --run-date 2011-11-30

The cut-offs are the run date itself (for serving), the day before the test days (for the tested model), and the day
before the ranker's label days. A failed audit stops the night and commits nothing.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pandas as pd

from jobs import command
from nightshift.contracts import check
from nightshift.features.build import build
from nightshift.features.definitions import feature_tables
from nightshift.lake import Lake, Staged, Table, engine, events_table
from nightshift.runs import Night

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger("nightshift.features")

SIDE_BY_SIDE = 3
AUDITED = ("user_features", "item_features", "user_item_features", "cooccurrence")


def build_features(night: Night) -> dict[str, Any]:
    lake = Lake(night.home / "lake")
    settings = night.settings
    events_version = lake.version("events")
    tables = feature_tables(settings)
    with engine.session(settings.engine, night.home) as spark:
        events = lake.spark(spark, events_table(settings.source), [("run_date", "<=", night.run_date)], events_version)
        frames = build(events, night.cutoffs, night.run_date, settings)
        staged = stage_all(lake, frames, tables, night)
    checks = check(night, "build_features", {name: audited(lake, staged[name], tables[name]) for name in AUDITED})
    rows = {name: sum(lake.staged_counts(value).values()) for name, value in staged.items()}
    versions = {name: lake.commit(value, tables[name]) for name, value in staged.items()}
    return {
        "cutoffs": [day.isoformat() for day in night.cutoffs],
        "expectations": len(checks),
        "rows": rows,
        "tables": {"events": events_version, **versions},
    }


def stage_all(lake: Lake, frames: dict[str, DataFrame], tables: dict[str, Table], night: Night) -> dict[str, Staged]:
    """Stage the tables side by side: planning one is a single thread's work, which another can use the time of."""

    def stage(name: str) -> Staged:
        staged = lake.stage(frames[name], tables[name], [night.run_date])
        log.info("build_features: %s is staged", name)
        return staged

    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        return dict(zip(frames, pool.map(stage, frames), strict=True))


def audited(lake: Lake, staged: Staged, table: Table) -> pd.DataFrame:
    """The staged rows, with what the suites ask for besides the columns."""
    frame = lake.staged_rows(staged, table)
    if "sellable" in frame:
        frame["sellable_share"] = frame["sellable"].astype(float)
    return frame


if __name__ == "__main__":
    command.run(build_features, __doc__)
