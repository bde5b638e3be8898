"""
### What has drifted

Compares the last days with what the live model learned from: PSI and KL by feature and for scores, missing rates, new
and lost categories, freshness. Says `insufficient data` rather than guess. Writes a page and the Delta table
`drift_results`; over the threshold it raises an alert, and if the configuration says so it asks for a night's
retraining.

*By hand:* trigger with any two windows, like `2011-09-01..2011-09-30` and `2011-11-01..2011-11-30`.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import dag, task

from nightshift.config import load
from nightshift_airflow import BusinessDayTimetable, StepOperator
from nightshift_airflow.forms import run_date, window

source = load().source


@dag(
    schedule=BusinessDayTimetable(6, source.timezone, source.last_day and source.last_day.isoformat()),
    start_date=datetime.combine(source.first_day, time(), UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(minutes=1)},
    doc_md=__doc__,
    tags=["nightshift"],
    params={
        "run_date": run_date("The last day of the current window. Left empty: the day that the schedule names."),
        "reference": window("Reference window", otherwise="what the live model learned from"),
        "current": window("Current window", otherwise="the last days up to the run date"),
    },
)
def drift_report():
    report = StepOperator(
        task_id="drift_report",
        options={"reference": "{{ params.reference or '' }}", "current": "{{ params.current or '' }}"},
    )

    @task.short_circuit
    def is_retraining_asked_for(summary: dict) -> bool:
        return bool(summary["retrain"])

    retrain = TriggerDagRunOperator(
        task_id="retrain",
        trigger_dag_id="nightly_recommendations",
        conf={"run_date": "{{ ti.xcom_pull(task_ids='drift_report')['run_date'] }}"},
    )
    is_retraining_asked_for(report.output) >> retrain


drift_report()
