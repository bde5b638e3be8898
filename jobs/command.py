"""What every step's command line shares: arguments, logging, the summary line, and errors that fit in one line."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import logging
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from nightshift.config import ConfigError, load
from nightshift.runs import Night, RunDateError, StepError, code_version, open_night
from nightshift.runs.dates import parse_run_date
from nightshift.runs.lock import at_work

log = logging.getLogger("nightshift")

LONG = 2000  # characters of one value, which a log is spared

FAILED = "failed"  # what a step that stopped the night leaves, for the report

Step = Callable[..., dict[str, Any]]


def run(
    step: Step, description: str | None, options: Mapping[str, str] | None = None, argv: Sequence[str] | None = None
) -> None:
    """Run one step of a night as a process.

    Args:
        step: called with the night, and with those of `options` that were given.
        options: names, and help, of text options that this step takes besides the ones all steps take.

    The step's summary is left in the night's folder as `<step>.json`; the last line on standard output is the same as
    one JSON object, without what is long. Progress goes to standard error. Exits 0, or with the error's `exit_code`
    after one line.
    """
    arguments = parser(step.__name__, description)
    for name, told in (options or {}).items():
        arguments.add_argument(f"--{name}", help=told)
    args = arguments.parse_args(argv)
    given = {name: value for name in options or {} if (value := getattr(args, name)) is not None}
    set_up_logging()
    started = time.monotonic()
    night = None
    try:
        night = open_night(load(args.config), args.run_date, args.run_id)
        summary = execute(step, night, started, **given)
    except (ConfigError, StepError, FileNotFoundError) as error:
        give_up(step.__name__, night, str(error), getattr(error, "exit_code", 1))
    except Exception as error:  # of Spark, of the lake, of MLflow's server: whoever mends it needs to see where
        log.exception("%s: an error that no step foresaw", step.__name__)
        told = next(iter(str(error).strip().splitlines()), "it says nothing")
        give_up(step.__name__, night, f"{type(error).__name__}: {told}", 1)
    print(json.dumps(shortened(summary), sort_keys=True, default=str), flush=True)


def give_up(name: str, night: Night | None, error: str, exit_code: int) -> NoReturn:
    """Leave why for the report, say it in one line, and end."""
    if night:
        with contextlib.suppress(OSError):  # a disk that is full must not hide the reason
            night.write_json(FAILED, {"step": name, "run_id": night.run_id, "error": error})
    print(f"{name}: {error}", file=sys.stderr)
    sys.exit(exit_code)


def shortened(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary for a log: of what is long, how many there are."""
    long = {
        name: f"{len(value)} in {summary['step']}.json"
        for name, value in summary.items()
        if isinstance(value, list | dict) and len(json.dumps(value, default=str)) > LONG
    }
    return {**summary, **long}


def execute(step: Step, night: Night, started: float, called: str | None = None, **given: str) -> dict[str, Any]:
    """Run `step`, once nobody needs the home for itself, and leave its summary in the night's folder.

    Args:
        called: whose summary it is, of a step that does another's work; its own, unless given.
    """
    name = called or step.__name__
    with at_work(night.home, f"{name} of {night.run_date}"):
        return _executed(step, name, night, started, **given)


def _executed(step: Step, name: str, night: Night, started: float, **given: str) -> dict[str, Any]:
    log.info("%s: run date %s, run %s", name, night.run_date, night.run_id)
    found = step(night, **given)
    summary = {
        "step": name,
        "run_date": night.run_date.isoformat(),
        "run_id": night.run_id,
        "code": code_version(),
        **found,
        "seconds": round(time.monotonic() - started, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    night.write_json(name, summary)
    _forget_failure(night, name)
    return summary


def _forget_failure(night: Night, name: str) -> None:
    """What this step had failed at has been mended; what another has, may not have been."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        if night.read_json(FAILED)["step"] == name:
            (night.folder / f"{FAILED}.json").unlink()


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """The arguments that every step takes."""
    result = argparse.ArgumentParser(
        prog=f"python -m jobs.{name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--run-date", type=_run_date, required=True, help="the business day to process: 2011-11-30")
    result.add_argument("--run-id", default="by-hand", help="what the run is called where it is published (by-hand)")
    result.add_argument("--config", help="the configuration file (NIGHTSHIFT_CONFIG, else nightshift.yaml)")
    return result


def set_up_logging() -> None:
    """Progress on standard error, one short line each; the libraries' own only when they warn."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)


def _run_date(text: str) -> dt.date:
    try:
        return parse_run_date(text)
    except RunDateError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
