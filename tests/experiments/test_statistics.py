"""The statistics against what is known of them: textbook values, scipy, and simulations with planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nightshift.experiments.statistics import (
    Arm,
    adjusted,
    detectable,
    difference,
    holm,
    linearised,
    sample_ratio,
)

SMALL = 1e-6  # of the chance that a sound figure fails its test


def as_often(count: int, of: int, share: float) -> bool:
    return bool(min(stats.binom.cdf(count, of, share), stats.binom.sf(count - 1, of, share)) > SMALL)


def welch(one: np.ndarray, other: np.ndarray):
    return difference(Arm.of(one), Arm.of(other))


def test_a_difference_is_welchs() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(1, 3, 40), rng.normal(0, 1, 90)
    found, known = welch(one, other), stats.ttest_ind(one, other, equal_var=False)
    assert found.p_value == pytest.approx(known.pvalue)
    bounds = known.confidence_interval(0.9)
    interval = found.interval(0.9)
    assert (interval.low, interval.high) == (pytest.approx(bounds.low), pytest.approx(bounds.high))


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng, held, trials = np.random.default_rng(2), 0, 2000
    for _ in range(trials):
        one, other = rng.exponential(2, 200), rng.exponential(1, 300)
        interval = welch(one, other).interval(0.95)
        held += interval.low <= 1 <= interval.high
    assert as_often(held, trials, 0.95) or 0.935 < held / trials < 0.95  # skewed values cost a little


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0]])
def test_what_tells_nothing_decides_nothing(values: list[float]) -> None:
    found = welch(np.array(values), np.array(values))
    assert (found.p_value, found.interval(0.95).low, found.interval(0.95).high) == (1.0, -np.inf, np.inf)


def test_the_variance_of_a_ratio_is_what_drawing_users_again_gives() -> None:
    rng = np.random.default_rng(3)
    baskets = rng.poisson(2, 2000).astype(float)
    spent = baskets * rng.lognormal(2, 0.5, 2000)  # a user's baskets go together: a basket is no independent draw
    found = Arm.of(linearised(spent, baskets))
    assert found.mean == pytest.approx(spent.sum() / baskets.sum())
    drawn = rng.integers(0, 2000, (2000, 2000))
    again = spent[drawn].sum(axis=1) / baskets[drawn].sum(axis=1)
    assert np.sqrt(found.variance / found.users) == pytest.approx(again.std(), rel=0.1)


def test_a_ratio_over_nothing_is_nothing() -> None:
    assert linearised(np.zeros(3), np.zeros(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_cuped_takes_the_share_of_variance_that_was_foretold_and_leaves_the_difference(correlation: float) -> None:
    rng, gains, moved = np.random.default_rng(4), [], []
    for _ in range(200):
        before = {name: rng.normal(5, 2, 500) for name in ("control", "b")}
        noise = {name: rng.normal(0, 1, 500) for name in before}
        values = {
            name: correlation * (x - 5) / 2 + np.sqrt(1 - correlation**2) * noise[name] for name, x in before.items()
        }
        values["b"] = values["b"] + 0.3
        after = adjusted(values, before)
        plain, less = (welch(of["b"], of["control"]) for of in (values, after))
        gains.append(1 - (less.error / plain.error) ** 2)
        moved.append(less.value)
    assert np.mean(gains) == pytest.approx(correlation**2, abs=0.02)
    assert np.mean(moved) == pytest.approx(0.3, abs=4 * np.std(moved) / np.sqrt(200))


def test_what_was_the_same_before_for_all_changes_nothing() -> None:
    values = {"control": np.array([1.0, 2.0]), "b": np.array([3.0, 5.0])}
    found = adjusted(values, {name: np.ones(2) for name in values})
    assert {name: of.tolist() for name, of in found.items()} == {name: of.tolist() for name, of in values.items()}


def test_the_detectable_difference_is_found_four_times_in_five() -> None:
    rng, found, trials, users, planned = np.random.default_rng(5), 0, 2000, 400, 1600
    seen = welch(rng.normal(0, 1, users // 2), rng.normal(0, 1, users // 2))
    lift = detectable(seen.error, 0.95, users, planned)
    for _ in range(trials):
        found += welch(rng.normal(lift, 1, planned // 2), rng.normal(0, 1, planned // 2)).p_value < 0.05
    assert 0.75 < found / trials < 0.85  # the error that was seen is a draw itself


def test_counts_that_chance_gives_pass_and_others_do_not() -> None:
    rng = np.random.default_rng(6)
    low = sum(sample_ratio(rng.multinomial(10_000, [0.5, 0.25, 0.25]), [2, 1, 1]) < 0.01 for _ in range(3000))
    assert as_often(low, 3000, 0.01)
    assert sample_ratio([5000, 5000], [1, 1]) == 1
    assert sample_ratio([10_000, 10_500], [1, 1]) < 0.001
    assert sample_ratio([100, 0], [1, 1]) < 1e-9
    assert sample_ratio([0, 0], [1, 1]) == 1


def test_holm_is_the_published_examples() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5]) == [0.5]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
@settings(max_examples=50, deadline=None)
def test_holm_never_makes_a_question_surer_and_keeps_their_order(p_values: list[float]) -> None:
    found = holm(p_values)
    assert all(after >= before for before, after in zip(p_values, found, strict=True))
    assert all(after <= 1 for after in found)
    assert sorted(range(len(found)), key=lambda at: (p_values[at], at)) == sorted(
        range(len(found)), key=lambda at: (found[at], p_values[at], at)
    )
