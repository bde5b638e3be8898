"""What the gates found, night by night: the Delta table `validation_results`, one commit a gate.

A gate that runs again for a run date replaces its own rows of that date, and no other gate's. A night's figures are
history for the nights after it only if their gate passed: what was refused is no example of what is usual.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from nightshift.contracts.verdict import LIKE
from nightshift.lake import Lake, Table

results_table = Table(
    "validation_results",
    {
        "gate": "string",
        "suite": "string",
        "expectation": "string",
        "figure": "string",  # what is measured, by which its history is found
        "observed": "string",
        "value": "double",  # the figure, or how many rows break the expectation
        "allowed": "string",
        "success": "boolean",
        "severity": "string",
        "note": "string",
        "passed": "boolean",  # the gate
        "seconds": "double",  # of the suite's audit
        "run_id": "string",
    },
)


@dataclass(frozen=True)
class Check:
    """One expectation and what was found."""

    suite: str
    expectation: str  # as a person says it: price: column values to be between
    observed: str
    allowed: str
    success: bool
    severity: str  # "stop" or "warn"
    figure: str = ""
    value: float | None = None
    note: str = ""  # what a bound was learned from, or why a check that is not met passes
    why: str = ""
    do: str = ""
    seconds: float = 0.0  # of the suite's audit


def record(lake: Lake, run_date: dt.date, gate: str, run_id: str, checks: Sequence[Check], passed: bool) -> int:
    """Make `checks` all that the table has of this gate and run date. Returns the table's version.

    Examples stay out of it: they may be somebody's id, and the table is kept for good.
    """
    shared = {"gate": gate, "passed": passed, "run_id": run_id, "run_date": run_date}
    rows = [{**vars(found), "observed": found.observed.partition(LIKE)[0], **shared} for found in checks]
    table = pa.Table.from_pylist(rows, schema=results_table.arrow)
    return lake.replace(results_table.name, run_date, table, only={"gate": gate})


def last_verdicts(lake: Lake, gate: str, run_dates: Iterable[dt.date]) -> dict[dt.date, bool]:
    """Whether the gate passed when it last judged each of these run dates; those that it never judged are left out."""
    wanted = set(run_dates)
    if not wanted or not lake.exists(results_table.name):
        return {}
    where = [("run_date", ">=", min(wanted)), ("run_date", "<=", max(wanted)), ("gate", "=", gate)]
    rows = lake.arrow(results_table.name, ["run_date", "passed"], where).to_pylist()
    return {row["run_date"]: row["passed"] for row in rows if row["run_date"] in wanted}


def figures_before(
    lake: Lake, run_date: dt.date, gate: str, nights: int
) -> Mapping[tuple[str, str], list[tuple[dt.date, float]]]:
    """(suite, figure) -> run date and value on the nights before `run_date` that the gate passed, in time's order.

    Args:
        nights: as many are needed of a figure; days without a night are allowed for, as many again.
    """
    if not lake.exists(results_table.name):
        return {}
    where: list[Any] = [
        ("run_date", "<", run_date.isoformat()),
        ("run_date", ">=", (run_date - dt.timedelta(days=2 * nights + 7)).isoformat()),
        ("gate", "=", gate),
        ("passed", "=", True),
    ]
    rows = lake.arrow(results_table.name, ["run_date", "suite", "figure", "value"], where).to_pylist()
    found: dict[tuple[str, str], dict[dt.date, float]] = {}
    for row in rows:
        if row["value"] is not None:
            found.setdefault((row["suite"], row["figure"]), {})[row["run_date"]] = row["value"]
    return {key: sorted(values.items()) for key, values in found.items()}
