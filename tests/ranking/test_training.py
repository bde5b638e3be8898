import datetime as dt
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from nightshift.models.fitting import NothingToLearnError
from nightshift.ranking import training
from nightshift.ranking.training import Trained, train_ranker, train_two_stage
from tests import shop


def files(trained: Trained, folder: Path) -> dict[str, bytes]:
    trained.save(folder)
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@budget(max_examples=3, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 14))
def test_the_tested_model_does_not_see_its_test(tmp_path_factory, seed, days):
    known = shop.interactions()
    day = shop.TEST_CUTOFF + dt.timedelta(days=days)
    future = shop.interactions(seed).assign(event_date=day, run_date=day).head(500)
    late = future.assign(event_date=shop.TEST_CUTOFF - dt.timedelta(days=seed % 10)).head(100)
    seen = known[known["run_date"] <= shop.TEST_CUTOFF]
    changed = shop.train(pd.concat([seen, future, late], ignore_index=True))
    folder = tmp_path_factory.mktemp("models")
    before, after = files(shop.trained(), folder / "a"), files(changed, folder / "b")
    assert before.keys() == after.keys()
    for name in before:
        same = before[name] == after[name]
        serves = name.startswith(("two_tower/", "graph_filter/"))  # only that has learnt from the last days
        assert same == (not serves), name


def test_the_same_night_gives_the_same_bytes(tmp_path):
    assert files(shop.trained(), tmp_path / "a") == files(shop.train(shop.interactions()), tmp_path / "b")


def test_each_part_knows_what_it_may():
    trained = shop.trained()
    assert trained.holdout.embeddings["two_tower"].as_of == shop.TEST_CUTOFF
    assert trained.serving.embeddings["two_tower"].as_of == shop.RUN_DATE
    assert trained.holdout.ranker.about["as_of"] == shop.RANKER_CUTOFF.isoformat()
    assert trained.holdout.ranker is trained.serving.ranker


def test_candidates_that_have_seen_the_labels_are_refused():
    with pytest.raises(ValueError, match="has seen"):
        train_ranker(shop.trained().serving.embeddings, shop.snapshots()[0], pd.DataFrame(), shop.settings())


def test_without_labels_there_is_nothing_to_learn():
    nothing = pd.DataFrame({"user_id": [], "item_id": []}, dtype=object)
    with pytest.raises(NothingToLearnError):
        train_two_stage(shop.snapshots(), shop.interactions(), nothing, shop.settings(two_tower={"epochs": 1}))


def test_on_the_first_day_there_is_nothing_to_learn():
    known = shop.interactions()
    days = [shop.FIRST + dt.timedelta(days=number) for number in (-30, -16, -2)]
    nothing = pd.DataFrame({"user_id": [], "item_id": []}, dtype=object)
    views = [shop.snapshot(known, day) for day in days]
    with pytest.raises(NothingToLearnError):
        train_two_stage(views, known, nothing, shop.settings())


def test_of_many_users_it_learns_from_some_and_how_they_are_blocked_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    few = shop.settings(ranker={"max_users": 10, "trees": 5, "networks": 1})
    trained = shop.trained()
    embeddings = {"graph_filter": trained.holdout.embeddings["graph_filter"], "two_tower": trained.early}
    view = shop.snapshots()[1]
    labels = shop.snapshots()[2].pairs[["user_id", "item_id"]]
    written = []
    for size in (512, 3):
        monkeypatch.setattr(training, "BLOCK", size)
        ranker = train_ranker(embeddings, view, labels, few)
        assert ranker.about["users"] <= 10
        ranker.save(tmp_path / str(size))
        written.append({file.name: file.read_bytes() for file in (tmp_path / str(size)).iterdir()})
    assert written[0] == written[1]
    assert train_ranker(embeddings, view, labels, shop.settings(ranker={"trees": 5})).about["users"] > 10
