"""A run is for the day before it, whatever the clocks do; a backfill runs the days that it names, the last too."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pendulum
import pytest
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction

from nightshift_airflow import timetable
from nightshift_airflow.timetable import BusinessDayTimetable

LONDON = BusinessDayTimetable(2, "Europe/London")


def moment(text: str) -> pendulum.DateTime:
    parsed = pendulum.parse(text)
    assert isinstance(parsed, pendulum.DateTime)
    return parsed


def runs(table: BusinessDayTimetable, first: str, last: str) -> Iterator[DagRunInfo]:
    """As Airflow's own backfill asks for them."""
    restriction = TimeRestriction(moment(first), moment(last), catchup=True)
    info = None
    while info := table.next_dagrun_info_v2(last_dagrun_info=info, restriction=restriction):
        yield info


def days(infos: Iterator[DagRunInfo]) -> list[str]:
    return [info.logical_date.to_date_string() for info in infos if info.logical_date]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[pendulum.Time]:
    def at(text: str) -> None:
        monkeypatch.setattr(timetable.pendulum, "now", lambda zone: moment(text).in_timezone(zone))

    return at  # type: ignore[return-value]


def scheduled(table: BusinessDayTimetable, last: str | None = None, start: str = "2010-12-01") -> DagRunInfo | None:
    """The run that a scheduler without catch-up makes next."""
    interval = DataInterval(moment(last), moment(last).add(days=1)) if last else None
    restriction = TimeRestriction(moment(start), None, catchup=False)
    return table.next_dagrun_info(last_automated_data_interval=interval, restriction=restriction)


@pytest.mark.parametrize(
    ("now", "day", "starts"),
    [
        ("2011-12-01T02:00:00+00:00", "2011-11-30", "2011-12-01T02:00:00+00:00"),
        ("2011-12-01T01:59:59+00:00", "2011-11-29", "2011-11-30T02:00:00+00:00"),
        ("2011-06-02T01:30:00+00:00", "2011-06-01", "2011-06-02T01:00:00+00:00"),  # summer: two o'clock is one in UTC
        ("2011-03-27T12:00:00+00:00", "2011-03-26", "2011-03-27T01:00:00+00:00"),  # the morning of 23 hours
        ("2011-10-30T12:00:00+00:00", "2011-10-29", "2011-10-30T02:00:00+00:00"),  # and of 25
    ],
)
def test_a_run_at_two_in_the_morning_is_for_the_day_before(clock, now: str, day: str, starts: str) -> None:  # type: ignore[no-untyped-def]
    clock(now)
    found = scheduled(LONDON)
    assert found is not None
    assert found.logical_date == moment(f"{day}T00:00:00+00:00")
    assert found.run_after == moment(starts)


def test_over_both_changes_of_the_clocks_every_day_runs_once_at_two_local_time() -> None:
    for first, last in (("2011-03-24", "2011-03-29"), ("2011-10-27", "2011-11-01")):
        found = list(runs(LONDON, first, last))
        assert [info.logical_date.day_of_year for info in found] == list(  # type: ignore[union-attr]
            range(moment(first).day_of_year, moment(last).day_of_year + 1)
        )
        for info in found:
            assert info.run_after.in_timezone("Europe/London").hour == 2
            assert info.run_after.in_timezone("Europe/London").date() == info.logical_date.date() + dt.timedelta(days=1)


def test_a_backfill_runs_the_days_that_it_names_the_last_included() -> None:
    assert days(runs(LONDON, "2011-05-01", "2011-05-03")) == ["2011-05-01", "2011-05-02", "2011-05-03"]
    assert days(runs(LONDON, "2011-05-01", "2011-05-01")) == ["2011-05-01"]
    assert days(runs(LONDON, "2011-05-01T10:00:00", "2011-05-02T23:00:00")) == ["2011-05-02"]


def test_after_the_sources_last_day_nothing_runs(clock) -> None:  # type: ignore[no-untyped-def]
    ended = BusinessDayTimetable(2, "Europe/London", "2011-12-09")
    assert days(runs(ended, "2011-12-08", "2011-12-31")) == ["2011-12-08", "2011-12-09"]
    clock("2026-01-01T00:00:00+00:00")
    assert scheduled(ended) is None
    assert scheduled(ended, last="2011-12-09") is None


def test_a_scheduler_that_slept_does_the_newest_day_and_not_one_twice(clock) -> None:  # type: ignore[no-untyped-def]
    clock("2011-12-01T03:00:00+00:00")
    found = [scheduled(LONDON, last=day) for day in ("2011-11-01", "2011-11-29", "2011-11-30")]
    assert days(info for info in found if info) == ["2011-11-30", "2011-11-30", "2011-12-01"]
    assert scheduled(LONDON, start="2012-01-01") is None or days(iter([scheduled(LONDON, start="2012-01-01")])) == [  # type: ignore[list-item]
        "2012-01-01"
    ]


def test_a_run_by_hand_is_on_the_day_it_was_asked_for() -> None:
    interval = LONDON.infer_manual_data_interval(run_after=moment("2011-11-30T15:30:00+00:00"))
    assert (interval.start, interval.end) == (moment("2011-11-30"), moment("2011-12-01"))


def test_it_survives_airflows_database() -> None:
    ended = BusinessDayTimetable(3, "Europe/Berlin", "2011-12-09")
    again = BusinessDayTimetable.deserialize(ended.serialize())
    assert again.serialize() == ended.serialize()
    assert again.summary == "daily at 03:00 Europe/Berlin, for the day before"
