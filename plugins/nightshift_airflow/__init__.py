"""What nightshift adds to Airflow: a schedule of business days, an operator that runs a step, and pages for reports."""

from nightshift_airflow.step import StepOperator
from nightshift_airflow.timetable import BusinessDayTimetable

__all__ = ["BusinessDayTimetable", "StepOperator"]
