"""Fields that the trigger forms of several DAGs share."""

from __future__ import annotations

from airflow.sdk import Param


def run_date(description: str) -> Param:
    """The business day; it may be left empty."""
    return Param(None, type=["null", "string"], format="date", title="Run date", description=description)


def window(title: str, otherwise: str) -> Param:
    """Two days as FROM..TO; left empty it means `otherwise`."""
    pattern = r"^\d{4}-\d{2}-\d{2}\.\.\d{4}-\d{2}-\d{2}$"
    description = f"FROM..TO; left empty: {otherwise}."
    return Param(None, type=["null", "string"], pattern=pattern, title=title, description=description)
