"""Bring what the lookup service has shown into the lake: the table `exposures`, a partition a business day.

    python -m jobs.land_exposures --run-date 2011-11-30

Takes the files under exposures/pending in NIGHTSHIFT_HOME that have rows of the run date or before; what comes late of
a day before goes to its day. Landing again changes nothing. Files whose rows are in the lake are kept for
experiments.exposures.keep_days under exposures/landed.
"""

from __future__ import annotations

import datetime as dt
import logging
import tempfile
from pathlib import Path
from typing import Any

from jobs import command
from nightshift.contracts import check
from nightshift.contracts.figures import connection
from nightshift.lake import Lake, Staged, exposures_table
from nightshift.landing.exposures import Shown, pending_files, put_away, read_pending, remove_old, stage_exposures
from nightshift.landing.suppression import load_suppression
from nightshift.publishing.storage import store_of
from nightshift.runs import Night, day_end

log = logging.getLogger("nightshift.landing")


def land_exposures(night: Night) -> dict[str, Any]:
    """Stage, audit and commit; then put the files away."""
    settings, lake = night.settings, Lake(night.home / "lake")
    timezone = settings.source.timezone
    files = pending_files(night.home, night.run_date, timezone)
    night.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="exposures-", dir=night.folder) as scratch:
        shown = Shown(store_of(settings, night.home), Path(scratch) / "runs")
        erased = load_suppression(night.home)
        arrived, made = read_pending(files, night.run_date, timezone, shown, erased, Path(scratch))
        with connection(Path(scratch) / "spill", settings.validation.memory, settings.threads) as database:
            staged = stage_exposures(lake, database, made)
    told = committed(night, lake, staged) if staged else {"rows": {}, "tables": {}}
    if arrived.dropped:
        log.warning("land_exposures: %d exposures were dropped: raise experiments.exposures.max_rows", arrived.dropped)
    moved = put_away(night.home, arrived.files, night.run_date, timezone)
    kept = dt.timedelta(days=settings.experiments.exposures.keep_days)
    removed = remove_old(night.home, day_end(night.run_date, timezone) - kept)
    figures = {name: getattr(arrived, name) for name in ("dropped", "erased", "unresolved", "unreadable")}
    return {"files": len(files), **figures, **told, "put_away": moved, "removed": removed}


def committed(night: Night, lake: Lake, staged: Staged) -> dict[str, Any]:
    checks = check(night, "land_exposures", {"exposures": lake.staged_files(staged)})
    rows = lake.staged_counts(staged)
    version = lake.commit(staged, exposures_table)
    log.info("land_exposures: %s", ", ".join(f"{count} rows of {day}" for day, count in rows.items()))
    return {**checks.summary(), "rows": rows, "tables": {exposures_table.name: version}}


if __name__ == "__main__":
    command.run(land_exposures, __doc__)
