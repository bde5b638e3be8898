import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.config.settings import Evaluation
from nightshift.evaluation.gate import judge

RULES = Evaluation(metric="ndcg", k=20, min_gain=-0.01, min_users=50)
NOISE = np.random.default_rng(5).normal(0, 0.1, 400)


def figures(ndcg: float, users: int = 100, noise: float = 0.0) -> pd.DataFrame:
    """So much for every user, and with `noise` more for some and less for others, which cancels out in the mean."""
    chance = NOISE[:users] - NOISE[: max(users, 1)].mean()
    return pd.DataFrame({"user_id": [f"{n:04d}" for n in range(users)], "ndcg": ndcg + noise * chance})


BASELINES = {"popularity": figures(0.1), "repeat": figures(0.3)}


def test_a_challenger_that_surely_beats_all_is_accepted_and_the_figures_are_told():
    verdict = judge(figures(0.35), figures(0.32), BASELINES, RULES, seed=1)
    assert verdict.accepted
    assert any("ndcg@20 0.3500 against 0.3200 of the champion, +0.0300" in reason for reason in verdict.reasons)
    assert any("0.3000 of repeat" in reason for reason in verdict.reasons)
    assert verdict.gains["champion"].low == pytest.approx(0.03)


def test_a_gain_that_may_be_chance_is_none():
    sure = judge(figures(0.31, noise=0.1), None, BASELINES, RULES, seed=1)
    chance = judge(figures(0.31, noise=1.0), None, BASELINES, RULES, seed=1)
    assert sure.accepted
    assert not chance.accepted
    assert chance.gains["repeat"].low < 0 < chance.gains["repeat"].mean


def test_against_the_champion_a_little_may_be_lost_but_surely_no_more():
    baselines = {"popularity": figures(0.1)}
    assert judge(figures(0.315), figures(0.32), baselines, RULES, seed=1).accepted
    assert not judge(figures(0.305), figures(0.32), baselines, RULES, seed=1).accepted
    assert not judge(
        figures(0.32, noise=1.0), figures(0.32), baselines, RULES, seed=1
    ).accepted  # it may have lost more


def test_what_promotions_before_have_lost_counts_against_the_next():
    baselines, champion = {"popularity": figures(0.1)}, figures(0.32)
    accepted = {
        lost: judge(figures(0.315), champion, baselines, RULES, seed=1, lost_before=lost)
        for lost in (0.0, -0.004, -0.006)
    }
    assert {lost: verdict.accepted for lost, verdict in accepted.items()} == {0.0: True, -0.004: True, -0.006: False}
    assert "-0.0050 (-0.0050 to -0.0050) after -0.0060 by promotions before" in accepted[-0.006].reasons[-1]
    assert judge(figures(0.325), champion, baselines, RULES, seed=1, lost_before=-0.0099).accepted


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-0.012, 0.006), st.floats(0, 0.2)), min_size=2, max_size=30))
def test_no_champions_gains_over_any_earlier_one_come_to_less_than_what_one_may_lose(nights):
    """However many nights each lose a little: the sum over any stretch of promotions is above `min_gain`."""
    champion, lost, gained = figures(0.5), 0.0, []
    for gain, noise in nights:
        verdict = judge(figures(0.5 + gain, noise=noise), champion, BASELINES, RULES, seed=1, lost_before=lost)
        if verdict.accepted:
            gained.append(verdict.gains["champion"].mean)
            lost = min(0.0, lost + gained[-1])
    stretches = [sum(gained[a:b]) for a in range(len(gained)) for b in range(a + 1, len(gained) + 1)]
    assert all(stretch > RULES.min_gain for stretch in stretches), stretches


@pytest.mark.parametrize(
    ("challenger", "champion", "told"),
    [
        (figures(0.305), figures(0.32), "0.3050 against 0.3200 of the champion"),
        (figures(0.29), None, "0.2900 against 0.3000 of repeat"),
        (figures(0.3), None, "of repeat"),
        (figures(0.9, users=49), None, "49 users, at least 50"),
        (figures(math.nan), None, "nan against 0.3000 of repeat"),
        (figures(0.9), figures(math.nan), "of the champion"),
        (figures(0.9), figures(0.1, users=99), "the champion on 99 others: not comparable"),
        (figures(0.9), figures(0.1, users=100).assign(user_id="x"), "not comparable"),
        (figures(0.9, users=0), None, "0 users"),
        (None, None, "no challenger"),
        (None, figures(0.1), "no challenger"),
    ],
)
def test_in_doubt_it_is_refused_and_told_why(challenger, champion, told):
    verdict = judge(challenger, champion, BASELINES, RULES, seed=1)
    assert not verdict.accepted
    assert told in "; ".join(verdict.reasons)


def test_what_cannot_be_compared_with_a_champion_that_serves_is_refused():
    first = judge(figures(0.9), None, BASELINES, RULES, seed=1)
    verdict = judge(figures(0.9), None, BASELINES, RULES, seed=1, no_champion="it knows the test", untested=True)
    assert (first.accepted, verdict.accepted, verdict.reasons) == (True, False, ("it knows the test",))


def test_a_baseline_whose_figure_is_unknown_cannot_be_beaten():
    verdict = judge(figures(0.9), None, {**BASELINES, "item_item": figures(math.nan)}, RULES, seed=1)
    assert not verdict.accepted
    assert verdict.best_baseline == "repeat"


def test_there_is_always_a_baseline_to_serve():
    assert judge(None, None, {"popularity": figures(math.nan)}, RULES, seed=1).best_baseline == "popularity"


NUMBER = st.one_of(st.just(math.nan), st.floats(0, 1))
SOME = st.tuples(NUMBER, st.floats(0, 2))


@settings(max_examples=50, deadline=None)
@given(SOME, SOME, st.dictionaries(st.sampled_from("abc"), SOME, min_size=1), st.integers(0, 100))
def test_whoever_is_accepted_is_better_than_all(own, champion, baselines, users):
    others = {name: figures(value, users, noise) for name, (value, noise) in baselines.items()}
    verdict = judge(figures(own[0], users, own[1]), figures(champion[0], users, champion[1]), others, RULES, seed=1)
    if verdict.accepted:
        assert users >= RULES.min_users
        assert own[0] - champion[0] > RULES.min_gain
        assert all(own[0] > value for value, _ in baselines.values())
