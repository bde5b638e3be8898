"""The run date: the business day that a night processes. Nothing else reads Airflow's dates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo


class RunDateError(ValueError):
    """No run date can be told, or the one that was given is not a day."""


def resolve_run_date(
    form: Mapping[str, Any] | None, partition_key: str | None, logical_date: dt.datetime | None
) -> dt.date:
    """The business day of a run: the form's `run_date`, else the partition key, else the logical date's day.

    A schedule and a command name a day as its midnight in UTC: `2011-05-03`. A run triggered without one carries the
    moment of its trigger, which names no day that has ended.

    Raises:
        RunDateError: none of the three names a day.
    """
    for origin, value in (("the form's run_date", (form or {}).get("run_date")), ("the partition key", partition_key)):
        if value:
            return parse_run_date(str(value), origin)
    if logical_date is not None and logical_date.astimezone(dt.UTC).time() == dt.time():
        return logical_date.astimezone(dt.UTC).date()
    raise RunDateError("no run date: give run_date in the trigger form, or a logical date, like 2011-11-30")


def parse_run_date(value: str, origin: str = "run date") -> dt.date:
    """Read `2011-11-30`.

    Raises:
        RunDateError: it is not such a day.
    """
    try:
        return dt.date.fromisoformat(value)
    except ValueError:
        raise RunDateError(f"{origin} {value!r} is not a day like 2011-11-30") from None


def day_end(day: dt.date, timezone: str) -> dt.datetime:
    """The first instant, in UTC, that is not of the business day any more."""
    midnight = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), ZoneInfo(timezone))
    return midnight.astimezone(dt.UTC)
