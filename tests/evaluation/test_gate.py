import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.config.settings import Evaluation
from nightshift.evaluation.gate import judge

RULES = Evaluation(metric="ndcg", k=20, min_gain=0.01, min_users=50)


def figures(ndcg: float | None, users: float = 100) -> dict[str, float | None]:
    return {"ndcg": ndcg, "users": users}


BASELINES = {"popularity": figures(0.1), "repeat": figures(0.3)}


def test_a_challenger_that_beats_all_is_accepted_and_the_figures_are_told():
    verdict = judge(figures(0.35), figures(0.32), BASELINES, RULES)
    assert verdict.accepted
    assert any("ndcg@20 0.3500 against 0.3200 of the champion (+0.0300)" in reason for reason in verdict.reasons)
    assert any("0.3000 of repeat" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("challenger", "champion", "told"),
    [
        (figures(0.325), figures(0.32), "0.3250 against 0.3200 of the champion"),  # ahead, but by too little
        (figures(0.29), None, "0.2900 against 0.3000 of repeat"),
        (figures(0.3), None, "of repeat"),
        (figures(0.9, users=49), None, "49 users, at least 50"),
        (figures(math.nan), None, "nan against 0.3000 of repeat"),
        (figures(None), None, "nan against"),
        (figures(0.9), figures(math.nan), "of the champion"),
        (figures(0.9), figures(0.1, users=99), "the champion on 99: not comparable"),
        (figures(0.9, users=math.nan), None, "nan users"),
        (None, None, "no challenger"),
        (None, figures(0.1), "no challenger"),
    ],
)
def test_in_doubt_it_is_refused_and_told_why(challenger, champion, told):
    verdict = judge(challenger, champion, BASELINES, RULES)
    assert not verdict.accepted
    assert told in "; ".join(verdict.reasons)


def test_a_baseline_whose_figure_is_unknown_cannot_be_beaten():
    verdict = judge(figures(0.9), None, {**BASELINES, "item_item": figures(None)}, RULES)
    assert not verdict.accepted
    assert verdict.best_baseline == "repeat"


def test_there_is_always_a_baseline_to_serve():
    assert judge(None, None, {"popularity": figures(None)}, RULES).best_baseline == "popularity"


NUMBER = st.one_of(st.none(), st.just(math.nan), st.floats(0, 1))


@given(NUMBER, NUMBER, st.dictionaries(st.sampled_from("abc"), NUMBER, min_size=1), st.integers(0, 100))
def test_whoever_is_accepted_is_better_than_all(own, champion, baselines, users):
    others = {name: figures(value, users) for name, value in baselines.items()}
    verdict = judge(figures(own, users), figures(champion, users), others, RULES)
    if verdict.accepted:
        assert users >= RULES.min_users
        assert own - champion > RULES.min_gain
        assert all(own > value for value in baselines.values())
