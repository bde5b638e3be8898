"""Judge quarantined days again, after a rule, a type, an event type or a file was mended.

    python -m jobs.replay_quarantine --from 2011-11-01 --to 2011-11-30 --dry-run
    python -m jobs.replay_quarantine --from 2011-11-01 --to 2011-11-30
    python -m jobs.replay_quarantine --from 2011-11-01 --to 2011-11-30 --reason "fits no event type"

First mend what refused the rows: the configuration (source.contract, source.types, source.event_types), or the file.
Then each day of the span that has rows in quarantine is read, judged, audited and committed as its night did it, one
day after another: nothing is counted twice, a killed replay is run again, and a day whose audit fails stays as it was,
as do the days after it. Of a day whose file is gone the quarantined lines are judged, and its events stay as they are.
--reason picks the days that have rows under this reason; a day that is picked is judged whole.

The last line on standard output is a JSON object: the rows under each reason before and after, how many have left
quarantine, and the nights whose features are stale now: run these again, `make backfill FROM=... TO=...`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import functools
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import command
from jobs.ingest import ingest_delivery, judged_rows
from jobs.validate_events import validate_events
from nightshift import landing
from nightshift.config import ConfigError, Settings, load
from nightshift.features.lineage import load_lineage
from nightshift.lake import Lake, engine
from nightshift.runs import Night, RunDateError, StepError, home_of, open_night
from nightshift.runs.dates import parse_run_date

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger("nightshift.replay_quarantine")

RUN_ID = "replay"

Reasons = dict[dt.date, Counter[str]]


def replay_quarantine(
    settings: Settings,
    first: dt.date,
    last: dt.date,
    reason: str | None = None,
    dry_run: bool = False,
    home: Path | None = None,
) -> dict[str, Any]:
    """Judge the quarantined days from `first` to `last` again. Returns what is to be said of it.

    Raises:
        StepError: a file is not fit to be read, or a day does not pass its audit; days before it are committed.
    """
    home = home or home_of(settings)
    lake = Lake(home / "lake")
    before = quarantined(lake, first, last)
    days = [day for day, reasons in sorted(before.items()) if reason is None or reason in reasons]
    if not days:
        there = ", ".join(sorted(sum(before.values(), Counter[str]()))) or "none"
        log.info("nothing to judge again from %s to %s; reasons in quarantine there: %s", first, last, there)
        after: Reasons = {}
    elif dry_run:
        after = judged_again(settings, home, days)
    else:
        commit_again(settings, home, days)
        after = quarantined(lake, first, last)
    return {
        "step": "replay_quarantine",
        "dry_run": dry_run,
        "days": [day.isoformat() for day in days],
        **compared(before, after, days),
        "stale_nights": [day.isoformat() for day in load_lineage(lake, settings).stale()],
    }


def quarantined(lake: Lake, first: dt.date, last: dt.date) -> Reasons:
    """The rows in quarantine by day and reason."""
    found: Reasons = {}
    if lake.exists("quarantine"):
        span = [("run_date", ">=", first), ("run_date", "<=", last)]
        rows = lake.arrow("quarantine", ["run_date", "reason"], span).group_by(["run_date", "reason"])
        for row in rows.aggregate([([], "count_all")]).to_pylist():
            found.setdefault(row["run_date"], Counter())[row["reason"]] = row["count_all"]
    return found


def judged_again(settings: Settings, home: Path, days: Sequence[dt.date]) -> Reasons:
    """What quarantine would hold of these days; nothing is written."""
    lake, night = Lake(home / "lake"), open_night(settings, days[-1], RUN_ID, home)
    delivery = landing.delivered(lake, settings.source, settings.folder, days)
    found: Reasons = {}
    with engine.session(settings.engine, home, settings.source.timezone) as spark:
        _, refused = judged_rows(spark, lake, night, delivery)
        for row in refused.groupBy("run_date", "reason").count().collect():
            found.setdefault(row["run_date"], Counter())[row["reason"]] = row["count"]
    return found


def commit_again(settings: Settings, home: Path, days: Sequence[dt.date]) -> None:
    """Stage, audit and commit each day as its night did, and leave what `ingest` and `validate_events` leave."""
    lake = Lake(home / "lake")
    with engine.session(settings.engine, home, settings.source.timezone) as spark:
        again = functools.partial(ingest_again, spark=spark, lake=lake)
        for at, day in enumerate(days, start=1):
            log.info("replay_quarantine: day %d of %d: %s", at, len(days), day)
            night = open_night(settings, day, RUN_ID, home)
            command.execute(again, night, time.monotonic(), called="ingest")  # validate_events goes by its summary
            command.execute(validate_events, night, time.monotonic())


def ingest_again(night: Night, spark: SparkSession, lake: Lake) -> dict[str, Any]:
    """Stage the night's own day, and no other that is late."""
    delivery = landing.delivered(lake, night.settings.source, night.settings.folder, [night.run_date])
    return ingest_delivery(spark, lake, night, delivery)


def compared(before: Mapping[dt.date, Counter[str]], after: Reasons, days: Sequence[dt.date]) -> dict[str, Any]:
    """Rows in quarantine of these days, before and after, by reason and in all."""
    was = sum((before[day] for day in days), Counter[str]())
    now = sum((after.get(day, Counter()) for day in days), Counter[str]())
    by_reason = {reason: {"before": was[reason], "after": now[reason]} for reason in sorted(was | now)}
    return {"by_reason": by_reason, "left": was.total() - now.total()}


def main(argv: Sequence[str] | None = None) -> None:
    """The last line on standard output is the summary; what fails is one line, and its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.replay_quarantine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--from", dest="first", required=True, help="the first day: 2011-11-01")
    parser.add_argument("--to", dest="last", required=True, help="the last day, included")
    parser.add_argument("--reason", help="only days that have rows in quarantine under this reason")
    parser.add_argument("--dry-run", action="store_true", help="judge, and say what would leave; commit nothing")
    parser.add_argument("--config", help="the configuration file (NIGHTSHIFT_CONFIG, else nightshift.yaml)")
    args = parser.parse_args(argv)
    try:
        first, last = parse_run_date(args.first, "--from"), parse_run_date(args.last, "--to")
    except RunDateError as error:
        parser.error(str(error))
    if last < first:
        parser.error(f"--from {first} is after --to {last}")
    command.set_up_logging()
    try:
        summary = replay_quarantine(load(args.config), first, last, args.reason, args.dry_run)
    except (ConfigError, StepError, FileNotFoundError) as error:
        print(f"replay_quarantine: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))
    print(json.dumps(summary, sort_keys=True))


if __name__ == "__main__":
    main()
