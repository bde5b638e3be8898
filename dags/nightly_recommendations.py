"""
### Recommendations, made overnight

Turns one business day's events into published lists: **ingest** the day's file, **validate** it, build **features**
point in time, **train** the challenger and **index** its items, **evaluate** it against the champion and the
baselines, **infer** a list for every user with the winner, **validate** the lists, **promote**, **publish**,
**report**.

A step that fails stops the night, and what is live stays live. Every step can be run again.

*By hand:* trigger with a `run_date`. *Days past:* `make backfill FROM=2011-11-01 TO=2011-11-07`; an older day than
the live one is published without going live. *A night that failed:* docs/runbook.md.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from airflow.sdk import chain, dag, setup, task, teardown

from nightshift.config import load
from nightshift_airflow import BusinessDayTimetable, StepOperator
from nightshift_airflow.forms import run_date

source = load().source

PATIENT = {"retries": 2, "retry_delay": timedelta(minutes=1), "retry_exponential_backoff": True}


@dag(
    schedule=BusinessDayTimetable(2, source.timezone, source.last_day and source.last_day.isoformat()),
    start_date=datetime.combine(source.first_day, time(), UTC),
    catchup=False,
    max_active_runs=1,
    default_args=PATIENT,
    doc_md=__doc__,
    tags=["nightshift"],
    params={
        "run_date": run_date("The business day to process. Left empty: the day that the schedule or command names."),
    },
)
def nightly_recommendations():
    @setup
    @task
    def start_engine() -> dict[str, int]:
        """Start the warm Spark server that the night's steps share; nothing, if Spark runs elsewhere."""
        from jobs.engine import start

        return start()

    @teardown
    @task
    def stop_engine() -> None:
        """Stop it, unless another night or a command still uses it."""
        from jobs.engine import stop

        stop()

    steps = [
        StepOperator(task_id="ingest"),
        StepOperator(task_id="validate_events"),
        StepOperator(task_id="build_features"),
        StepOperator(task_id="train"),
        StepOperator(task_id="build_index"),
        StepOperator(task_id="evaluate"),
        StepOperator(task_id="infer"),
        StepOperator(task_id="validate_lists"),
        StepOperator(task_id="promote"),
        StepOperator(task_id="publish"),
        StepOperator(task_id="report"),
    ]
    started, stopped = start_engine(), stop_engine()
    chain(started, *steps)
    steps[2] >> stopped.as_teardown(setups=started)  # nothing after the features needs Spark


nightly_recommendations()
