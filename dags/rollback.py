"""
### Back to the run before

Moves the pointer of what is live to the run that was live before, or to a run that you name. Nothing is deleted: the
run that is taken back stays in the store, and publishing it again does not make it live again.

The lookup service follows within a second or two. The champion stays who it is: to change that, use the DAG
`promote`.
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
        "to": Param(
            None,
            type=["null", "string"],
            title="Run",
            description="A run id, or a run date, or both as 2011-11-30/ID. Left empty: the run live before.",
        ),
    },
)
def rollback():
    StepOperator(task_id="rollback", dated=False, options={"to": "{{ params.to or '' }}"})


rollback()
