import math

import numpy as np
import pytest

from nightshift.evaluation import intervals
from nightshift.evaluation.intervals import interval


def test_nineteen_of_twenty_intervals_hold_the_truth(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 400)
    rng = np.random.default_rng(3)
    found = [interval(rng.exponential(1.0, 200), seed=n) for n in range(400)]
    held = np.mean([one.low <= 1.0 <= one.high for one in found])
    assert 0.91 < held < 0.98


def test_the_same_values_give_the_same_interval_whatever_is_drawn_at_once(monkeypatch: pytest.MonkeyPatch):
    values = np.random.default_rng(4).random(300)
    whole = interval(values, seed=1)
    monkeypatch.setattr(intervals, "DRAWN_AT_ONCE", 1000)
    assert interval(values, seed=1) == whole
    assert interval(values, seed=2) != whole


def test_from_many_users_on_the_drawing_is_left_out_and_tells_the_same(monkeypatch: pytest.MonkeyPatch):
    values = np.random.default_rng(4).random(3000)
    drawn = interval(values, seed=1)
    monkeypatch.setattr(intervals, "MANY", 3000)
    computed = interval(values, seed=1)
    assert (computed.low, computed.high) == pytest.approx((drawn.low, drawn.high), abs=1e-3)


def test_nobody_tells_nothing_and_one_alone_nothing_of_others():
    assert math.isnan(interval(np.empty(0), seed=1).low)
    assert math.isnan(interval(np.array([0.1, math.nan]), seed=1).low)
    alone = interval(np.array([0.4]), seed=1)
    assert (alone.low, alone.mean, alone.high) == (-math.inf, 0.4, math.inf)
