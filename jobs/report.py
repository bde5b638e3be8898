"""Write the night's report: one HTML page with plots, from what the night's steps left behind.

    python -m jobs.report --run-date 2011-11-30

It copes with a night that failed: it shows what there is and names the step that stopped it. The page lies in
NIGHTSHIFT_HOME under reports/nights/<run date>.html and needs no other file and no network. Beside it, under
reports/data_docs, lie Great Expectations' Data Docs of the night's gates.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from jobs import command
from nightshift.contracts import data_docs
from nightshift.features.lineage import load_states
from nightshift.lake import Lake
from nightshift.monitoring.report import page
from nightshift.monitoring.report.features_page import features_page
from nightshift.monitoring.report.night import gather
from nightshift.monitoring.report.night_page import night_page
from nightshift.runs import Night, StepError

log = logging.getLogger("nightshift.report")


def report(night: Night) -> dict[str, Any]:
    """Write the page. Returns where it lies, how the night went, and the step that stopped it, if one did."""
    started = time.monotonic()
    otherwise = data_docs.build(night)
    seconds = time.monotonic() - started
    found = gather(night)
    html = night_page(found, night.settings)
    file = page.write(night.home / "reports" / "nights" / f"{night.run_date}.html", html)
    log.info("report: %s: %s", found.headline[1], file)
    if night.run_date in {state.run_date for state in load_states(Lake(night.home / "lake"))}:
        page.write(night.home / "reports" / "features.html", features_page(night))
    if otherwise:
        raise StepError(f"the gates and Great Expectations do not agree, see contracts/verdict.py: {otherwise[0]}")
    return {
        "report": str(file),
        "headline": found.headline[1],
        "stopped_at": found.stopped.name if found.stopped else None,
        "customers": [customer.user_id for customer in found.customers],
        "bytes": len(html.encode()),
        "validation_seconds": round(seconds, 2),
    }


if __name__ == "__main__":
    command.run(report, __doc__)
