"""Audit rows by the suites of their names, keep what was found, and stop the night when what matters is not met.

One gate is one call of `check`: DuckDB measures (`figures`), bounds are put in or learned (`expectations`, `learned`),
each expectation is decided (`verdict`), the results go to the table `validation_results` and to the night's folder, and
Great Expectations' Data Docs are made of them: at once if the night stops here, else with its report (`data_docs`).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import duckdb
import pandas as pd

from nightshift.config.settings import Validation
from nightshift.contracts.expectations import Expectation, Suite, load_suite
from nightshift.contracts.figures import Figures, Rows, connection, measure, put_beside
from nightshift.contracts.learned import Learning, band
from nightshift.contracts.results import Check, figures_before, record
from nightshift.contracts.verdict import Verdict, judge
from nightshift.lake import Lake
from nightshift.runs import GateError, Night

log = logging.getLogger("nightshift.contracts")

Histories = Mapping[str, pd.DataFrame]


class Checks(list[Check]):
    """What a gate found, the failed first, and the seconds that it took."""

    seconds: float = 0.0

    def summary(self) -> dict[str, Any]:
        """For the step's summary."""
        warnings = sum(not found.success for found in self)
        return {"expectations": len(self), "warnings": warnings, "validation_seconds": round(self.seconds, 2)}


def check(
    night: Night,
    gate: str,
    rows: Mapping[str, Rows],
    *,
    beside: Mapping[str, Rows] | None = None,
    history: Histories | None = None,
    **parameters: Any,
) -> Checks:
    """Validate rows, each by the suite of its name.

    Args:
        night: the results are left in its folder as `<gate>_checks.json` and `<gate>_figures.json`.
        gate: what the gate is called.
        rows: suite name -> a pandas frame, or the Parquet files that hold the rows, which are not loaded.
        beside: name -> further rows, for the suites' columns to look into.
        history: name -> `run_date` and figures of nights before, for bounds that are learned from this `table`.
        parameters: what the suites mean by `$PARAMETER`.

    Returns:
        Every check, the failed first.

    Raises:
        GateError: an expectation of severity `stop` is not met or could not be evaluated. The message names it, the
            figure, the allowed range, and what to do.
    """
    begun = time.perf_counter()
    past = _Past(night, gate, history or {})
    found: list[_Found] = []
    scratch = night.folder / f"{gate}-{os.getpid()}.spill"
    with connection(scratch, night.settings.validation.memory, night.settings.threads) as con:
        for name, others in (beside or {}).items():
            put_beside(con, name, others)
        for suite, data in rows.items():
            found += _audit(con, night, gate, load_suite(suite), data, parameters, past)
    checks = Checks(sorted((one.check for one in found), key=lambda one: (one.success, one.severity == "warn")))
    _keep(night, gate, checks, [one.for_docs for one in found])
    checks.seconds = time.perf_counter() - begun
    return checks


@dataclass(frozen=True)
class _Found:
    check: Check
    for_docs: Mapping[str, Any]  # what `data_docs` needs to have GX decide again


def _audit(
    con: duckdb.DuckDBPyConnection,
    night: Night,
    gate: str,
    suite: Suite,
    data: Rows,
    parameters: Mapping[str, Any],
    past: _Past,
) -> list[_Found]:
    """Measure one suite's rows, and decide on each of its expectations."""
    started = time.perf_counter()
    settled = tuple(_settle(expectation, suite.name, parameters, past) for expectation in suite.expectations)
    measured = measure(con, replace(suite, expectations=settled), data, parameters)
    decided = [
        (*_decide(night, gate, expectation, figures), figures)
        for expectation, figures in zip(settled, measured, strict=True)
    ]
    seconds = round(time.perf_counter() - started, 3)
    return [
        _Found(_check(suite.name, expectation, verdict, seconds), _for_docs(suite.name, expectation, figures, verdict))
        for expectation, verdict, figures in decided
    ]


def _settle(expectation: Expectation, suite: str, parameters: Mapping[str, Any], past: _Past) -> Expectation:
    """With all its bounds known."""
    expectation = expectation.with_parameters(parameters)
    if expectation.learning is None or expectation.problem:
        return expectation
    try:
        learned = band(
            past.of(suite, expectation.learning),
            past.night.run_date,
            expectation.learning,
            past.night.settings.validation.min_nights,
        )
    except (KeyError, ValueError) as error:
        return replace(expectation, problem=f"its bounds cannot be learned: {error}")
    return expectation.with_bounds(learned.low, learned.high, learned.told)


def _decide(night: Night, gate: str, expectation: Expectation, figures: Figures | str) -> tuple[Expectation, Verdict]:
    """The verdict, and the expectation with a note on a figure that was accepted by hand."""
    if isinstance(figures, str):
        return expectation, Verdict(False, f"not evaluated ({figures})", None)
    verdict = judge(expectation.kwargs, figures)
    if verdict.success or not expectation.learning:
        return expectation, verdict
    if not expectation.bounded:  # a figure that never was, and is not tonight, as of a source without prices
        return expectation, replace(verdict, success=True, waived=True)
    accepted = night.settings.validation.accepted(gate, expectation.figure, night.run_date)
    if accepted is None:
        return expectation, verdict
    note = f"accepted in the configuration: {accepted.why}; {expectation.note}"
    return replace(expectation, note=note), replace(verdict, success=True, waived=True)


def _check(suite: str, expectation: Expectation, verdict: Verdict, seconds: float) -> Check:
    return Check(
        suite=suite,
        expectation=expectation.words,
        observed=verdict.observed,
        allowed=expectation.allowed,
        success=verdict.success,
        severity=expectation.severity,
        figure=expectation.figure,
        value=verdict.value,
        note=expectation.note,
        why=expectation.why,
        do=expectation.do,
        seconds=seconds,
    )


def _for_docs(suite: str, expectation: Expectation, figures: Figures | str, verdict: Verdict) -> dict[str, Any]:
    meta = {"severity": expectation.severity, "why": expectation.why, "do": expectation.do, "note": expectation.note}
    return {
        "suite": suite,
        "type": expectation.type,
        "kwargs": dict(expectation.kwargs),
        "meta": {key: value for key, value in meta.items() if value},
        "figures": figures,
        "success": verdict.success,
        "waived": verdict.waived,
    }


def _keep(night: Night, gate: str, checks: Sequence[Check], told: Sequence[Mapping[str, Any]]) -> None:
    """Write down what was found, say it, and stop the night if it has to stop."""
    failed = [found for found in checks if not found.success]
    stopping = [found for found in failed if found.severity != "warn"]
    night.write_json(f"{gate}_checks", [asdict(found) for found in checks])
    night.write_json(f"{gate}_figures", told)
    for found in failed:
        log.warning("%s", _sentence(found))
    try:
        record(Lake(night.home / "lake"), night.run_date, gate, night.run_id, checks, passed=not stopping)
        if stopping:
            from nightshift.contracts.data_docs import build

            build(night, [gate])
    except Exception:
        if not stopping:
            raise
        log.exception("%s: what was found could not all be kept; it is in the message that follows", gate)
    if stopping:
        reasons = "; ".join(_sentence(found) + _advice(night, gate, found) for found in stopping)
        end = "" if reasons.endswith((".", "?")) else "."
        raise GateError(f"{reasons}{end} Nothing of this step is committed, what was live stays live.")
    log.info("%s: %d expectations met, %d warnings", gate, len(checks) - len(failed), len(failed))


def _sentence(found: Check) -> str:
    note = f" ({found.note})" if found.note else ""
    return f"{found.suite}: {found.expectation}: found {found.observed}, allowed {found.allowed}{note}"


def _advice(night: Night, gate: str, found: Check) -> str:
    """What to do, for somebody who has just been woken."""
    told = f" -> {found.do}" if found.do else ""
    if "learned from" not in found.note:
        return told
    accept = f"{{gate: {gate}, figure: {found.figure}, run_date: {night.run_date}, why: ...}}"
    return (
        f"{told} If it is as it should be: add {accept} to validation.accept in the configuration; "
        f"if it will stay so: {found.figure}: {night.run_date} to validation.baseline"
    )


class _Past:
    """The figures of the nights before, read when a bound is first learned from as many nights."""

    def __init__(self, night: Night, gate: str, histories: Histories) -> None:
        self.night, self._gate, self._histories = night, gate, histories
        self._results: dict[int, Mapping[tuple[str, str], Any]] = {}

    def of(self, suite: str, learning: Learning) -> list[tuple[Any, float]]:
        """A figure's history, from the day on that the configuration gives as its baseline.

        Raises:
            KeyError: the step has not passed the table, or it lacks the figure.
        """
        since = self._validation.baseline.get(learning.figure)
        if learning.table:
            frame = self._histories[learning.table][["run_date", learning.figure]].dropna().sort_values("run_date")
            known = list(frame.itertuples(index=False, name=None))
        else:
            if (nights := learning.nights) not in self._results:
                lake = Lake(self.night.home / "lake")
                self._results[nights] = figures_before(lake, self.night.run_date, self._gate, nights)
            known = self._results[nights].get((suite, learning.figure), [])
        return [(day, float(value)) for day, value in known if since is None or day >= since]

    @property
    def _validation(self) -> Validation:
        return self.night.settings.validation
