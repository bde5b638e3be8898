"""
### Keep the lake small

Once a week, and beside a night if need be: merges the small files of each run date, removes files that no version
within `lake.retention_days` needs, checkpoints the tables' logs, and sweeps what killed runs left staged. The rows of
the tables do not change. What was done for each table is in the task's return value.

*By hand:* trigger with *Dry run* to see what would be done.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import Param, dag

from nightshift_airflow import StepOperator


@dag(
    schedule="0 12 * * 0",
    start_date=datetime(2010, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(minutes=5)},
    doc_md=__doc__,
    tags=["nightshift"],
    params={
        "dry_run": Param(False, type="boolean", title="Dry run", description="Say what would be done, and do nothing.")
    },
)
def maintenance():
    StepOperator(task_id="maintain", dated=False, options={"dry-run": "{{ 'yes' if params.dry_run else '' }}"})


maintenance()
