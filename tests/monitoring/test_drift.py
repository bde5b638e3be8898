import datetime as dt
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nightshift.monitoring.bins import Bins, count, fit
from nightshift.monitoring.drift import Limits, compare, compare_frames, freshness, kl, psi, psi_noise

COUNTS = st.lists(st.integers(0, 10_000), min_size=2, max_size=25)


@st.composite
def two_windows(draw):
    """Counts of two windows over the same bins, each with at least a row."""
    before, now = draw(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=2, max_size=25).map(
        lambda pairs: tuple(zip(*pairs, strict=True))
    ))  # fmt: skip
    assume(sum(before) and sum(now))
    return np.array(before), np.array(now)


def numbers(rows: int, mean: float = 0.0, seed: int = 1) -> pd.Series:
    return pd.Series(np.random.default_rng(seed).normal(mean, 1.0, rows))


def words(**rows: int) -> pd.Series:
    return pd.Series([name for name, times in rows.items() for _ in range(times)], dtype=object)


# the measures


def test_psi_and_kl_are_what_a_hand_works_out():
    # (999.5 + .5) / 2000 and so on: half a row in each of the two bins
    before, now = [999, 999], [499, 1499]
    p, q = [0.5, 0.5], [499.5 / 1999, 1499.5 / 1999]
    by_hand = (q[0] - p[0]) * math.log(q[0] / p[0]) + (q[1] - p[1]) * math.log(q[1] / p[1])
    assert psi(before, now) == pytest.approx(by_hand)
    assert psi(before, now) == pytest.approx(0.275, abs=0.001)
    assert kl(before, now) == pytest.approx(q[0] * math.log(q[0] / 0.5) + q[1] * math.log(q[1] / 0.5))


def test_a_bin_that_emptied_costs_much_but_not_infinity():
    assert 1 < psi([500, 500], [1000, 0]) < 10


def test_bins_empty_in_both_windows_change_nothing():
    assert psi([70, 30], [500, 500]) == psi([70, 0, 30, 0], [500, 0, 500, 0])
    assert psi_noise([70, 30], [500, 500]) == psi_noise([70, 0, 30], [500, 0, 500])


@given(COUNTS)
def test_a_window_does_not_differ_from_itself(counts):
    assume(sum(counts))
    assert psi(counts, counts) == 0
    assert kl(counts, counts) == 0


@given(two_windows())
def test_psi_is_symmetric_never_negative_and_the_sum_of_both_divergences(windows):
    before, now = windows
    assert psi(before, now) >= 0
    assert kl(before, now) >= 0
    assert psi(before, now) == pytest.approx(psi(now, before), abs=1e-9)
    assert psi(before, now) == pytest.approx(kl(before, now) + kl(now, before), abs=1e-9)


@given(two_windows(), st.randoms())
def test_the_order_of_the_bins_does_not_matter(windows, random):
    before, now = windows
    order = list(range(len(before)))
    random.shuffle(order)
    assert psi(before[order], now[order]) == pytest.approx(psi(before, now), abs=1e-9)


def test_chance_alone_rarely_exceeds_the_noise():
    random = np.random.default_rng(3)
    shares = np.full(10, 0.1)
    beyond = 0
    for _ in range(2000):
        before, now = random.multinomial(2000, shares), random.multinomial(500, shares)
        beyond += psi(before, now) > psi_noise(before, now)
    assert beyond <= 8  # 2 are expected


# the bins


def test_quantile_bins_hold_a_tenth_of_the_rows_each():
    bins = fit(pd.Series(np.arange(1000.0)))
    assert bins.edges == tuple(float(edge) for edge in range(99, 900, 100))
    assert bins.counts == (100,) * 10 + (0,)
    assert bins.labels[0] == "≤ 99"
    assert bins.labels[-2:] == ("> 899", "missing")


def test_the_outer_bins_are_open():
    bins = fit(pd.Series(np.arange(1000.0)))
    assert count(bins, pd.Series([-1e9, -np.inf, 1e9, np.inf])).tolist() == [2, *[0] * 8, 2, 0]


def test_missing_values_have_a_bin_of_their_own():
    bins = fit(pd.Series([1.0, 2.0, None, None]))
    assert bins.missing == 2
    assert bins.rows == 4


def test_a_constant_can_move_either_way():
    bins = fit(pd.Series([7] * 500))
    assert bins.labels == ("< 7", "= 7", "> 7", "missing")
    for other in (6, 8):
        assert compare("events", "x", bins, pd.Series([other] * 500), Limits()).verdict == "alert"


def test_a_frequent_number_has_a_bin_of_its_own():
    bins = fit(pd.Series([0] * 600 + list(range(1, 401))))
    assert bins.labels[:3] == ("< 0", "= 0", "0 to 100")
    assert bins.counts[1] == 600


def test_categories_beyond_the_most_frequent_fall_together():
    bins = fit(pd.Series([f"item {at:03}" for at in range(100) for _ in range(100 - at)]))
    assert bins.categories[:2] == ("item 000", "item 001")
    assert len(bins.categories) == 20
    assert bins.labels[-2:] == ("other", "missing")
    assert bins.counts[-2] == sum(range(1, 81))
    assert len(bins.known) == 100


def test_booleans_are_categories():
    assert fit(pd.Series([True, False, True])).categories == ("True", "False")


@given(
    arrays.arrays("float64", st.integers(1, 300), elements=st.floats(allow_nan=True, allow_infinity=True)),
    arrays.arrays("float64", st.integers(0, 300), elements=st.floats(allow_nan=True, allow_infinity=True)),
)
def test_every_row_falls_into_exactly_one_bin(before, now):
    bins = fit(pd.Series(before))
    assert bins.rows == len(before)
    assert count(bins, pd.Series(now)).sum() == len(now)
    assert len(bins.labels) == len(bins.counts)
    assert list(bins.edges) == sorted(set(bins.edges))


@given(st.lists(st.sampled_from(["a", "b", "c", None, "other", "missing"]), min_size=1))
def test_category_counts_do_not_depend_on_the_order_of_rows(values):
    assert fit(pd.Series(values, dtype=object)) == fit(pd.Series(values[::-1], dtype=object))


# the verdicts


def test_planted_drift_is_found():
    found = compare("user_features", "x", fit(numbers(5000)), numbers(5000, mean=0.6, seed=2), Limits())
    assert found.verdict == "alert"
    assert found.psi > 0.25
    assert "over 0.25" in found.reason
    assert found.moved(1)[0][0].startswith(">")


def test_a_small_shift_warns():
    found = compare("user_features", "x", fit(numbers(5000)), numbers(5000, mean=0.4, seed=2), Limits())
    assert found.verdict == "warn"


@pytest.mark.parametrize("seed", range(20))
def test_drift_that_is_not_there_is_not_found(seed):
    bins = fit(numbers(5000, seed=seed))
    assert compare("events", "x", bins, numbers(1000, seed=100 + seed), Limits()).verdict == "ok"


def test_values_that_go_missing_are_drift():
    now = numbers(2000, seed=2)
    now[:200] = None
    found = compare("events", "price", fit(numbers(2000)), now, Limits())
    assert found.verdict == "alert"
    assert (found.reference_missing, found.current_missing) == (0, 0.1)


def test_numbers_that_turn_into_text_are_missing_values():
    found = compare("events", "price", fit(numbers(1000)), pd.Series(["twelve"] * 1000, dtype=object), Limits())
    assert found.verdict == "alert"
    assert found.current_missing == 1


def test_new_and_lost_categories_are_named():
    before = fit(words(uk=900, france=80, eire=20, malta=1))
    found = compare("events", "country", before, words(uk=900, france=70, spain=30), Limits())
    assert found.new == (("spain", 30),)
    assert found.lost == (("eire", 20),)  # of Malta's one row nothing was to be expected


def test_a_new_category_warns_even_where_the_shares_hardly_move():
    before = fit(words(uk=9000, france=1000))
    found = compare("events", "country", before, words(uk=8800, france=1000, spain=200), Limits(psi_warn=0.3))
    assert found.verdict == "warn"
    assert found.reason == "1 new category, 2.0% of the current rows"


def test_too_many_categories_are_not_called_new_or_lost():
    bins = Bins("categorical", (), ("a",), (500, 500, 0), known=None)
    found = compare("events", "title", bins, words(a=500, b=500), Limits())
    assert found.new is None
    assert found.lost is None


def test_a_new_name_among_names_is_nothing_to_warn_of():
    before, now = (pd.Series([f"item {at}" for at in range(first, first + 1000)]) for first in (0, 200))
    found = compare("item_features", "title", fit(before), now, Limits())
    assert found.verdict == "ok"
    assert found.new is None


@pytest.mark.parametrize(
    ("reference", "current", "reason"),
    [
        (None, numbers(500), "the reference has no bins for it"),
        (fit(numbers(500)), None, "the current window does not have it"),
        (fit(pd.Series([None] * 500, dtype="float64")), numbers(500), "every value was missing"),
        (fit(numbers(500)), numbers(0), "the current window is empty"),
        (fit(numbers(0)), numbers(500), "the reference has no bins for it"),
        (fit(numbers(500)), numbers(199), "199 rows in the current window, fewer than 200"),
        (fit(numbers(199)), numbers(500), "199 rows in the reference window, fewer than 200"),
    ],
)
def test_too_little_to_judge_is_said_to_be_so(reference, current, reason):
    found = compare("events", "x", reference, current, Limits())
    assert found.verdict == "insufficient data"
    assert reason in found.reason
    assert found.psi is None


def test_a_difference_that_may_be_chance_is_not_called_drift():
    before, now = fit(numbers(200)), numbers(200, mean=0.3, seed=11)
    found = compare("events", "x", before, now, Limits())
    assert 0.1 <= found.psi <= found.noise
    assert found.verdict == "insufficient data"
    assert "may be chance" in found.reason


def test_the_worst_comes_first_and_nothing_is_left_out():
    before = {"events": {"steady": fit(numbers(900)), "moved": fit(numbers(900)), "gone": fit(numbers(900))}}
    now = {"events": pd.DataFrame({"steady": numbers(900), "moved": numbers(900, mean=2), "fresh": numbers(900)})}
    found = compare_frames(before, now, Limits())
    assert [(f.column, f.verdict) for f in found] == [
        ("moved", "alert"),
        ("fresh", "insufficient data"),
        ("gone", "insufficient data"),
        ("steady", "ok"),
    ]


def test_events_that_stopped_coming_are_an_alert():
    end = dt.datetime(2011, 12, 1, tzinfo=dt.UTC)
    assert freshness(end - dt.timedelta(hours=47), end, 48).verdict == "ok"
    late = freshness(end - dt.timedelta(hours=60), end, 48)
    assert late.verdict == "alert"
    assert late.reason == "the newest event is 60 h older than the window's end; up to 48 h is allowed"
    assert freshness(None, end, 48).verdict == "insufficient data"
