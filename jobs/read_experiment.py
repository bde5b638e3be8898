"""Say what an experiment has shown: a page, and the same as Markdown and JSON.

    python -m jobs.read_experiment --experiment ranker-v7
    python -m jobs.read_experiment --experiment ranker-v7 --from 2011-11-01 --to 2011-11-30

Joins the exposures of these days with the events of the lake: a user counts for the variant of the first exposure, with
what followed it. Without --from, the experiment's first day; without --to, the last day in the lake. One may look every
day. A readout that must not be used, as of a sample ratio mismatch, has no results and ends with exit code 3. It lies
in NIGHTSHIFT_HOME under reports/experiments/<name>.html, .md and .json.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.command import set_up_logging
from nightshift.config import ConfigError, Settings, load
from nightshift.config.settings import Experiment
from nightshift.contracts.figures import connection
from nightshift.experiments.observed import observe
from nightshift.experiments.readout import Readout, read_out
from nightshift.lake import Lake, exposures_table
from nightshift.lake.duck import parquet
from nightshift.monitoring.report import page
from nightshift.monitoring.report.experiment_page import as_json, experiment_markdown, experiment_page
from nightshift.runs import GateError, RunDateError, StepError, home_of
from nightshift.runs.dates import parse_run_date
from nightshift.runs.lock import at_work

log = logging.getLogger("nightshift.read_experiment")

EXPOSURES, EVENTS, COUNTS = exposures_table.name, "events", "ingest_counts"
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Span:
    """The days that are read: `began` is the first on which the experiment has exposures, `gaps` those without any."""

    first: dt.date
    last: dt.date
    began: dt.date
    gaps: tuple[dt.date, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        told = []
        if self.first > self.began:
            told.append(
                f"It began on {self.began}. Users of before {self.first} count from their first exposure since then, "
                "as if they had not known the variant."
            )
        if self.gaps:
            days = ", ".join(map(str, self.gaps[:5])) + (" and more" if len(self.gaps) > 5 else "")
            told.append(f"No exposures of it on {days}. If there were any: python -m jobs.land_exposures")
        return tuple(told)


def read_experiment(
    name: str, first: dt.date | None = None, last: dt.date | None = None, config: str | None = None
) -> dict[str, Any]:
    """Read out, and write the reports.

    Raises:
        StepError: it is not declared, nothing of it has landed, or a night within the days has not been run.
        GateError: the readout must not be used. The reports say why.
    """
    settings = load(config)
    home = home_of(settings)
    experiment = declared(settings, name)
    with at_work(home, f"read_experiment of {name}"):
        lake, scratch = Lake(home / "lake"), home / "reports" / "experiments" / f".{name}.spill"
        with connection(scratch, settings.validation.memory, settings.threads) as database:
            days = days_of(lake, database, name)
            span = span_of(lake, days, first, last)
            since = span.first - dt.timedelta(days=experiment.before_days + 1)
            exposures = rows_of(lake, EXPOSURES, span.first, span.last)
            events = rows_of(lake, EVENTS, since, span.last)
            observed = observe(database, exposures, events, experiment, span.first, span.last)
        found = read_out(observed, settings.experiments, experiment, span.first, span.last, settings.source.timezone)
        readout = replace(found, notes=(*span.notes, *found.notes))
        file = written(home, readout)
    log.info("read_experiment: %s: %s: %s", name, readout.headline, file)
    if readout.troubles:
        raise GateError(f"{name}: must not be used: {'; '.join(readout.troubles)}; see {file}")
    return {"step": "read_experiment", "report": str(file), **as_json(readout)}


def declared(settings: Settings, name: str) -> Experiment:
    found = settings.experiments.find(name)
    if found is None:
        known = ", ".join(one.name for _, one in settings.experiments.placed()) or "none"
        raise StepError(
            f"no experiment {name!r} is declared; there are: {known}. One that has ended is read out before its entry "
            "is removed: put it back, with ramp: 0"
        )
    return found


def days_of(lake: Lake, database: Any, name: str) -> list[dt.date]:
    """The days with exposures of the experiment, in their order.

    Raises:
        StepError: there are none.
    """
    files = lake.files(EXPOSURES) if lake.exists(EXPOSURES) else []
    query = (
        f"select distinct run_date from {parquet(files)} "
        "where len(list_filter(experiments, lambda part: part.experiment = $name)) > 0 order by 1"
    )
    days = [day for (day,) in database.execute(query, {"name": name}).fetchall()] if files else []
    if not days:
        raise StepError(f"no exposure of {name!r} has landed: python -m jobs.land_exposures --run-date <day>")
    return days


def span_of(lake: Lake, days: Sequence[dt.date], first: dt.date | None, last: dt.date | None) -> Span:
    """The days to read, all of whose events are in the lake.

    Raises:
        StepError: there is no such day, or a night within them has not been run.
    """
    nights = {dt.date.fromisoformat(day) for day in lake.run_dates(COUNTS)}
    start, end = first or days[0], last or max(nights, default=days[-1])
    if end < start:
        raise StepError(f"--from {start} is after --to {end}")
    asked = [start + n * DAY for n in range((end - start).days + 1)]
    if missing := [day for day in asked if day not in nights]:
        raise StepError(
            f"the events of {missing[0]} are not in the lake ({len(missing)} days up to {end} are missing): run these "
            f"nights first, or read up to a day before: --to {missing[0] - DAY}"
        )
    within = [day for day in days if start <= day <= end]
    if not within:
        raise StepError(f"the experiment has no exposure from {start} to {end}; it has from {days[0]} to {days[-1]}")
    gaps = tuple(day for day in asked if within[0] < day < within[-1] and day not in within)
    return Span(start, end, days[0], gaps)


def rows_of(lake: Lake, table: str, first: dt.date, last: dt.date) -> str:
    """A table's rows of some run dates, in SQL."""
    files = lake.files(table, [("run_date", "between", (first, last))])
    if not files:
        raise StepError(f"table {table} has no rows from {first} to {last}")
    return parquet(files)


def written(home: Path, readout: Readout) -> Path:
    """Write the three reports. Returns the page."""
    made_by = (
        f"python -m jobs.read_experiment --experiment {readout.experiment} --from {readout.first} --to {readout.last}"
    )
    folder = home / "reports" / "experiments"
    page.write(folder / f"{readout.experiment}.json", json.dumps(as_json(readout), indent=1) + "\n")
    page.write(folder / f"{readout.experiment}.md", experiment_markdown(readout, made_by))
    return page.write(folder / f"{readout.experiment}.html", experiment_page(readout, made_by))


def main(argv: Sequence[str] | None = None) -> None:
    """The last line on standard output is the readout as one JSON object; what fails is one line, and exit 1 or 3."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.read_experiment", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--experiment", required=True, metavar="NAME", help="as the configuration declares it")
    parser.add_argument("--from", dest="first", type=_day, help="the first day of exposures (the experiment's)")
    parser.add_argument("--to", dest="last", type=_day, help="the last day, included (the last in the lake)")
    parser.add_argument("--config", help="the configuration file (NIGHTSHIFT_CONFIG, else nightshift.yaml)")
    args = parser.parse_args(argv)
    set_up_logging()
    try:
        print(json.dumps(read_experiment(args.experiment, args.first, args.last, args.config), sort_keys=True))
    except (ConfigError, StepError) as error:
        print(f"read_experiment: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))


def _day(text: str) -> dt.date:
    try:
        return parse_run_date(text)
    except RunDateError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    main()
