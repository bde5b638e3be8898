import numpy as np
import pandas as pd
import pytest

from nightshift.models.recommender import ModelFileError
from nightshift.ranking.calibration import Calibration, fit_calibration, load_calibration


def planted(users: int = 400, size: int = 25, seed: int = 3) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Lists whose scores s come true with probability sigmoid(s) / 2."""
    rng = np.random.default_rng(seed)
    score = rng.normal(-1, 1, users * size)
    user = np.repeat([f"u{n:03d}" for n in range(users)], size)
    lists = pd.DataFrame({"user_id": user, "item_id": [f"i{n}" for n in range(len(user))], "score": score})
    return lists, lists[rng.random(len(user)) < truth(score)]


def truth(score: np.ndarray) -> np.ndarray:
    return 0.5 / (1 + np.exp(-score))


def test_scores_become_the_probabilities_that_were_planted():
    found = fit_calibration(*planted(), days=14, seed=1)
    assert found
    scores = np.linspace(-2, 0.5, 8)  # nearly all of them
    assert found(scores) == pytest.approx(truth(scores), abs=0.06)
    assert found.about["ece"] < 0.02
    assert sum(count for _, _, count in found.about["bins"]) == found.about["entries"] == 400 * 25


def test_the_error_is_seen_where_there_is_one():
    """Half of the users come true by the opposite of their scores: what one half tells is wrong of the other."""
    lists, happened = planted()
    other = np.random.default_rng(1).permutation(400) % 2 == 0  # as the halves are drawn
    turned = lists["user_id"].str[1:].astype(int).map(lambda number: other[number])
    lists.loc[turned, "score"] *= -1
    found, straight = (fit_calibration(rows, happened, 14, seed=1) for rows in (lists, planted()[0]))
    assert found
    assert straight
    assert found.about["ece"] > 5 * straight.about["ece"]


def test_the_order_of_scores_is_kept_and_the_same_lists_give_the_same_line():
    lists, happened = planted(60)
    found = fit_calibration(lists, happened, 14, seed=1)
    again = fit_calibration(lists, happened, 14, seed=1)
    assert found
    assert again
    assert (np.diff(found(np.linspace(-5, 5, 200))) >= 0).all()
    assert found.score.tolist() == again.score.tolist()
    assert found.probability.tolist() == again.probability.tolist()


def test_where_nothing_came_true_nothing_can_be_told():
    lists, happened = planted(10)
    assert fit_calibration(lists, happened.iloc[:0], 14, seed=1) is None
    assert fit_calibration(lists, lists, 14, seed=1) is None


def test_it_is_kept_as_json_and_a_broken_one_is_refused(tmp_path):
    found = fit_calibration(*planted(50), days=14, seed=1)
    assert found
    found.save(tmp_path)
    again = load_calibration(tmp_path)
    assert again
    assert again(np.array([0.3])) == found(np.array([0.3]))
    assert again.about == found.about
    Calibration(np.array([0.0, 1.0]), np.array([0.5, 0.1]), {}).save(tmp_path)
    with pytest.raises(ModelFileError, match="rise together"):
        load_calibration(tmp_path)
    assert load_calibration(tmp_path / "none") is None
