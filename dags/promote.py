"""
### Make a model the champion, by hand

From the run date on, nights infer with this version until a challenger beats it. What is published does not change
now. The versions, with their figures, are in MLflow under the registered model. Running an old night again keeps a
promotion by hand.
"""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import Param, dag

from nightshift_airflow import StepOperator


@dag(
    schedule=None,
    start_date=datetime(2010, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    doc_md=__doc__,
    tags=["nightshift", "by hand"],
    params={
        "version": Param(
            type="string", minLength=1, title="Version", description="Of the registered model in MLflow, like 7."
        ),
        "run_date": Param(
            type="string",
            format="date",
            title="From run date",
            description="The first night after this day finds it as champion.",
        ),
    },
)
def promote():
    StepOperator(task_id="promote", options={"version": "{{ params.version }}"})


promote()
