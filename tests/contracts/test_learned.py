"""A learned bound follows what is usual, whatever odd nights there were, and is silent until it knows enough."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.contracts.learned import Learning, band

MONDAY = dt.date(2011, 11, 28)
VOLUME = Learning("rows", nights=28, spread=4, least=1.5, most=2)
SHARE = Learning("share", nights=28, spread=4, least=0.05, most=0.5, scale="difference")


def before(values: list[float], run_date: dt.date = MONDAY) -> list[tuple[dt.date, float]]:
    """One value a night, the last of them the night before."""
    first = run_date - dt.timedelta(days=len(values))
    return [(first + dt.timedelta(days=n), value) for n, value in enumerate(values)]


def test_a_steady_figure_may_move_by_the_least_width() -> None:
    found = band(before([100.0] * 28), MONDAY, VOLUME, 8)
    assert (found.low, found.high) == pytest.approx((100 / 1.5, 150))
    assert found.told == "learned from 28 nights up to 2011-11-27"
    found = band(before([0.2] * 28), MONDAY, SHARE, 8)
    assert (found.low, found.high) == pytest.approx((0.15, 0.25))


def test_an_unsteady_figure_may_move_more_but_never_beyond_the_widest() -> None:
    unsteady = band(before([100.0, 112.0, 90.0] * 9), MONDAY, VOLUME, 8)
    assert unsteady.high is not None
    assert 150 < unsteady.high < 200
    wild = band(before([10.0, 1000.0, 100.0] * 9), MONDAY, VOLUME, 8)
    assert (wild.low, wild.high) == pytest.approx((50, 200))


def test_a_few_odd_nights_move_it_hardly() -> None:
    usual = band(before([100.0, 101.0, 99.0, 100.0] * 7), MONDAY, VOLUME, 8)
    odd = band(before([100.0, 101.0, 99.0, 100.0] * 6 + [100.0, 1e6, 1.0, 100.0]), MONDAY, VOLUME, 8)
    assert (odd.low, odd.high) == pytest.approx((usual.low, usual.high), rel=0.01)


def test_weekdays_are_compared_with_themselves_once_there_are_enough() -> None:
    sundays = [20.0 if (MONDAY - dt.timedelta(days=42 - n)).weekday() == 6 else 100.0 for n in range(42)]
    weekly = replace(VOLUME, nights=42, by_weekday=True)
    sunday = MONDAY + dt.timedelta(days=6)
    history = [*before(sundays), *[(MONDAY + dt.timedelta(days=n), 100.0) for n in range(6)]]
    found = band(history, sunday, weekly, 8)
    assert (found.low, found.high) == pytest.approx((20 / 1.5, 30))
    assert found.told == "learned from 6 Sundays up to 2011-11-27"
    young = band(history[-10:], sunday, weekly, 8)
    assert young.told == "learned from 10 nights up to 2011-12-03"


@pytest.mark.parametrize("nights", [0, 3, 7])
def test_with_too_little_history_it_bounds_nothing_and_says_so(nights: int) -> None:
    found = band(before([100.0] * nights), MONDAY, VOLUME, 8)
    assert (found.low, found.high) == (None, None)
    assert found.told == f"not enough history ({nights} of 8 nights)"


def test_nights_without_the_figure_are_no_history() -> None:
    found = band(before([100.0] * 4 + [float("nan"), 0.0, -3.0] * 9), MONDAY, VOLUME, 8)
    assert found.told == "not enough history (4 of 8 nights)"


@given(st.lists(st.floats(0.01, 1e9), min_size=8, max_size=60), st.integers(0, 59))
def test_only_the_last_nights_count_and_never_the_night_itself(values: list[float], further: int) -> None:
    history = before(values)
    found = band(history, MONDAY, VOLUME, 8)
    assert found == band(history[-28:], MONDAY, VOLUME, 8)
    assert found.low is not None
    assert found.high is not None
    assert 1.5**2 * 0.999 <= found.high / found.low <= 2**2 * 1.001
    with pytest.raises(ValueError, match="is not before the run date 2011-11-28"):
        band([*history, (MONDAY + dt.timedelta(days=further), 1.0)], MONDAY, VOLUME, 8)


def test_a_band_that_could_not_be_one_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="1 <= least <= most"):
        replace(VOLUME, least=0.5)
    with pytest.raises(ValueError, match="0 <= least <= most"):
        replace(SHARE, most=0.01)
