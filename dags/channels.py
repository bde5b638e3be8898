"""
### Publish to experiments' channels

After each night: makes the lists of every channel in `experiments.channels` with the model version that it names, or
with the night's own new model, validates them, and publishes each to its channel. What is live for everybody else does
not change. Without channels there is nothing to do. It waits for a night that is late: docs/experiments.md.

*By hand:* trigger with a `run_date` whose night has been evaluated.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from airflow.sdk import dag

from nightshift.config import load
from nightshift_airflow import BusinessDayTimetable, StepOperator
from nightshift_airflow.forms import run_date

source = load().source


@dag(
    schedule=BusinessDayTimetable(4, source.timezone, source.last_day and source.last_day.isoformat()),
    start_date=datetime.combine(source.first_day, time(), UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 12, "retry_delay": timedelta(minutes=15)},
    doc_md=__doc__,
    tags=["nightshift"],
    params={
        "run_date": run_date("The night whose features are used. Left empty: the day that the schedule names."),
    },
)
def channels():
    StepOperator(task_id="publish_channels")


channels()
