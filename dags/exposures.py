"""
### Land what was shown

After each business day: brings what the lookup service has written down of the lists it showed into the lake's table
`exposures`, which experiments are read out from. What comes late of a day before goes to its day, and landing a day
again changes nothing. How many were dropped for want of room is in the task's return value: docs/experiments.md.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from airflow.sdk import dag

from nightshift.config import load
from nightshift_airflow import BusinessDayTimetable, StepOperator
from nightshift_airflow.forms import run_date

source = load().source


@dag(
    schedule=BusinessDayTimetable(1, source.timezone),  # lists are shown when the source has ended, too
    start_date=datetime.combine(source.first_day, time(), UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    doc_md=__doc__,
    tags=["nightshift"],
    params={
        "run_date": run_date("The last business day to land. Left empty: the day that the schedule names."),
    },
)
def exposures():
    StepOperator(task_id="land_exposures")


exposures()
