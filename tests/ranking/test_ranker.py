import json

import numpy as np
import pandas as pd
import pytest

from nightshift.models.fitting import NothingToLearnError
from nightshift.models.recommender import ModelFileError
from nightshift.ranking.ranker import Ranker, fit_ranker, load_ranker
from tests import shop


def planted(users: int = 60) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Candidates of which those with the greatest `wanted` come true; `noise` says nothing."""
    rng = np.random.default_rng(5)
    wanted, noise = rng.random((2, users, 20))
    relevant = (wanted > np.quantile(wanted, 0.8, axis=1, keepdims=True)).ravel()
    features = pd.DataFrame({"noise": noise.ravel(), "wanted": wanted.ravel()}, dtype=np.float32)
    return features, relevant.astype(np.int8), np.full(users, 20)


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    return fit_ranker(*planted(), shop.settings())


def test_it_learns_which_candidates_come_true(ranker):
    features, relevant, groups = planted()
    order = ranker.score(features).reshape(len(groups), -1).argsort(axis=1)[:, -4:]
    assert np.take_along_axis(relevant.reshape(len(groups), -1), order, axis=1).mean() > 0.95
    assert list(ranker.importance()) == ["wanted", "noise"]


def test_the_same_input_gives_the_same_bytes(ranker, tmp_path):
    fit_ranker(*planted(), shop.settings()).save(tmp_path / "a")
    ranker.save(tmp_path / "b")
    load_ranker(tmp_path / "b", threads=1).save(tmp_path / "c")
    assert list(ranker.boosters) == ["lambdarank", "rank_xendcg", "binary"]
    for name in (*(f"{objective}.txt" for objective in ranker.boosters), "networks.safetensors", "ranker.json"):
        assert len({(tmp_path / folder / name).read_bytes() for folder in "abc"}) == 1


def test_the_same_bytes_come_of_any_number_of_threads():
    """Users are left out of a tree at random: in LightGBM 4.7 two threads that do so take turns as it comes."""
    rng = np.random.default_rng(1)
    features = pd.DataFrame(rng.random((30 * 170, 2)), columns=["noise", "wanted"], dtype=np.float32)
    relevant, groups = (features["wanted"] > 0.8).to_numpy(np.int8), np.full(30, 170)
    settings = shop.settings(ranker={"min_leaf": 100})
    fitted = [fit_ranker(features, relevant, groups, settings.model_copy(update={"threads": n})) for n in (1, 2, 2, 2)]
    told = [[booster.model_to_string() for booster in ranker.boosters.values()] for ranker in fitted]
    assert told[0] == told[1] == told[2] == told[3]


def test_each_model_counts_by_its_own_spread(ranker):
    features, _, groups = planted()
    parts = {name: booster.predict(features[list(ranker.features)]) for name, booster in ranker.boosters.items()}
    networks = ranker.networks.scores(features[list(ranker.features)].to_numpy())
    assert len(networks) == 3
    counted = [*((parts[name], ranker.about["spread"][name]) for name in parts)]
    counted += zip(networks, ranker.about["networks"], strict=True)
    for scores, spread in counted:
        by_user = scores.reshape(len(groups), -1)
        assert spread == pytest.approx((by_user - by_user.mean(axis=1, keepdims=True)).std())
    np.testing.assert_allclose(ranker.score(features), sum(scores / spread for scores, spread in counted))


def test_one_objective_will_do():
    settings = shop.settings(ranker={"objectives": ["binary"], "trees": 5})
    assert list(fit_ranker(*planted(), settings).boosters) == ["binary"]


def test_trees_alone_will_do(tmp_path):
    alone = fit_ranker(*planted(), shop.settings(ranker={"networks": 0, "trees": 5}))
    alone.save(tmp_path)
    assert not (tmp_path / "networks.safetensors").exists()
    np.testing.assert_allclose(load_ranker(tmp_path, 1).score(planted()[0]), alone.score(planted()[0]))


def test_features_are_told_by_name(ranker):
    features, *_ = planted()
    turned = features[["wanted", "noise"]].assign(new=1)
    np.testing.assert_array_equal(ranker.score(turned), ranker.score(features))


def test_a_missing_feature_is_named(ranker):
    with pytest.raises(ModelFileError, match="needs wanted; there are noise"):
        ranker.score(planted()[0][["noise"]])


def test_networks_of_another_ranker_are_refused(ranker, tmp_path):
    ranker.save(tmp_path)
    file = tmp_path / "ranker.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"networks": [1.0]}))
    with pytest.raises(ModelFileError, match=r"\(1, 2\), the file has \(3, 2\)"):
        load_ranker(tmp_path)


def test_files_of_two_rankers_are_refused(ranker, tmp_path):
    ranker.save(tmp_path)
    (tmp_path / "ranker.json").write_text((tmp_path / "ranker.json").read_text().replace('"wanted"', '"other"'))
    with pytest.raises(ModelFileError, match="names"):
        load_ranker(tmp_path)


def test_without_users_there_is_nothing_to_learn():
    features, relevant, groups = planted()
    with pytest.raises(NothingToLearnError):
        fit_ranker(features.iloc[:0], relevant[:0], groups[:0], shop.settings())


@pytest.mark.parametrize("users", [1, 3])
def test_of_one_candidate_a_user_there_is_no_order_to_learn(users):
    features, relevant = planted()[0].iloc[:users], np.ones(users, dtype=np.int8)
    with pytest.raises(NothingToLearnError, match="one of several candidates"):
        fit_ranker(features, relevant, np.ones(users, dtype=int), shop.settings())
