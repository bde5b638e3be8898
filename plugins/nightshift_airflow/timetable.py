"""A schedule by business day: the run for a day starts on the next day at a set hour.

The run's logical date is midnight UTC of the business day itself, as a name for it: `airflow backfill create
--from-date 2011-05-01 --to-date 2011-05-03` and `airflow dags test DAG 2011-05-03` mean the days that they name, the
last included.
"""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable

DAY = dt.timedelta(days=1)


class BusinessDayTimetable(Timetable):
    """Daily at `hour` o'clock in `timezone`, for the business day that has just ended there, up to `last_day` (ISO)."""

    def __init__(self, hour: int, timezone: str, last_day: str | None = None) -> None:
        self.hour, self.timezone, self.last_day = hour, timezone, last_day

    @property
    def summary(self) -> str:
        return f"daily at {self.hour:02d}:00 {self.timezone}, for the day before"

    def serialize(self) -> dict[str, Any]:
        return {"hour": self.hour, "timezone": self.timezone, "last_day": self.last_day}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Timetable:
        return cls(**data)

    def infer_manual_data_interval(self, *, run_after: pendulum.DateTime) -> DataInterval:
        """The day on which the run was asked for."""
        return self._interval(run_after.in_timezone("UTC").date())

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The run after the last one; without catch-up not one older than the newest that is due."""
        days: list[dt.date] = []
        if last_automated_data_interval is not None:
            days.append(last_automated_data_interval.start.in_timezone("UTC").date() + DAY)
        elif restriction.earliest is not None:
            days.append((restriction.earliest.in_timezone("UTC") + DAY - dt.timedelta(microseconds=1)).date())
        if not restriction.catchup or not days:
            days.append(self._newest_due(pendulum.now("UTC")))
        if self.last_day and max(days).isoformat() > self.last_day:
            return None
        interval = self._interval(max(days))
        if restriction.latest is not None and interval.start > restriction.latest:
            return None
        return DagRunInfo(run_after=self._run_after(max(days)), data_interval=interval)

    def _newest_due(self, now: pendulum.DateTime) -> dt.date:
        day = now.in_timezone(self.timezone).date() - DAY
        return day if self._run_after(day) <= now else day - DAY

    def _run_after(self, day: dt.date) -> pendulum.DateTime:
        local = dt.datetime.combine(day + DAY, dt.time(self.hour), ZoneInfo(self.timezone))
        return pendulum.instance(local).in_timezone("UTC")

    @staticmethod
    def _interval(day: dt.date) -> DataInterval:
        start = pendulum.datetime(day.year, day.month, day.day)
        return DataInterval(start=start, end=start.add(days=1))
