"""Whoever looks every day is misled no more often than it is said; who does so with Welch's test is, far more often."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from nightshift.experiments.sequential import Sequence
from nightshift.experiments.statistics import Arm, difference

ALPHA, LOOKS, A_DAY = 0.05, 28, 100


def values(rng: np.random.Generator, users: int, lift: float = 0.0) -> np.ndarray:
    """What most shops' users bring: three in four nothing, the others skewed amounts."""
    return (rng.random(users) < 0.25) * rng.lognormal(3, 1, users) * (1 + lift)


def looked_at(lift: float, trials: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trials that found a difference at any of a month's daily looks: by the sequence, by its interval, by Welch."""
    rng, sequence = np.random.default_rng(seed), Sequence(ALPHA, LOOKS * A_DAY)
    found = np.zeros((3, trials), dtype=bool)
    for trial in range(trials):
        one, other = values(rng, LOOKS * A_DAY // 2, lift), values(rng, LOOKS * A_DAY // 2)
        for look in range(4, LOOKS + 1):
            upto = look * A_DAY // 2
            seen = difference(Arm.of(one[:upto]), Arm.of(other[:upto]))
            interval = sequence.interval(seen.value, seen.error, 2 * upto)
            found[0, trial] |= sequence.p_value(seen.value, seen.error, 2 * upto) < ALPHA
            found[1, trial] |= not interval.low <= 0 <= interval.high
            found[2, trial] |= seen.p_value < ALPHA
    return found[0], found[1], found[2]


def test_an_experiment_of_no_difference_is_seldom_called_one_by_who_looks_every_day() -> None:
    by_p, by_interval, by_welch = looked_at(lift=0.0, trials=500, seed=11)
    assert binom.sf(by_p.sum() - 1, len(by_p), ALPHA) > 0.01, f"{by_p.mean():.1%} of the trials"
    assert (by_p == by_interval).all(), "the p-value and the interval are one bound"
    assert by_welch.mean() > 3 * ALPHA, "what peeking does to a test that is made for one look"


def test_a_planted_lift_is_found() -> None:
    by_p, _, _ = looked_at(lift=0.6, trials=100, seed=12)
    assert by_p.mean() > 0.8


@pytest.mark.parametrize(("alpha", "planned"), [(0.05, 1000), (0.1, 30), (0.001, 10**6)])
def test_intervals_are_the_sharpest_at_the_planned_users(alpha: float, planned: int) -> None:
    at_planned = Sequence(alpha, planned).interval(0, 1, planned).high
    best = minimize_scalar(
        lambda log: Sequence(alpha, round(math.exp(log))).interval(0, 1, planned).high,
        bounds=(math.log(planned) - 3, math.log(planned) + 3),
        method="bounded",
    )
    assert at_planned == pytest.approx(best.fun, rel=1e-3)


@given(st.floats(-8, 8), st.integers(10, 10**6), st.integers(10, 10**6), st.sampled_from([0.01, 0.05, 0.2]))
@settings(max_examples=100, deadline=None)
def test_the_p_value_says_what_the_interval_says(value: float, users: int, planned: int, alpha: float) -> None:
    sequence = Sequence(alpha, planned)
    interval, p_value = sequence.interval(value, 1.0, users), sequence.p_value(value, 1.0, users)
    assert 0 <= p_value <= 1
    assert (p_value < alpha) == (not interval.low <= 0 <= interval.high)


def test_nothing_is_known_before_anything_is_seen() -> None:
    sequence = Sequence(0.05, 1000)
    assert sequence.interval(1, 0, 10) == sequence.interval(1, 1, 0)
    assert sequence.interval(1, 0, 10).low == -math.inf
    assert sequence.p_value(1, 0, 10) == sequence.p_value(1, 1, 0) == 1
