import datetime as dt
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from nightshift.models import fitting
from nightshift.models.baskets import baskets_of
from nightshift.models.coded import Coded
from nightshift.models.fitting import NothingToLearnError, fit
from nightshift.models.recommender import ModelFileError
from nightshift.models.towers import room_for
from nightshift.models.two_tower import TwoTower, load_two_tower
from tests import shop


@pytest.fixture(scope="module")
def model() -> TwoTower:
    return shop.trained().serving.embeddings["two_tower"]


def files(model: TwoTower, folder: Path) -> dict[str, bytes]:
    model.save(folder)
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def quick() -> dict[str, dict[str, int]]:
    return {"two_tower": {"epochs": 1, "refresh_epochs": 1}}


def test_it_finds_the_planted_tastes(model):
    ids, vectors = model.item_vectors()
    is_mug = np.array([item.startswith("MUG") for item in ids])
    is_lantern = np.array([item.startswith("LANTERN") for item in ids])
    for user_id, own, other in (("l03", is_lantern, is_mug), ("m03", is_mug, is_lantern)):
        user = model.user_vectors(shop.snapshots()[2], [user_id])
        scores = (user @ vectors.T)[0]
        assert np.median(scores[own]) > scores[other].max()


def test_what_is_read_to_serve_is_what_was_read_to_learn(model):
    cutoff = (shop.TEST_CUTOFF - shop.FIRST).days
    of_late = [(user, "MUG03", cutoff - ago, f"{user} {ago}") for ago, user in enumerate(["l00", "l01", "m00"])]
    foretold = [(user, "MUG04", cutoff + 1, f"{user} next") for user, *_ in of_late]
    known = pd.concat([shop.interactions(), shop.events(of_late + foretold)], ignore_index=True)
    before = Coded(shop.snapshot(known, shop.TEST_CUTOFF))
    user_ids = before.users.to_numpy()
    baskets = baskets_of(known, user_ids, model.item_ids, shop.TEST_CUTOFF + dt.timedelta(days=1))
    which = np.flatnonzero(baskets.day == baskets.day.max())
    items, elapsed, there = baskets.contexts(which, model.about["context_items"])
    read = model._inputs(before, baskets.user[which].astype(np.int64), model.places(before))
    assert {"l00", "l01", "m00"} <= set(user_ids[baskets.user[which]])
    assert read.known.numpy().tolist() == there.tolist()
    assert (read.items.numpy() * there).tolist() == (items * there).tolist()
    assert (read.elapsed.numpy() * there).tolist() == (elapsed * there).tolist()


def test_the_loss_falls():
    curve = [loss for _, loss in shop.trained().curves["two_tower_loss"]]
    assert np.mean(curve[-20:]) < np.mean(curve[:20]) - 0.3


def test_vectors_have_length_one_and_a_new_user_has_one_too(model):
    vectors = model.user_vectors(shop.snapshots()[2], ["l00", "nobody", "m00"])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(model.item_vectors()[1], axis=1), 1, atol=1e-5)


def test_a_users_vector_does_not_depend_on_who_else_is_asked_for_or_on_threads(model):
    view, threads = shop.snapshots()[2], torch.get_num_threads()
    users = view.users["user_id"].tolist()
    together = model.user_vectors(view, users)
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for size in (1, 7, 10, 25):
                blocks = [users[begin : begin + size] for begin in range(0, len(users), size)]
                found = np.concatenate([model.user_vectors(view, block) for block in blocks])
                np.testing.assert_array_equal(found, together)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(("items", "room"), [(0, 2**26), (262_144, 256), (1_000_000, 64), (50_000_000, 32)])
def test_dimensions_are_fewer_where_the_catalogue_would_not_fit(items, room):
    assert room_for(items) == room


def test_a_catalogue_that_has_outgrown_its_dimensions_keeps_them_until_a_fit_begins_anew(monkeypatch):
    views, known, settings = shop.snapshots(), shop.interactions(), shop.settings(**quick())
    first = fit(views[0], known, settings)[0]
    monkeypatch.setattr(fitting, "room_for", lambda items: 8)
    again, anew = (fit(views[1], known, settings, warm_start=start)[0] for start in (first, None))
    assert [model.item_vectors()[1].shape[1] for model in (first, again, anew)] == [16, 16, 8]


def test_the_same_input_gives_the_same_bytes(tmp_path):
    view, known = shop.snapshots()[0], shop.interactions()
    again = [fit(view, known, shop.settings(**quick()))[0] for _ in range(2)]
    assert files(again[0], tmp_path / "a") == files(again[1], tmp_path / "b")


@budget(max_examples=5, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 30))
def test_what_happens_after_the_cut_off_changes_nothing(tmp_path_factory, seed, days):
    known = shop.interactions()
    as_of = shop.RANKER_CUTOFF
    future = shop.interactions(seed).assign(
        event_date=as_of + dt.timedelta(days=days), run_date=as_of + dt.timedelta(days=days)
    )
    changed = pd.concat([known[known["run_date"] <= as_of], future])
    view, folder = shop.snapshots()[0], tmp_path_factory.mktemp("models")
    found = [fit(view, history, shop.settings(**quick()))[0] for history in (known, changed)]
    assert files(found[0], folder / "a") == files(found[1], folder / "b")


def test_a_model_that_was_saved_and_read_is_the_same(model, tmp_path):
    written = files(model, tmp_path / "a")
    read = load_two_tower(tmp_path / "a")
    assert files(read, tmp_path / "b") == written
    users = shop.snapshots()[2].users["user_id"]
    np.testing.assert_array_equal(
        read.user_vectors(shop.snapshots()[2], users), model.user_vectors(shop.snapshots()[2], users)
    )


def test_files_that_do_not_fit_each_other_are_refused(model, tmp_path):
    model.save(tmp_path)
    about = json.loads((tmp_path / "model.json").read_text())
    about["item_ids"] = about["item_ids"][1:]
    (tmp_path / "model.json").write_text(json.dumps(about))
    with pytest.raises(ModelFileError, match=r"raw_items: expected .*42, 16.*, found .*43, 16"):
        load_two_tower(tmp_path)


def test_a_refresh_keeps_what_is_known_by_id_and_a_new_item_starts_from_its_title(tmp_path):
    known = shop.interactions()
    new = shop.events([("l00", "AAA", 139, "new")])  # first of all ids: every position moves
    view = shop.snapshot(pd.concat([known, new]))
    like = view.items.loc[view.items["item_id"] == "MUG05"].assign(item_id="AAA")
    view.items.iloc[0] = like.iloc[0]
    still = {"two_tower": {"learning_rate": 1e-9}}
    old, _ = fit(shop.snapshots()[2], known, shop.settings())
    model, _ = fit(view, known, shop.settings(**still), warm_start=old)
    place = model.vocabulary.get_indexer(old.item_ids)
    ids = torch.stack([old.towers.item_id.weight, model.towers.item_id.weight[torch.from_numpy(place)]])
    np.testing.assert_allclose(ids[0].detach().numpy(), ids[1].detach().numpy(), atol=1e-6)
    vectors = model.item_vectors()[1]
    likeness = vectors @ vectors[model.vocabulary.get_loc("AAA")]
    is_mug = np.array([item.startswith("MUG") for item in model.item_ids])
    assert likeness[is_mug].mean() > likeness[~is_mug].mean() + 0.1


def test_without_a_purchase_there_is_nothing_to_learn():
    view = shop.snapshots()[0]
    with pytest.raises(NothingToLearnError, match=str(view.as_of)):
        fit(view, shop.interactions().iloc[:0], shop.settings())
