"""What a night left behind, gathered for its page. What is not there is None or empty, and the page leaves it out."""

from __future__ import annotations

import datetime as dt
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightshift.lake import Lake
from nightshift.monitoring.report.customers import Customer, three
from nightshift.monitoring.report.lists import Overview, overview
from nightshift.monitoring.windows import Window, nights_with
from nightshift.runs import Night, steps

log = logging.getLogger("nightshift.monitoring")

STEPS = steps.STEPS[:-1]  # all before the report itself
VOLUME_DAYS = 60
OTHER_GATES = {"train": ["train_ranker"]}  # of a step, beside the one that is called as it is

Summary = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """How a step of the night went.

    Attributes:
        state: `done`; `failed`; `not run`; `earlier run`, where what is there was left by another run of the same
            run date.
        note: why it failed, or which run left what is there.
    """

    name: str
    state: str
    seconds: float | None = None
    peak_mib: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Gate:
    """What a gate's expectations found: suite, expectation, observed, allowed, success, severity; the failed first.

    `docs` is the address of its Data Docs as seen from the page; None where there are none.
    """

    name: str
    checks: list[Summary]
    docs: str | None

    @property
    def failed(self) -> int:
        return sum(is_stopping(check) for check in self.checks)

    @property
    def warned(self) -> int:
        return sum(not check.get("success") for check in self.checks) - self.failed


@dataclass(frozen=True)
class NightReport:
    """All that a night's page shows. `summaries` are what the steps of this run left, by step."""

    run_date: str
    run_id: str
    stages: list[Stage]
    summaries: dict[str, Summary]
    verdict: Summary | None
    gates: list[Gate]
    counts: list[Summary]
    reasons: list[tuple[str, int]]
    lists: Overview | None
    customers: list[Customer]
    tables: list[tuple[str, int]]

    @property
    def stopped(self) -> Stage | None:
        """The step at which the night failed, or that has not run yet; None where all have."""
        failed = [stage for stage in self.stages if stage.state == "failed"]
        return next(iter(failed or [stage for stage in self.stages if stage.state != "done"]), None)

    @property
    def headline(self) -> tuple[str, str]:
        """(tone, sentence): how the night went."""
        if stage := self.stopped:
            name = stage.name.replace("_", " ")
            return ("bad", f"Failed at {name}") if stage.state == "failed" else ("warn", f"Stopped before {name}")
        model = ""
        if self.verdict and "accepted" in self.verdict:
            model = ", new model promoted" if self.verdict["accepted"] else ", new model refused"
        return ("good", f"Published{model}") if self.is_live else ("warn", f"Complete, but not live{model}")

    @property
    def is_live(self) -> bool:
        """Whether publishing made this run the live one; a backfill of an old date, for one, does not."""
        publish = self.summaries.get("publish", {})
        return publish.get("live") == publish.get("run")

    @property
    def seconds(self) -> float:
        """Of all steps of this run together."""
        return sum(stage.seconds or 0 for stage in self.stages if stage.state == "done")


def gather(night: Night) -> NightReport:
    """Read what the night's steps left in its folder, and the tables that its page shows."""
    found = {step: summary for step in STEPS if (summary := _object(night, step))}
    run_id = _run_id(night, found)
    mine = {step: summary for step, summary in found.items() if summary.get("run_id", run_id) == run_id}
    failure = _failure(night, mine, run_id)
    has_lists = "infer" in mine and (night.folder / "lists" / "lists.parquet").is_file()
    return NightReport(
        night.run_date.isoformat(),
        run_id,
        [_stage(step, mine.get(step), found.get(step), failure) for step in STEPS],
        mine,
        _object(night, "verdict") if "evaluate" in mine else None,
        _gates(night, [step for step in STEPS if step in mine or step == failure.get("step")]),
        _counts(night),
        _reasons(night, mine["ingest"]) if {"ingest", "validate_events"} <= {*mine} else [],
        overview(night.folder / "lists", _lists_before(night)) if has_lists else None,
        three(night) if has_lists else [],
        _tables(mine),
    )


def is_stopping(check: Summary) -> bool:
    """Whether a check's failure stops the night, rather than being a warning."""
    return not check.get("success") and check.get("severity") != "warn"


def _read(night: Night, name: str) -> Any:
    """What lies in the night's folder under a name, or None where nothing does or it cannot be read."""
    try:
        return json.loads((night.folder / f"{name}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.warning("the report leaves out %s.json, which is not JSON: %s", name, error)
        return None


def _object(night: Night, name: str) -> Summary | None:
    value = _read(night, name)
    return value if isinstance(value, dict) else None


def _run_id(night: Night, found: dict[str, Summary]) -> str:
    """The run that the page is about: the one asked for, or, asked for by hand, the last to fail or to begin."""
    ids = [str(summary["run_id"]) for summary in found.values() if summary.get("run_id")]
    if night.run_id in ids:
        return night.run_id
    failed = _left(night).get("run_id")
    if failed and all(_is_newer(night, "failed", step) for step in found):
        return str(failed)
    return ids[0] if ids else night.run_id


def _left(night: Night) -> Summary:
    """What the command of a step of the night left when it failed: step, run_id, error."""
    left = _object(night, "failed") or {}
    return left if left.get("step") in STEPS else {}


def _stage(step: str, mine: Summary | None, found: Summary | None, failure: Summary) -> Stage:
    if failure.get("step") == step:
        return Stage(step, "failed", failure.get("seconds"), failure.get("peak_mib"), str(failure.get("error", "")))
    if mine is not None:
        return Stage(step, "done", mine.get("seconds"), mine.get("peak_mib"))
    if found is not None:
        return Stage(step, "earlier run", found.get("seconds"), found.get("peak_mib"), f"left by {found['run_id']}")
    return Stage(step, "not run")


def _failure(night: Night, mine: dict[str, Summary], run_id: str) -> Summary:
    """Why the night stopped: what the step's command left, else what its gate left."""
    left = _left(night)
    if (
        left
        and left.get("run_id") == run_id
        and (left.get("step") not in mine or _is_newer(night, "failed", left["step"]))
    ):
        return left
    done = [step for step in STEPS if step in mine]
    step = next((step for step in STEPS if step not in mine), None)
    for gate in _gate_names(step) if step else []:
        stopping = [check for check in _checks(night, gate) if is_stopping(check)]
        if stopping and (not done or _is_newer(night, f"{gate}_checks", done[-1])):
            return {"step": step, "error": "; ".join(map(_told, stopping))}
    return {}


def _told(check: Summary) -> str:
    suite, expectation, observed, allowed = (check.get(k) for k in ("suite", "expectation", "observed", "allowed"))
    return f"{suite}: {expectation}: found {observed}, allowed {allowed}"


def _is_newer(night: Night, name: str, than: str) -> bool:
    return (night.folder / f"{name}.json").stat().st_mtime >= (night.folder / f"{than}.json").stat().st_mtime


def _gate_names(step: str) -> list[str]:
    return [step, *OTHER_GATES.get(step, [])]


def _gates(night: Night, steps: list[str]) -> list[Gate]:
    found = []
    for gate in [gate for step in steps for gate in _gate_names(step)]:
        if checks := _checks(night, gate):
            docs = f"data_docs/{night.run_date}/index.html"
            there = (night.home / "reports" / docs).is_file()
            found.append(Gate(gate, checks, f"../{docs}" if there else None))
    return found


def _checks(night: Night, gate: str) -> list[Summary]:
    checks = _read(night, f"{gate}_checks")
    there = [check for check in checks if isinstance(check, dict)] if isinstance(checks, list) else []
    return sorted(there, key=lambda check: (bool(check.get("success")), check.get("severity") == "warn"))


def _counts(night: Night) -> list[Summary]:
    """Rows by day over the last days up to the run date, as the lake has them."""
    lake = Lake(night.home / "lake")
    if not lake.exists("ingest_counts"):
        return []
    window = Window.last(night.run_date, VOLUME_DAYS)
    where = [("run_date", ">=", window.start.isoformat()), ("run_date", "<=", window.end.isoformat())]
    rows = lake.pandas("ingest_counts", where=where).sort_values("run_date").astype({"run_date": str})
    counts: list[Summary] = rows.to_dict("records")
    return counts


def _reasons(night: Night, ingest: Summary) -> list[tuple[str, int]]:
    """Why rows of the days that this night ingested went to quarantine, the most frequent reason first."""
    lake = Lake(night.home / "lake")
    if not lake.exists("quarantine"):
        return []
    days = [str(count["run_date"]) for count in ingest.get("counts") or []] or [night.run_date.isoformat()]
    rows = lake.pandas(
        "quarantine", ["reason", "run_date"], [("run_date", ">=", min(days)), ("run_date", "<=", max(days))]
    )
    tally = rows[rows["run_date"].astype(str).isin(days)]["reason"].value_counts()
    return sorted(((str(name), int(count)) for name, count in tally.items()), key=lambda pair: (-pair[1], pair[0]))


def _lists_before(night: Night) -> Path | None:
    yesterday = night.run_date - dt.timedelta(days=1)
    folders = nights_with(night.home, "lists/lists.parquet", Window(dt.date.min, yesterday))
    return folders[0] / "lists" if folders else None


def _tables(mine: dict[str, Summary]) -> list[tuple[str, int]]:
    """Delta versions, as the steps that wrote or read the tables left them; the last step that names a table has it."""
    versions: dict[str, int] = {}
    for step in STEPS:
        versions |= mine.get(step, {}).get("tables") or {}
    return sorted(versions.items())
