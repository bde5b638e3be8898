"""The catalogue of features as one HTML page: lineage, null rate and last drift of each."""

from __future__ import annotations

from itertools import groupby

from nightshift.features.catalogue import catalogue, null_shares
from nightshift.lake import Lake
from nightshift.monitoring.report.page import render
from nightshift.runs import Night

DRIFT_COLUMNS = ["run_date", "frame", "feature", "verdict", "psi"]


def features_page(night: Night) -> str:
    """The page as of the night's run date, for which its features are built."""
    lake = Lake(night.home / "lake")
    until = [("run_date", "<=", night.run_date)]
    drift = lake.pandas("drift_results", DRIFT_COLUMNS, until) if lake.exists("drift_results") else None
    entries = catalogue(night.settings, null_shares(lake, night.run_date, night.settings), drift)
    groups = [(entity, list(found)) for entity, found in groupby(entries, lambda entry: entry.feature.entity)]
    return render("features.html", groups=groups, run_date=night.run_date.isoformat())
