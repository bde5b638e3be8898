"""Build the feature tables as of the night's three cut-offs, audit them, and commit them.

    python -m jobs.build_features --run-date 2011-11-30
    python -m jobs.build_features --run-date 2011-11-30 --rebuild yes

The cut-offs are the run date itself (for serving), the day before the test days (for the tested model), and the day
before the ranker's label days. What stands of them already is used. What does not is built upon the latest earlier
state that stands: of last night, as a rule, and so from the day's events alone. With `--rebuild yes` it is built from
all events, with the same result. A failed audit stops the night and commits nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from jobs import command
from nightshift.contracts import check
from nightshift.features.definitions import all_features, feature_tables
from nightshift.features.lineage import LINEAGE, Lineage, Plan, load_lineage
from nightshift.features.states import commit_states, one_at_a_time, stage_states
from nightshift.lake import Lake, engine
from nightshift.runs import Night

log = logging.getLogger("nightshift.features")


def build_features(night: Night, rebuild: str = "no") -> dict[str, Any]:
    lake = Lake(night.home / "lake")
    with one_at_a_time(lake):
        lineage = load_lineage(lake, night.settings)
        events = lake.version("events")  # never older than the contents on record: a state that is newer turns stale
        plans = lineage.plans(night.cutoffs, rebuild == "yes")
        built = build_states(night, lake, lineage, plans, events) if plans else {"expectations": 0, "rows": {}}
        versions = {name: lake.version(name) for name in (*feature_tables(night.settings), LINEAGE)}
    return {
        "cutoffs": [day.isoformat() for day in night.cutoffs],
        "built": {day.isoformat(): on and on.isoformat() for plan in plans for day, on in plan.states.items()},
        "features": {name: feature.version for name, feature in all_features(night.settings).items()},
        "tables": {"events": events, **versions},
        **built,
    }


def build_states(night: Night, lake: Lake, lineage: Lineage, plans: Sequence[Plan], events: int) -> dict[str, Any]:
    """Build, audit and commit what the plans say, from a version of the events."""
    for plan in plans:
        upon = f"upon {plan.base}" if plan.base else "from all events"
        log.info("build_features: %s, %s", ", ".join(map(str, plan.targets)), upon)
    with engine.session(night.settings.engine, night.home) as spark:
        staged = stage_states(spark, lake, lineage, plans, night.settings, events)
    stages = {name: [states.tables[name] for states in staged] for name in feature_tables(night.settings)}
    files = {name: [file for stage in found for file in lake.staged_files(stage)] for name, found in stages.items()}
    checks = check(night, "build_features", files)
    rows = {name: sum(sum(lake.staged_counts(stage).values()) for stage in found) for name, found in stages.items()}
    commit_states(lake, lineage, staged, night.settings)
    return {**checks.summary(), "rows": rows}


if __name__ == "__main__":
    command.run(build_features, __doc__, options={"rebuild": "yes: build the cut-offs from all events (no)"})
