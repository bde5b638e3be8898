"""One resolver says which business day a run is for, and one function when that day ends."""

from __future__ import annotations

import datetime as dt

import pytest

from nightshift.runs import RunDateError, day_end, resolve_run_date
from nightshift.runs.dates import parse_run_date

MIDNIGHT = dt.datetime(2011, 11, 3, tzinfo=dt.UTC)


def test_the_form_wins_over_the_partition_key_and_that_over_the_logical_date() -> None:
    assert resolve_run_date({"run_date": "2011-11-01"}, "2011-11-02", MIDNIGHT) == dt.date(2011, 11, 1)
    assert resolve_run_date({"run_date": None}, "2011-11-02", MIDNIGHT) == dt.date(2011, 11, 2)
    assert resolve_run_date({}, None, MIDNIGHT) == dt.date(2011, 11, 3)
    assert resolve_run_date(None, None, MIDNIGHT) == dt.date(2011, 11, 3)


def test_a_logical_date_names_its_day_in_utc_whatever_zone_it_is_written_in() -> None:
    in_sydney = MIDNIGHT.astimezone(dt.timezone(dt.timedelta(hours=11)))
    assert resolve_run_date(None, None, in_sydney) == dt.date(2011, 11, 3)


@pytest.mark.parametrize("moment", [None, MIDNIGHT + dt.timedelta(hours=2), MIDNIGHT + dt.timedelta(microseconds=1)])
def test_the_moment_of_a_trigger_names_no_day(moment: dt.datetime | None) -> None:
    with pytest.raises(RunDateError, match="no run date: give run_date in the trigger form, or a logical date"):
        resolve_run_date({}, None, moment)


@pytest.mark.parametrize("wrong", ["2011-11-31", "yesterday", "01/11/2011", "2011-11-01T00:00:00"])
def test_what_is_no_day_is_refused_with_where_it_came_from(wrong: str) -> None:
    with pytest.raises(RunDateError, match=f"the form's run_date '{wrong}' is not a day like 2011-11-30"):
        resolve_run_date({"run_date": wrong}, "2011-11-02", MIDNIGHT)
    with pytest.raises(RunDateError, match=f"the partition key '{wrong}' is not a day"):
        resolve_run_date({}, wrong, MIDNIGHT)
    with pytest.raises(RunDateError, match=f"run date '{wrong}' is not a day"):
        parse_run_date(wrong)


@pytest.mark.parametrize(
    ("day", "zone", "end"),
    [
        ("2011-11-30", "UTC", "2011-12-01T00:00"),
        ("2011-03-26", "Europe/London", "2011-03-27T00:00"),
        ("2011-03-27", "Europe/London", "2011-03-27T23:00"),  # the clocks went forward: 23 hours
        ("2011-10-29", "Europe/London", "2011-10-29T23:00"),
        ("2011-10-30", "Europe/London", "2011-10-31T00:00"),  # and back: 25 hours
        ("2011-11-30", "America/New_York", "2011-12-01T05:00"),
    ],
)
def test_a_day_ends_at_its_own_midnight(day: str, zone: str, end: str) -> None:
    assert day_end(dt.date.fromisoformat(day), zone) == dt.datetime.fromisoformat(end).replace(tzinfo=dt.UTC)
