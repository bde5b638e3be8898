"""Registers nightshift's schedule, links and report pages with Airflow."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from nightshift.config import load
from nightshift.runs import home_of
from nightshift_airflow.links import PREFIX, NightReportLink
from nightshift_airflow.timetable import BusinessDayTimetable


def _reports() -> Starlette:
    """The reports folder of this NIGHTSHIFT_HOME, read only."""
    folder = home_of(load()) / "reports"
    return Starlette(routes=[Mount("/", StaticFiles(directory=folder, html=True, check_dir=False))])


class NightshiftPlugin(AirflowPlugin):
    name = "nightshift"
    timetables = (BusinessDayTimetable,)
    operator_extra_links = (NightReportLink(),)
    fastapi_apps = ({"app": _reports(), "url_prefix": PREFIX, "name": "nightshift reports"},)
