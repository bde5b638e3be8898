"""
### Search better settings for the models

Tries settings of the ranker, the candidates, the graph filter and the two-tower model, by what had happened before the
test days of the night that is named; its features must have been built. Every trial is a run in MLflow. What is
surely better becomes the settings of the next night's challenger, which the night's gate judges like any other:
docs/tuning.md.

*By hand:* trigger with the run date of the newest night. The same run date again goes on where the search was. It waits
until no night is running, and starts no further trial when one begins.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from nightshift_airflow import StepOperator
from nightshift_airflow.forms import run_date


@dag(
    schedule=None,
    start_date=datetime(2010, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["nightshift", "by hand"],
    params={
        "run_date": run_date("A night that has built its features; best the newest, like 2011-11-30. Needed here."),
        "minutes": Param(
            30, type="integer", minimum=1, title="Minutes", description="That the search may take, all in all."
        ),
        "trials": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Trials",
            description="At most, earlier ones included. Left empty: as many as the minutes allow.",
        ),
    },
)
def hyperparameter_search():
    @task.sensor(poke_interval=60, timeout=timedelta(hours=12).total_seconds(), mode="reschedule")
    def wait_for_the_night(ti: Any = None) -> bool:
        """Both would want all cores: until no night is running or about to."""
        return ti.get_dr_count("nightly_recommendations", states=["queued", "running"]) == 0

    search = StepOperator(
        task_id="search", options={"minutes": "{{ params.minutes }}", "trials": "{{ params.trials or '' }}"}
    )
    wait_for_the_night() >> search


hyperparameter_search()
