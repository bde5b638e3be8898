from nightshift.evaluation.discovery import OnlyNew, unseen
from nightshift.evaluation.labels import labels
from nightshift.models.baselines import ItemItem, Popularity
from tests import shop


def test_lists_hold_only_what_is_new_to_the_user_in_the_models_order():
    view = shop.snapshots()[1]
    users = view.users["user_id"].tolist()
    whole, new = ItemItem().recommend(view, users, 60), OnlyNew(ItemItem()).recommend(view, users, 10)
    had = set(map(tuple, view.pairs[["user_id", "item_id"]].to_numpy()))
    assert not had & set(map(tuple, new[["user_id", "item_id"]].to_numpy()))
    own = whole.loc[whole["user_id"] == "l00", "item_id"]
    expected = [item for item in own if ("l00", item) not in had]
    assert new.loc[new["user_id"] == "l00", "item_id"].tolist() == expected[:10]
    assert new.groupby("user_id")["rank"].max().le(10).all()
    assert OnlyNew(Popularity()).kind == "popularity"


def test_labels_that_are_new_are_those_that_were_not_bought_before():
    view = shop.snapshots()[1]
    truth = labels(shop.interactions(), shop.TEST_CUTOFF, shop.RUN_DATE, view)
    new = unseen(truth, view)
    assert 0 < len(new) < len(truth)
    again = truth.merge(new, how="outer", indicator=True).query("_merge == 'left_only'")
    assert again.merge(view.pairs, on=["user_id", "item_id"]).shape[0] == len(again)
