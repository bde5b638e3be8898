"""The tables of `python -m benchmarks.stages`, from figures that are made up."""

import numpy as np
import pandas as pd

from benchmarks.stages import METRICS, gains
from nightshift.evaluation.intervals import interval

USERS = [f"u{n}" for n in range(50)]


def figures(values):
    return pd.DataFrame({"user_id": USERS, **dict.fromkeys(METRICS, values)})


def test_a_gain_is_told_user_by_user():
    rng = np.random.default_rng(1)
    whole, by_user = rng.random(50), rng.normal(-0.01, 0.001, 50)
    shuffled = figures(whole + by_user).sample(frac=1, random_state=1)
    found = {
        "popularity": {"all": figures(whole / 2), "new": figures(whole / 2)},
        "two_stage": {"all": figures(whole), "new": figures(whole)},
        "two_stage without trending": {"all": shuffled, "new": figures(whole)},
    }
    (row,) = gains(found)
    assert row["model"] == "two_stage without trending"
    assert row["recall@20, new"] == "+0.0000 (+0.0000 to +0.0000)"
    found = interval(by_user, seed=1)
    assert -0.011 < found.low < found.high < -0.009  # what users differ by, 0.3 and more, is not in it
    assert row["recall@20, all"] == row["ndcg@20, all"] == found.signed
