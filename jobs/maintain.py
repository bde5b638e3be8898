"""Keep the lake small, and the nights' folders: let go what is old, compact, vacuum and checkpoint every table.

    python -m jobs.maintain
    python -m jobs.maintain --dry-run

The last line on standard output says for each table what was done, or, with --dry-run, what would be. A version of a
table stays readable for `lake.retention_days` after another took its place; one that a night of these days names stays,
however old it is. It may run beside a night. What fails is named at the end, and the rest is done.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import logging
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jobs.command import set_up_logging
from nightshift.config import ConfigError, load
from nightshift.features.lineage import load_lineage
from nightshift.features.states import consolidate, expire, one_at_a_time
from nightshift.lake import Lake, engine, maintenance
from nightshift.runs import Night, StepError, open_night
from nightshift.runs.dates import parse_run_date
from nightshift.runs.lock import at_work

log = logging.getLogger("nightshift.maintain")


def tables(night: Night, dry_run: bool) -> dict[str, Any]:
    """Every table of the lake. One that fails does not keep the others from their turn."""
    settings, lake = night.settings.lake, Lake(night.home / "lake")
    retention = dt.timedelta(days=settings.retention_days)
    needed = versions_named(night.home / "nights", dt.datetime.now(dt.UTC) - retention)
    done: dict[str, Any] = {}
    for table in lake.tables():
        try:
            folder = lake.path(table)
            done[table] = maintenance.maintain(folder, retention, settings.compact_files, needed[table], dry_run)
        except Exception as error:
            done[table] = failure(table, error)
        log.info("maintain: %s: %s", table, ", ".join(f"{key} {value}" for key, value in done[table].items()))
    return done


def features(night: Night, dry_run: bool) -> dict[str, Any]:
    """Merge the layers of the newest night's features when there are many, and let old nights' states go."""
    settings, lake = night.settings, Lake(night.home / "lake")
    with contextlib.nullcontext() if dry_run else one_at_a_time(lake):
        lineage = load_lineage(lake, settings)
        standing = [day for day in lineage.states if day <= night.run_date and lineage.stands(day)]
        if not standing:
            return {}
        day = max(standing)
        layers = len(lineage.chain(day))
        if merging := layers > settings.features.layers and not dry_run:
            with engine.session(settings.engine, night.home) as spark:
                consolidate(spark, lake, lineage, day, settings)
        oldest = min(night.run_date - dt.timedelta(days=settings.lake.retention_days), *night.cutoffs)
        if (expired := load_lineage(lake, settings).expired(oldest)) and not dry_run:
            expire(lake, expired, settings)
    log.info("maintain: features as of %s lie in %d layers%s", day, layers, ", now one" if merging else "")
    log.info("maintain: features of %d nights are older than %s and needed no more", len(expired), oldest)
    told = {"day": day.isoformat(), "layers": layers, "merged": merging, "expired": len(expired)}
    return {"features": told}


def nights(night: Night, dry_run: bool) -> dict[str, Any]:
    """Let the lists, indexes and models of old nights go; the summaries stay, which gates and reports learn from.

    A model that was registered lies in the registry's folder, a list that was published in the store.
    """
    oldest = (dt.datetime.now(dt.UTC) - dt.timedelta(days=night.settings.lake.retention_days)).timestamp()
    emptied, freed = 0, 0
    for folder in sorted((night.home / "nights").glob("????-??-??")):
        files = [file for file in folder.rglob("*") if file.is_file()]
        heavy = [file for file in files if file.parent != folder]
        if heavy and max(file.stat().st_mtime for file in files) < oldest:
            emptied, freed = emptied + 1, freed + sum(file.stat().st_size for file in heavy)
            for part in [] if dry_run else [part for part in folder.iterdir() if part.is_dir()]:
                shutil.rmtree(part)
    log.info("maintain: of %d old nights only the summaries are kept; %.1f MiB", emptied, freed / 2**20)
    return {"folders": {"emptied": emptied, "mib": round(freed / 2**20, 1)}}


# In this order: what the first leaves behind, the second clears away.
UPKEEP: tuple[Callable[[Night, bool], dict[str, Any]], ...] = (features, tables, nights)


def maintain(run_date: dt.date | None = None, config: str | None = None, dry_run: bool = False) -> dict[str, Any]:
    """Do all of UPKEEP. A part that fails does not keep the others from their turn.

    Args:
        run_date: of the night that it follows; the newest in the lake, unless given.

    Raises:
        StepError: something could not be done; the rest is.
    """
    settings = load(config)
    night = open_night(settings, run_date or settings.source.first_day)
    if run_date is None and (seen := Lake(night.home / "lake").run_dates("ingest_counts")):
        night = open_night(settings, dt.date.fromisoformat(max(seen)))
    done: dict[str, Any] = {}
    with at_work(night.home, f"maintain after {night.run_date}"):
        for part in UPKEEP:
            try:
                done[part.__name__] = part(night, dry_run)
            except Exception as error:
                done[part.__name__] = {part.__name__: failure(part.__name__, error)}
    if failed := [f"{name}: {of['error']}" for part in done.values() for name, of in part.items() if "error" in of]:
        raise StepError("; ".join(failed))
    return {"step": "maintain", "run_date": night.run_date.isoformat(), "dry_run": dry_run, **done}


def failure(what: str, error: Exception) -> dict[str, str]:
    """What is said of it, in a line; where nobody foresaw it the log says where it was."""
    if not isinstance(error, StepError):
        log.error("maintain: %s", what, exc_info=error)
    return {"error": " ".join(str(error).split()) or type(error).__name__}


def versions_named(nights: Path, since: dt.datetime) -> dict[str, set[int]]:
    """The versions of each table that the nights at work after `since` read or wrote, by what they left."""
    named: dict[str, set[int]] = defaultdict(set)
    for file in nights.glob("*/*.json"):
        if file.stat().st_mtime >= since.timestamp():
            summary = json.loads(file.read_text())
            versions = summary.get("tables") if isinstance(summary, dict) else None
            for table, version in (versions if isinstance(versions, dict) else {}).items():
                if isinstance(version, int):
                    named[table].add(version)
    return named


def main(argv: Sequence[str] | None = None) -> None:
    """What fails is one line, and exit 1."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.maintain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run-date", type=parse_run_date, help="of the night that it follows (the newest)")
    parser.add_argument("--dry-run", nargs="?", const=True, default=False, help="change nothing, and say what would be")
    parser.add_argument("--config", help="the configuration file (NIGHTSHIFT_CONFIG, else nightshift.yaml)")
    args = parser.parse_args(argv)
    set_up_logging()
    try:
        print(json.dumps(maintain(args.run_date, args.config, bool(args.dry_run)), sort_keys=True))
    except (ConfigError, StepError) as error:
        print(f"maintain: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))


if __name__ == "__main__":
    main()
