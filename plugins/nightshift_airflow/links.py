"""From a task in Airflow's pages to the report it wrote."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperatorLink
from airflow.sdk.bases.xcom import BaseXCom

PREFIX = "/nightshift"  # where the plugin serves the reports folder


class NightReportLink(BaseOperatorLink):
    """The page that a step's summary names as `report`."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        summary = BaseXCom.get_value(ti_key=ti_key, key="return_value") or {}
        report = str(summary.get("report", ""))
        return f"{PREFIX}/{report.rsplit('/reports/', 1)[-1]}" if "/reports/" in report else ""
