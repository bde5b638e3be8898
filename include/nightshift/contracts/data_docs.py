"""Great Expectations' Data Docs of a night's gates: the figures that they measured, decided once more by GX's own code.

GX takes seconds to import, so this runs once a night, with the report; or at once, for the gate that stops the night.
The site is `reports/data_docs/<run date>/index.html`, one for all gates: GX compiles its templates anew for each site.
GX is handed the figures as its metrics: it does not see the rows.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nightshift.config.settings import CURRENT
from nightshift.runs import Night

log = logging.getLogger("nightshift.contracts")

SITES = Path("reports/data_docs")
FIGURES = "_figures.json"
ENGINES = frozenset({"pyspark", "sqlalchemy", "google.cloud", "google.auth", "google.oauth2", "boto3", "azure"})
SUMMARY = {"result_format": "SUMMARY"}


def build(night: Night, gates: Sequence[str] | None = None) -> list[str]:
    """Write the night's site, of these gates or of all that the night has been through.

    Its validation times are the run date's, so that the same figures give the same pages.

    Returns:
        What GX decides otherwise than the gate did: a sentence each. There must be none.
    """
    if gates is None:
        gates = sorted(file.name.removesuffix(FIGURES) for file in night.folder.glob(f"*{FIGURES}"))
    if not gates:
        return []
    _import_gx()
    beside = "" if night.channel == CURRENT else f".{night.channel}"
    context = _context(night.home / SITES / f"{night.run_date}{beside}")
    otherwise = []
    for gate in gates:
        checks = night.read_json(f"{gate}{FIGURES.removesuffix('.json')}")
        for suite in dict.fromkeys(found["suite"] for found in checks):
            mine = [found for found in checks if found["suite"] == suite]
            results = [decide(found) for found in mine]
            _store(context, night, gate, suite, results)
            otherwise += [
                f"{gate}: {suite}: {found['type']} {found['kwargs']}: GX says {result.success}, "
                f"the gate {found['success']}"
                for found, result in zip(mine, results, strict=True)
                if bool(result.success) != found["success"]
            ]
    context.build_data_docs()
    for sentence in otherwise:
        log.error("data docs: %s", sentence)
    return otherwise


def decide(found: Mapping[str, Any]) -> Any:
    """GX's result for an expectation, by GX's own code, from figures that go by the names of its metrics.

    What the gate could not evaluate has failed here too; what it passed for another reason than the figures (nothing to
    hold them against yet, accepted by hand) passes.
    """
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.metadata_types import FailureSeverity

    meta = dict(found["meta"])
    severity = FailureSeverity.WARNING if meta.get("severity") == "warn" else FailureSeverity.CRITICAL
    configuration = ExpectationConfiguration(
        type=found["type"], kwargs=dict(found["kwargs"]), meta=meta, severity=severity, notes=_notes(meta)
    )
    if isinstance(found["figures"], str):
        raised = {"raised_exception": True, "exception_message": found["figures"], "exception_traceback": ""}
        return ExpectationValidationResult(success=False, expectation_config=configuration, exception_info=raised)
    expectation = configuration.to_domain_obj()
    runtime = {"result_format": dict(SUMMARY)}
    needed = expectation.get_validation_dependencies(runtime_configuration=runtime).metric_configurations
    metrics = {metric.id: found["figures"].get(name) for name, metric in needed.items()}
    result = expectation.metrics_validate(metrics=metrics, runtime_configuration=runtime)
    result.expectation_config = configuration
    if found["waived"]:
        result.success = True
    return result


def _notes(meta: Mapping[str, Any]) -> list[str]:
    labels = {"why": "Why", "note": "Bounds", "do": "When it is not met"}
    return [f"{label}: {meta[key]}" for key, label in labels.items() if meta.get(key)]


def _store(context: Any, night: Night, gate: str, suite: str, results: Sequence[Any]) -> None:
    from great_expectations.core import ExpectationSuite, ExpectationSuiteValidationResult, RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    met = sum(bool(result.success) for result in results)
    at = dt.datetime.combine(night.run_date, dt.time(), dt.UTC)
    run = RunIdentifier(run_name=f"{gate} {night.run_date}", run_time=at)
    statistics = {
        "evaluated_expectations": len(results),
        "successful_expectations": met,
        "unsuccessful_expectations": len(results) - met,
        "success_percent": 100 * met / len(results) if results else None,
    }
    found = ExpectationSuiteValidationResult(
        success=met == len(results),
        results=list(results),
        suite_name=suite,
        statistics=statistics,
        meta={"run_id": run, "validation_time": at, "active_batch_definition": {"gate": gate}},
    )
    suites = ExpectationSuite(name=suite, expectations=[result.expectation_config for result in results])
    context.suites.add(suites)
    key = ValidationResultIdentifier(
        expectation_suite_identifier=ExpectationSuiteIdentifier(suite), run_id=run, batch_identifier=gate
    )
    context.validation_results_store.set(key, found)


def _import_gx() -> None:
    """Import GX without a word, without a report of its use to anyone, and without the engines that are not used here.

    They are a third of the import, and GX does without any that is not installed. Of `google` only what is Google's own
    is hidden: gRPC lives there too, and Spark, if it has been imported before, needs it.
    """
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.ExitStack() as hidden:
        warnings.simplefilter("ignore")
        for name in ENGINES - set(sys.modules):
            sys.modules[name] = None  # type: ignore[assignment]
            hidden.callback(sys.modules.pop, name)
        import great_expectations  # noqa: F401


def _context(site: Path) -> Any:
    """A context in memory that writes its Data Docs to `site`, and nothing anywhere else."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    shutil.rmtree(site, ignore_errors=True)
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site)}
    index = {"class_name": "DefaultSiteIndexBuilder"}
    pages = {"class_name": "SiteBuilder", "site_index_builder": index, "store_backend": store}
    stores = InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    config = DataContextConfig(store_backend_defaults=stores, data_docs_sites={"night": pages})
    return gx.get_context(mode="ephemeral", project_config=config)
