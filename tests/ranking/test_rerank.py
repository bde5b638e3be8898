import time
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from nightshift.config.settings import Lists
from nightshift.features.snapshot import Snapshot
from nightshift.models.coded import Coded
from nightshift.ranking.rerank import Reranked, Rules, pick, rerank
from tests import shop

ITEMS = 40
NAMES = [f"i{number:02d}" for number in range(ITEMS)]


def view(sellable: list[bool], kinds: list[int], titles: list[str] | None = None, age: int = 300) -> Snapshot:
    """A snapshot that has items only."""
    items = pd.DataFrame({"item_id": NAMES[: len(kinds)], "sellable": sellable, "kind": [f"k{kind}" for kind in kinds]})
    items["title"] = titles or [f"word{number}" for number in range(len(items))]
    items = items.assign(events_28d=range(len(items)), events_all=1, days_since_first=age)
    nothing = pd.DataFrame({"user_id": [], "item_id": []}, dtype=object)
    return Snapshot(shop.RUN_DATE, nothing, items, nothing, nothing, nothing)


def scored(*users: list[str]) -> pd.DataFrame:
    rows = [
        (f"u{user}", rank, item, 10.0 - rank, "two_tower")
        for user, chosen in enumerate(users)
        for rank, item in enumerate(chosen, 1)
    ]
    return pd.DataFrame(rows, columns=["user_id", "rank", "item_id", "score", "source"])


def chosen(found: pd.DataFrame) -> list[list[str]]:
    return [list(items) for _, items in found.groupby("user_id", sort=False)["item_id"]]


RULES = st.builds(
    Lists,
    size=st.integers(1, 12),
    max_per_kind=st.integers(1, 4),
    diversity=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    freshness=st.sampled_from([0.0, 0.5]),
    banned_items=st.frozensets(st.sampled_from(NAMES), max_size=8),
    pinned_items=st.lists(st.sampled_from([*NAMES, "unknown"]), max_size=4).map(tuple),
)
SHOPS = st.builds(
    view,
    st.lists(st.booleans(), min_size=ITEMS, max_size=ITEMS),
    st.lists(st.integers(0, 8), min_size=ITEMS, max_size=ITEMS),
    age=st.sampled_from([3, 300]),
)
USERS = st.lists(st.lists(st.sampled_from([*NAMES, "gone"]), unique=True, min_size=1), min_size=1, max_size=4)


@budget(max_examples=200, deadline=None)
@given(RULES, SHOPS, USERS)
def test_no_list_breaks_a_rule(rules, shown, users):
    found = rerank(scored(*users), shown, rules)
    kind = dict(zip(shown.items["item_id"], shown.items["kind"], strict=True))
    allowed = set(shown.items.loc[shown.items["sellable"], "item_id"]) - rules.banned_items
    pinned = [item for item in dict.fromkeys(rules.pinned_items) if item in allowed][: rules.size]
    assert np.isfinite(found["score"]).all()
    lists = chosen(found)
    assert len(lists) == (len(users) if allowed else 0)
    for ranks, items in zip(found.groupby("user_id")["rank"], lists, strict=True):
        assert ranks[1].tolist() == list(range(1, len(items) + 1))
        assert len(set(items)) == len(items)
        assert set(items) <= allowed
        assert items[: len(pinned)] == pinned
        of_kind, of_pinned = Counter(map(kind.get, items)), Counter(map(kind.get, pinned))
        assert all(count <= max(rules.max_per_kind, of_pinned[name]) for name, count in of_kind.items())
        if len(items) < rules.size:  # then there was nothing left to take
            assert all(of_kind[kind[item]] >= rules.max_per_kind for item in allowed - set(items))


PLAIN = Lists(size=3, max_per_kind=99, diversity=0.0, freshness=0.0)


def test_without_rules_the_order_is_the_models():
    found = rerank(scored(NAMES[5:20], NAMES[20:2:-1]), view([True] * 40, list(range(40))), PLAIN)
    assert chosen(found) == [NAMES[5:8], NAMES[20:17:-1]]
    assert found["score"].tolist() == [9, 8, 7] * 2


def test_a_kind_gives_way_when_it_has_had_its_share():
    rules = PLAIN.model_copy(update={"max_per_kind": 1})
    assert chosen(rerank(scored(NAMES[:6]), view([True] * 6, [0, 0, 0, 1, 1, 2]), rules)) == [["i00", "i03", "i05"]]


def test_what_is_alike_gives_way_to_what_is_different():
    titles = ["red mug", "red mug large", "red mug small", "blue lantern", "clock"]
    shown = view([True] * 5, list(range(5)), titles)
    lists = scored(NAMES[:5])
    assert chosen(rerank(lists, shown, PLAIN)) == [["i00", "i01", "i02"]]
    diverse = PLAIN.model_copy(update={"diversity": 0.7})
    assert chosen(rerank(lists, shown, diverse)) == [["i00", "i03", "i04"]]


def test_a_new_item_is_lifted():
    shown = view([True] * 5, list(range(5)))
    shown.items.loc[3, "days_since_first"] = 2
    fresh = PLAIN.model_copy(update={"freshness": 0.6})
    assert chosen(rerank(scored(NAMES[:5]), shown, fresh)) == [["i00", "i03", "i01"]]


def test_what_a_rule_put_there_says_so():
    rules = PLAIN.model_copy(update={"pinned_items": ("i09",)})
    found = rerank(scored(["i01"]), view([True] * 20, list(range(20))), rules)
    assert chosen(found) == [["i09", "i01", "i19"]]  # pinned, the model's, and what is popular
    assert found["source"].tolist() == ["pinned", "two_tower", "trending"]


def test_a_pinned_item_that_the_model_brought_keeps_its_source_and_score():
    rules = PLAIN.model_copy(update={"pinned_items": ("i02",)})
    found = rerank(scored(NAMES[:4]), view([True] * 20, list(range(20))), rules)
    assert found.iloc[0].tolist() == ["u0", 1, "i02", 7.0, "two_tower"]


def test_items_without_kind_or_title_are_not_alike():
    shown = view([True] * 6, list(range(6)))
    shown.items[["kind", "title"]] = None
    rules = PLAIN.model_copy(update={"max_per_kind": 1, "diversity": 0.5})
    assert chosen(rerank(scored(NAMES[:6]), shown, rules)) == [["i00", "i01", "i02"]]


def test_a_reranked_model_gives_what_readers_get():
    settings = shop.settings(lists={"max_per_kind": 2})
    found = Reranked(shop.trained().serving, settings.lists).recommend(shop.snapshots()[2], ["l01", "nobody"], 4)
    kinds = found["item_id"].str[:-1]
    assert kinds.groupby([found["user_id"], kinds]).size().max() <= 2
    assert found.groupby("user_id").size().tolist() == [4, 4]


def test_thousands_of_lists_take_seconds():
    users, width, items = 1100, 100, 3000
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"item_id": [f"i{n:04d}" for n in range(items)], "sellable": True})
    frame["kind"] = frame["item_id"].str[:-1]
    frame["title"] = [" ".join(rng.choice(list("abcdefghijklmnop"), 5)) for _ in range(items)]
    frame = frame.assign(events_28d=1, events_all=1, days_since_first=99)
    nothing = pd.DataFrame()
    rules = Rules(Coded(Snapshot(shop.RUN_DATE, nothing, frame, nothing, nothing, nothing)), Lists())
    candidates = np.argsort(rng.random((users, items)), axis=1)[:, :width]
    begun = time.process_time()
    lists = pick(candidates, np.sort(rng.random((users, width)))[:, ::-1], rules)
    assert lists.min() >= 0
    assert time.process_time() - begun < 8  # a tenth of that on an idle core


@pytest.mark.parametrize("diversity", [0.0, 0.5])
def test_a_users_list_does_not_depend_on_the_others(diversity):
    shown = view([True] * 40, [number // 4 for number in range(40)])
    rules = Lists(size=10, diversity=diversity)
    users = [NAMES[:30], NAMES[30:5:-1], ["i07", "i01"]]
    together = chosen(rerank(scored(*users), shown, rules))
    assert together == [chosen(rerank(scored(user), shown, rules))[0] for user in users]
