"""Run suites of expectations on frames, write Data Docs, and stop the night when one is not met."""

from __future__ import annotations

import json
import logging
import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nightshift.runs import GateError, Night

log = logging.getLogger("nightshift.contracts")

SUITES = Path(__file__).parent / "suites"


@dataclass(frozen=True)
class Check:
    """One expectation and what was found."""

    suite: str
    expectation: str  # as a person says it: price between 0 and 100000
    observed: str
    allowed: str
    success: bool
    severity: str  # "stop" or "warn"


def check(night: Night, gate: str, frames: Mapping[str, pd.DataFrame], **parameters: Any) -> list[Check]:
    """Validate each frame by the suite of its name.

    Args:
        night: Data Docs go under its home, to `reports/data_docs/<run date>/<gate>/index.html`.
        gate: what the gate is called; the results are also left in the night's folder as `<gate>_checks.json`.
        frames: suite name -> the rows.
        parameters: what the suites mean by `$PARAMETER`.

    Returns:
        Every check, the failed first.

    Raises:
        GateError: an expectation of severity `stop` is not met or could not be evaluated. The message names it, the
            figure and the allowed range.
    """
    context, gx = _context(night.home / "reports" / "data_docs" / night.run_date.isoformat() / gate)
    checks = [found for name, frame in frames.items() for found in _validate(context, gx, name, frame, parameters)]
    context.build_data_docs()
    checks.sort(key=lambda found: (found.success, found.severity == "warn"))
    night.write_json(f"{gate}_checks", [asdict(found) for found in checks])
    failed = [found for found in checks if not found.success]
    for found in failed:
        log.warning("%s: %s: found %s, allowed %s", found.suite, found.expectation, found.observed, found.allowed)
    stopping = [found for found in failed if found.severity != "warn"]
    if stopping:
        told = "; ".join(f"{f.suite}: {f.expectation}: found {f.observed}, allowed {f.allowed}" for f in stopping)
        raise GateError(f"{told}. Nothing of this step is committed, what was live stays live.")
    log.info("%s: %d expectations met, %d warnings", gate, len(checks) - len(failed), len(failed))
    return checks


def load_suite(name: str) -> dict[str, Any]:
    """A suite as its file has it."""
    suite: dict[str, Any] = json.loads((SUITES / f"{name}.json").read_text(encoding="utf-8"))
    return suite


def _context(site: Path) -> tuple[Any, Any]:
    """A Great Expectations context that writes its Data Docs to `site` and nothing anywhere else."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    for name in list(context.get_site_names()):
        context.delete_data_docs_site(name)
    shutil.rmtree(site, ignore_errors=True)
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site)}
    index = {"class_name": "DefaultSiteIndexBuilder"}
    config: Any = {"class_name": "SiteBuilder", "site_index_builder": index, "store_backend": store}
    context.add_data_docs_site(site_name="night", site_config=config)
    return context, gx


def _validate(context: Any, gx: Any, name: str, frame: pd.DataFrame, parameters: Mapping[str, Any]) -> list[Check]:
    suite = load_suite(name)
    asset = context.data_sources.add_pandas(name).add_dataframe_asset(name)
    expectations = context.suites.add(gx.ExpectationSuite(name=name, expectations=suite["expectations"]))
    validation = context.validation_definitions.add(
        gx.ValidationDefinition(name=name, data=asset.add_batch_definition_whole_dataframe(name), suite=expectations)
    )
    result = validation.run(
        batch_parameters={"dataframe": frame}, expectation_parameters=dict(parameters), result_format="SUMMARY"
    )
    return [_told(name, found) for found in result.results]


def _told(suite: str, found: Any) -> Check:
    """A GX result in a person's words."""
    config = found.expectation_config
    kwargs = {key: value for key, value in config.kwargs.items() if key != "batch_id"}
    subject = kwargs.get("column") or " and ".join(map(str, kwargs.get("column_list", []))) or "table"
    observed = _observed(found.result) if not _raised(found) else f"not evaluated ({_raised(found)})"
    return Check(
        suite=suite,
        expectation=f"{subject}: {config.type.removeprefix('expect_').replace('_', ' ')}",
        observed=observed,
        allowed=_allowed(kwargs),
        success=bool(found.success) and not _raised(found),
        severity=str((config.meta or {}).get("severity", "stop")),
    )


def _raised(found: Any) -> str:
    """What kept an expectation from being evaluated, if anything."""
    told = found.exception_info or {}
    entries = [told] if "raised_exception" in told else [value for value in told.values() if isinstance(value, dict)]
    return "; ".join(str(e.get("exception_message", "")) for e in entries if e.get("raised_exception"))


def _observed(result: Mapping[str, Any]) -> str:
    if "observed_value" in result:
        value = result["observed_value"]
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    count, total = result.get("unexpected_count"), result.get("element_count")
    if count is None:
        return "nothing"
    examples = result.get("partial_unexpected_list") or []
    return f"{count} of {total} rows" + (f", like {examples[0]!r}" if examples else "")


def _allowed(kwargs: Mapping[str, Any]) -> str:
    bounds = [kwargs.get("min_value"), kwargs.get("max_value")]
    if any(bound is not None for bound in bounds):
        low, high = (
            "…" if bound is None else f"{bound:g}" if isinstance(bound, float) else str(bound) for bound in bounds
        )
        return f"{low} to {high}"
    for key in ("value_set", "regex", "type_", "column_set", "value"):
        if key in kwargs:
            return str(kwargs[key])
    return "none that breaks it"
