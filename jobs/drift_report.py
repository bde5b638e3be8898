"""Say what has drifted since the served model was trained, or between any two windows of days.

    python -m jobs.drift_report --run-date 2011-11-30
    python -m jobs.drift_report --run-date 2011-11-30 --reference 2011-09-01..2011-09-28

Without --reference, the bins kept with the served model are the reference; without --current, the last
monitoring.window_days days up to the run date are compared with it. Writes an HTML page under reports/drift in
NIGHTSHIFT_HOME and the table drift_results, and raises an alert for what is over the threshold.
"""

from __future__ import annotations

import functools
import json
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from jobs import command
from nightshift.lake import Lake
from nightshift.monitoring import drift
from nightshift.monitoring.alert import raise_alert
from nightshift.monitoring.reference import Reference, of_served_model, parse
from nightshift.monitoring.reference import reference as bins_of
from nightshift.monitoring.report import page
from nightshift.monitoring.report.drift_page import Comparison, drift_page
from nightshift.monitoring.windows import Window, frames, newest_event
from nightshift.runs import Night, StepError, day_end

log = logging.getLogger("nightshift.drift_report")

TABLE = "drift_results"
SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("windows", pa.string()),  # reference and current: what tells one comparison of a run date from another
        ("frame", pa.string()),
        ("feature", pa.string()),
        ("kind", pa.string()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("psi", pa.float64()),
        ("kl", pa.float64()),
        ("noise", pa.float64()),
        ("reference_rows", pa.int64()),
        ("current_rows", pa.int64()),
        ("reference_missing", pa.float64()),
        ("current_missing", pa.float64()),
        ("new_values", pa.string()),  # JSON: [[value, rows], ...]
        ("lost_values", pa.string()),
        ("run_date", pa.date32()),
    ]
)


def drift_report(night: Night, reference: str | None = None, current: str | None = None) -> dict[str, Any]:
    """Compare, write the page and the table, raise the alert.

    Args:
        night: whose run date the report is of; rows that came in later are not looked at.
        reference: the days to compare with, `2011-09-01..2011-09-28`; else the bins kept with the served model.
        current: the days to judge; else the last `monitoring.window_days` up to the run date.

    Raises:
        StepError: a window is not one, or what is kept with the model is no reference.
    """
    settings = night.settings.monitoring
    before, now = _window(reference), _window(current) or Window.last(night.run_date, settings.window_days)
    chosen = "".join(f" --{name} {days}" for name, days in (("reference", reference), ("current", current)) if days)
    made_by = f"python -m jobs.drift_report --run-date {night.run_date}{chosen}"
    base, comparison = _reference(night, before, now, made_by)
    limits = drift.Limits(settings.psi_warn, settings.psi_alert, settings.min_rows)
    findings = drift.compare_frames(base.frames if base else {}, frames(night, now), limits)
    end = day_end(now.end, night.settings.source.timezone)
    findings.append(drift.freshness(newest_event(night, now.end), end, settings.max_age_hours))
    findings.sort(key=lambda finding: finding.severity)

    name = str(night.run_date) if not chosen else f"{night.run_date}_{before or 'model'}_{now}"
    file = night.home / "reports" / "drift" / f"{name}.html"
    raised = raise_alert(findings, settings, str(night.run_date), str(file))
    page.write(file, drift_page(comparison, findings, raised, (settings.psi_warn, settings.psi_alert)))
    verdicts = Counter(finding.verdict for finding in findings)
    log.info("drift: %s: %s", ", ".join(f"{verdicts[v]} {v}" for v in drift.SEVERITY), file)
    return {
        "report": str(file),
        "reference": str(comparison.reference or comparison.origin),
        "current": str(now),
        "verdicts": {verdict: verdicts[verdict] for verdict in drift.SEVERITY},
        "alerts": list(raised.alerts),
        "webhook": raised.webhook,
        "retrain": raised.retrain,
        "tables": {TABLE: _keep(night, name, findings)},
    }


def _reference(night: Night, window: Window | None, now: Window, made_by: str) -> tuple[Reference | None, Comparison]:
    """The bins to compare with. None where the served model kept none: nothing is guessed then."""
    of_run = functools.partial(Comparison, str(night.run_date), night.run_id)
    if window:
        origin = "the lake, for these days"
        return parse(bins_of(frames(night, window), window), origin), of_run(origin, window, now, made_by)
    try:
        found = of_served_model(night.home, night.run_date)
    except FileNotFoundError as error:
        log.warning("drift: no reference: %s", error)
        return None, of_run("no model's reference was found", None, now, made_by, str(error))
    return found, of_run(found.origin, found.window, now, made_by)


def _keep(night: Night, windows: str, findings: Sequence[drift.Finding]) -> int:
    """Put the findings in the table, beside those of other windows for this run date. Returns the table's version."""
    rows = [
        {
            "run_id": night.run_id,
            "windows": windows,
            "frame": finding.frame,
            "feature": finding.column,
            "kind": finding.kind,
            "verdict": finding.verdict,
            "reason": finding.reason,
            "psi": finding.psi,
            "kl": finding.kl,
            "noise": finding.noise,
            "reference_rows": finding.reference_rows,
            "current_rows": finding.current_rows,
            "reference_missing": finding.reference_missing,
            "current_missing": finding.current_missing,
            "new_values": json.dumps(finding.new) if finding.new is not None else None,
            "lost_values": json.dumps(finding.lost) if finding.lost is not None else None,
            "run_date": night.run_date,
        }
        for finding in findings
    ]
    lake = Lake(night.home / "lake")
    mine = pa.Table.from_pylist(rows, SCHEMA)
    if lake.exists(TABLE):
        others = lake.arrow(TABLE, where=[("run_date", "=", str(night.run_date)), ("windows", "!=", windows)])
        mine = pa.concat_tables([others.select(SCHEMA.names).cast(SCHEMA), mine])
    return lake.replace(TABLE, night.run_date, mine)


def _window(text: str | None) -> Window | None:
    try:
        return Window.parse(text) if text else None
    except ValueError as error:
        raise StepError(str(error)) from None


if __name__ == "__main__":
    options = {"reference": "compare with these days, FROM..TO", "current": "judge these days, FROM..TO"}
    command.run(drift_report, __doc__, options)
