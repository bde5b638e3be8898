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
from typing import Any

from jobs import command
from nightshift.contracts import check
from nightshift.features.definitions import all_features, feature_tables
from nightshift.features.lineage import LINEAGE, Lineage, Plan, load_lineage
from nightshift.features.states import commit_states, one_at_a_time, stage_states
from nightshift.lake import Lake, engine
from nightshift.runs import Night

log = logging.getLogger("nightshift.features")

AUDITED = ("user_features", "item_features", "user_item_features", "cooccurrence")


def build_features(night: Night, rebuild: str = "no") -> dict[str, Any]:
    lake = Lake(night.home / "lake")
    with one_at_a_time(lake):
        lineage = load_lineage(lake, night.settings)
        plan = lineage.plan(night.cutoffs, rebuild == "yes")
        built = build_states(night, lake, lineage, plan) if plan.targets else {"expectations": 0, "rows": {}}
    return {
        "cutoffs": [day.isoformat() for day in night.cutoffs],
        "built": [day.isoformat() for day in plan.targets],
        "based_on": plan.base.isoformat() if plan.base else None,
        "features": {name: feature.version for name, feature in all_features(night.settings).items()},
        "tables": {name: lake.version(name) for name in ("events", *feature_tables(night.settings), LINEAGE)},
        **built,
    }


def build_states(night: Night, lake: Lake, lineage: Lineage, plan: Plan) -> dict[str, Any]:
    """Build, audit and commit what the plan says."""
    upon = f"upon {plan.base}" if plan.base else "from all events"
    log.info("build_features: %s, %s", ", ".join(map(str, plan.targets)), upon)
    with engine.session(night.settings.engine, night.home) as spark:
        staged = stage_states(spark, lake, lineage, plan, night.settings)
    checks = check(night, "build_features", {name: lake.staged_files(staged[name]) for name in AUDITED})
    rows = {name: sum(lake.staged_counts(stage).values()) for name, stage in staged.items()}
    commit_states(lake, lineage, plan, staged, night.settings)
    return {**checks.summary(), "rows": rows}


if __name__ == "__main__":
    command.run(build_features, __doc__, options={"rebuild": "yes: build the cut-offs from all events (no)"})
