"""Whatever the shop, the candidates and the rules: every list keeps every hard rule, judged by other code.

`Demands` says in plain Python what the rules ask of one user's list. On small shops it also tries every list there is,
so that a group's minimum and the length are known to be the most that could be had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from nightshift.config.settings import AlreadyBought, Cap, Exposure, Lists
from nightshift.features.snapshot import Snapshot
from nightshift.ranking.list_audit import audited
from nightshift.ranking.rerank import rerank
from tests.ranking.shelves import NAMES, chosen, lists, scored, view

USERS = ("u0", "u1", "u2")

WHERE: dict[str, Callable[[Any], bool]] = {  # conditions in SQL, and in Python
    "kind = 'k0'": lambda item: item.kind == "k0",
    "supplier in ('a', 'b')": lambda item: item.supplier in ("a", "b"),
    "events_28d < 4": lambda item: item.events_28d < 4,
    "days_since_first > 999": lambda item: item.days_since_first > 999,
}


class Demands:
    """What the rules ask of the list of one user."""

    def __init__(self, user: str, shown: Snapshot, settings: Lists) -> None:
        self.settings = settings
        self.items = {item.item_id: item for item in shown.items.itertuples()}
        excluded = settings.banned | held_back(user, shown.pairs, settings)
        self.allowed = [name for name, item in self.items.items() if item.sellable and name not in excluded]
        pinned = [item for item in settings.pinned if item in self.allowed]
        self.pinned = pinned[: settings.size]
        self.groups = [
            ({name for name, item in self.items.items() if WHERE[rule.where](item)}, rule.least)
            for rule in settings.of(Exposure)
        ]

    def keeps_caps(self, found: list[str]) -> bool:
        for rule in self.settings.of(Cap):
            counts, pinned = (
                Counter(getattr(self.items[item], rule.by) for item in part) for part in (found, self.pinned)
            )
            if any(of and n > max(rule.most, pinned[of]) for of, n in counts.items()):
                return False
        return True

    def reached(self, found: list[str]) -> tuple[int, ...]:
        """Members of each group, as far as they are asked for, and the length: in this order, the more the better."""
        return (*(min(least, len(group.intersection(found))) for group, least in self.groups), len(found))

    def most(self) -> tuple[int, ...]:
        """The best that any list reaches: all of them are tried."""
        others = [item for item in self.allowed if item not in self.pinned]
        places = range(self.settings.size - len(self.pinned) + 1)
        tried = ([*self.pinned, *more] for count in places for more in combinations(others, count))
        return max(self.reached(found) for found in tried if self.keeps_caps(found))


def held_back(user: str, pairs: pd.DataFrame, settings: Lists) -> set[str]:
    held = set()
    for rule in settings.of(AlreadyBought):
        for pair in pairs[pairs["user_id"] == user].itertuples():
            gaps = [gap for gap in pairs.loc[pairs["item_id"] == pair.item_id, "mean_gap_days"] if gap == gap]
            gap = pair.mean_gap_days if pair.mean_gap_days == pair.mean_gap_days else np.median(gaps or [np.inf])
            if rule.mode == "drop" or (rule.mode == "wait" and pair.days_since_last < rule.factor * gap):
                held.add(pair.item_id)
    return held


def check(found: pd.DataFrame, user: str, shown: Snapshot, settings: Lists, exhaustive: bool) -> None:
    demands, mine = Demands(user, shown, settings), found[found["user_id"] == user]
    items = mine["item_id"].tolist()
    assert mine["rank"].tolist() == list(range(1, len(items) + 1))
    assert np.isfinite(mine["score"]).all()
    assert len(set(items)) == len(items) <= settings.size
    assert set(items) <= set(demands.allowed)
    assert items[: len(demands.pinned)] == demands.pinned
    assert demands.keeps_caps(items)
    if exhaustive:
        assert demands.reached(items) == demands.most()


def rules(items: list[str], most_pinned: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Any rules, in their order."""
    ids = st.lists(st.sampled_from([*items, "unknown"]), max_size=most_pinned)
    banned = st.builds(dict, rule=st.just("banned"), items=ids)
    bought = st.builds(
        dict,
        rule=st.just("already_bought"),
        mode=st.sampled_from(["keep", "drop", "wait"]),
        factor=st.sampled_from([0.5, 1.0, 2.0]),
    )
    pinned = st.builds(dict, rule=st.just("pinned"), items=ids)
    cap = st.builds(dict, rule=st.just("cap"), by=st.sampled_from(["kind", "supplier"]), most=st.integers(1, 3))
    where = st.sampled_from(list(WHERE))
    exposure = st.builds(dict, rule=st.just("exposure"), where=where, least=st.integers(1, 3))
    freshness = st.builds(dict, rule=st.just("freshness"), boost=st.sampled_from([0.0, 0.5]))
    diversity = st.builds(
        dict,
        rule=st.just("diversity"),
        method=st.sampled_from(["mmr", "dpp"]),
        weight=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    )
    several = [st.lists(kind, max_size=2) for kind in (pinned, cap, exposure, freshness)]
    parts = st.tuples(
        st.lists(banned, max_size=1), st.lists(bought, max_size=1), *several, st.lists(diversity, max_size=1)
    )
    return parts.map(lambda found: [rule for part in found for rule in part])


def shops(size: int, kinds: int) -> st.SearchStrategy[Snapshot]:
    """Any shop of so many items, in which some users have bought some of them."""
    bought = st.tuples(
        st.sampled_from(USERS[:2]),  # the last is not known
        st.sampled_from(NAMES[:size]),
        st.integers(0, 40),
        st.sampled_from([None, 7.0, 10.5, 30.25]),
    )
    return st.builds(
        view,
        st.lists(st.booleans() | st.just(True), min_size=size, max_size=size),
        st.lists(st.integers(0, kinds), min_size=size, max_size=size),
        age=st.sampled_from([3, 300]),
        suppliers=st.lists(st.sampled_from([None, "a", "b", "c", "d"]), min_size=size, max_size=size),
        bought=st.lists(bought, max_size=size),
    )


def candidates(size: int) -> st.SearchStrategy[pd.DataFrame]:
    each = st.lists(st.sampled_from([*NAMES[:size], "gone"]), unique=True, min_size=1, max_size=size)
    return st.lists(each, min_size=3, max_size=3).map(lambda users: scored(*users))


@budget(max_examples=40, deadline=None)
@given(rules(NAMES, 4), st.integers(3, 12), shops(40, 8), candidates(40))
def test_no_list_breaks_a_rule(asked, size, shown, found):
    settings = lists(*asked, size=size)
    listed = rerank(found, shown, settings)
    for user in USERS:
        check(listed, user, shown, settings, exhaustive=False)


@budget(max_examples=40, deadline=None)
@given(rules(NAMES[:8], 2), st.integers(3, 5), shops(8, 3), candidates(8))
def test_no_list_has_less_than_the_rules_let_it_have(asked, size, shown, found):
    settings = lists(*asked, size=size)
    listed = rerank(found, shown, settings)
    for user in USERS:
        check(listed, user, shown, settings, exhaustive=True)


@budget(max_examples=12, deadline=None)
@given(rules(NAMES, 4), st.integers(3, 12), shops(40, 8), candidates(40))
def test_the_gate_sees_that_the_rules_are_kept(asked, size, shown, found):
    settings = lists(*asked, size=size)
    listed = rerank(found, shown, settings)
    told = audited(listed, shown.items, shown.pairs, settings)
    assert told[["sellable", "due", "in_place", "within_caps"]].all(axis=None)
    for user, mine in told.groupby("user_id"):
        demands = Demands(user, shown, settings)
        enough = [min(least, len(group.intersection(demands.allowed))) for group, least in demands.groups]
        has = all(n >= asked for n, asked in zip(demands.reached(mine["item_id"].tolist()), enough, strict=False))
        assert set(mine["exposed"]) == {has}


def test_orders_are_told_apart():
    """The exhaustive check can fail: a list by score alone, where two crossing caps ask for another."""
    shown = view([True] * 3, [0, 0, 1], suppliers=["a", "b", "a"])
    settings = lists({"rule": "cap", "by": "kind", "most": 1}, {"rule": "cap", "by": "supplier", "most": 1})
    demands = Demands("u0", shown, settings)
    assert demands.keeps_caps(["i00"])
    assert not demands.keeps_caps(["i00", "i01"])
    assert demands.reached(["i00"]) < demands.most() == (2,)
    assert chosen(rerank(scored(NAMES[:3]), shown, settings)) == [["i01", "i02"]]
