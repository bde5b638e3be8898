"""What each rule of the lists does, on shelves where the right list can be said."""

import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nightshift.config.settings import Lists
from nightshift.features.snapshot import Snapshot
from nightshift.models import coded as coded_module
from nightshift.models.coded import Coded
from nightshift.ranking.rerank import Reranked, Rules, pick, rerank
from nightshift.runs import StepError
from tests import shop
from tests.ranking.shelves import NAMES, chosen, lists, scored, view


def test_without_rules_the_order_is_the_models():
    found = rerank(scored(NAMES[5:20], NAMES[20:2:-1]), view([True] * 40, list(range(40))), lists())
    assert chosen(found) == [NAMES[5:8], NAMES[20:17:-1]]
    assert found["score"].tolist() == [9, 8, 7] * 2


def test_a_kind_gives_way_when_it_has_had_its_share():
    rules = lists({"rule": "cap", "by": "kind", "most": 1})
    assert chosen(rerank(scored(NAMES[:6]), view([True] * 6, [0, 0, 0, 1, 1, 2]), rules)) == [["i00", "i03", "i05"]]


def test_any_attribute_can_be_capped_and_items_without_a_value_are_free():
    shown = view([True] * 6, list(range(6)), suppliers=["a", "a", None, None, "b", "b"])
    rules = lists({"rule": "cap", "by": "supplier", "most": 1}, size=4)
    assert chosen(rerank(scored(NAMES[:6]), shown, rules)) == [["i00", "i02", "i03", "i04"]]


DIVERSE = [["red mug", "red mug large", "red mug small", "blue lantern", "clock"], ["i00", "i03", "i04"]]


@pytest.mark.parametrize("method", ["mmr", "dpp"])
def test_what_is_alike_gives_way_to_what_is_different(method):
    shown = view([True] * 5, list(range(5)), DIVERSE[0])
    assert chosen(rerank(scored(NAMES[:5]), shown, lists())) == [["i00", "i01", "i02"]]
    diverse = lists({"rule": "diversity", "method": method, "weight": 0.9})
    assert chosen(rerank(scored(NAMES[:5]), shown, diverse)) == [DIVERSE[1]]


@pytest.mark.parametrize("method", ["mmr", "dpp"])
def test_two_of_a_kind_are_alike_whatever_their_titles(method):
    shown = view([True] * 4, [0, 0, 0, 1])
    diverse = lists({"rule": "diversity", "method": method, "weight": 0.9}, size=2)
    assert chosen(rerank(scored(NAMES[:4]), shown, diverse)) == [["i00", "i03"]]


@pytest.mark.parametrize("weight", [0.3, 0.8])
def test_the_point_process_takes_what_the_determinant_gains_most_by(weight):
    rng = np.random.default_rng(3)
    titles = [" ".join(rng.choice(list("abcdefgh"), 3, replace=False)) for _ in range(12)]
    shown = view([True] * 12, [number // 3 for number in range(12)], titles)
    settings = lists({"rule": "diversity", "method": "dpp", "weight": weight}, size=6)
    rules = Rules(Coded(shown), settings)
    relevance = np.sort(rng.random(12))[::-1]
    relevance = (relevance - relevance.min()) / np.ptp(relevance)
    words, kind = rules.words[:-1], rules.kind[:-1]
    likeness = 0.7 * words @ words.T + 0.3 * np.equal.outer(kind, kind)
    np.fill_diagonal(likeness, 1)

    def gain(items: list[int]) -> float:
        _, determinant = np.linalg.slogdet(likeness[np.ix_(items, items)].astype(float))
        return (1 - weight) * relevance[items].sum() + weight * determinant

    best: list[int] = []
    for _ in range(6):
        best.append(max(sorted(set(range(12)) - set(best)), key=lambda item: gain([*best, item])))
    found = pick(np.array([-1]), np.arange(12)[None, :], relevance[None, :], rules)
    assert found.tolist() == [best]


@pytest.mark.parametrize("method", ["mmr", "dpp"])
def test_a_large_catalogue_has_the_same_lists_as_a_small_one(method, monkeypatch):
    rng = np.random.default_rng(3)
    titles = [" ".join(rng.choice(list("abcdefgh"), 3, replace=False)) for _ in range(40)]
    shown = view([True] * 40, [number // 3 for number in range(40)], titles)
    diverse = lists({"rule": "diversity", "method": method, "weight": 0.6}, size=8)
    small = chosen(rerank(scored(NAMES[:30], NAMES[::-1]), shown, diverse))
    monkeypatch.setattr(coded_module, "SMALL_CATALOGUE", 0)
    anew = replace(shown, shared={})
    assert chosen(rerank(scored(NAMES[:30], NAMES[::-1]), anew, diverse)) == small
    assert Coded(anew).of_items.cosine is None
    assert small != [NAMES[:8], NAMES[::-1][:8]]


def test_the_point_process_fills_a_list_that_has_nothing_new_to_offer():
    shown = view([True] * 5, [0] * 5, ["the same"] * 5)
    diverse = lists({"rule": "diversity", "method": "dpp", "weight": 0.5}, size=5)
    assert chosen(rerank(scored(NAMES[:5]), shown, diverse)) == [NAMES[:5]]


def test_a_new_item_is_lifted():
    shown = view([True] * 5, list(range(5)))
    shown.items.loc[3, "days_since_first"] = 9
    for days, expected in ((10, ["i00", "i03", "i01"]), (9, ["i00", "i01", "i02"])):
        fresh = lists({"rule": "freshness", "days": days, "boost": 0.6})
        assert chosen(rerank(scored(NAMES[:5]), shown, fresh)) == [expected]


def test_what_a_rule_put_there_says_so():
    shown = view([True] * 20, list(range(20)))
    shown.items.loc[4, "events_28d"] = 0  # i00 too, which comes first by its id
    exposed = {"rule": "exposure", "where": "events_28d = 0 and item_id <> 'i00'", "least": 1}
    found = rerank(scored(["i01"]), shown, lists({"rule": "pinned", "items": ["i09"]}, exposed, size=4))
    assert chosen(found) == [["i09", "i01", "i04", "i19"]]  # pinned, the model's, the group's, and what is popular
    assert found["source"].tolist() == ["pinned", "two_tower", "exposure", "trending"]


def test_a_pinned_item_that_the_model_brought_keeps_its_source_and_score():
    rules = lists({"rule": "pinned", "items": ["i02"]})
    found = rerank(scored(NAMES[:4]), view([True] * 20, list(range(20))), rules)
    assert found.iloc[0].tolist() == ["u0", 1, "i02", 7.0, "two_tower"]


def test_pinned_items_count_for_a_cap_and_are_never_dropped_for_it():
    pinned = {"rule": "pinned", "items": ["i01", "i00"]}
    rules = lists(pinned, {"rule": "cap", "by": "kind", "most": 1}, size=4)
    assert chosen(rerank(scored(NAMES[:6]), view([True] * 6, [0, 0, 0, 1, 1, 2]), rules)) == [
        ["i01", "i00", "i03", "i05"]
    ]


def test_a_group_that_scores_would_leave_out_gets_its_places_and_no_more():
    exposed = {"rule": "exposure", "where": "supplier in ('s6', 's8', 's9')", "least": 2}
    found = rerank(scored(NAMES[:10]), view([True] * 20, list(range(20))), lists(exposed, size=5))
    assert chosen(found) == [["i00", "i01", "i02", "i06", "i08"]]


def test_a_group_that_has_its_places_already_changes_nothing():
    exposed = {"rule": "exposure", "where": "supplier in ('s0', 's3', 's8')", "least": 2}
    found = rerank(scored(NAMES[:10]), view([True] * 20, list(range(20))), lists(exposed, size=5))
    assert chosen(found) == [NAMES[:5]]


def test_a_cap_is_kept_where_a_group_would_need_more_than_it_leaves():
    rules = lists(
        {"rule": "cap", "by": "kind", "most": 1}, {"rule": "exposure", "where": "kind = 'k0'", "least": 3}, size=4
    )
    shown = view([True] * 8, [1, 2, 3, 0, 0, 0, 4, 5])
    assert chosen(rerank(scored(NAMES[:8]), shown, rules)) == [["i00", "i01", "i02", "i03"]]


def test_a_condition_that_cannot_be_evaluated_is_named():
    rules = lists({"rule": "exposure", "where": "suplier = 'a'", "least": 1})
    with pytest.raises(StepError, match=r"exposure where \"suplier = 'a'\" cannot be evaluated.*They have item_id"):
        rerank(scored(NAMES[:4]), view([True] * 6, list(range(6))), rules)


def test_crossing_caps_leave_no_list_short_that_can_be_full():
    """By score, i00 (kind 0, supplier a) blocks i01 and i02: a full list must do without it."""
    shown = view([True] * 3, [0, 0, 1], suppliers=["a", "b", "a"])
    rules = lists({"rule": "cap", "by": "kind", "most": 1}, {"rule": "cap", "by": "supplier", "most": 1}, size=2)
    assert chosen(rerank(scored(NAMES[:3]), shown, rules)) == [["i01", "i02"]]


BOUGHT = [  # user, item, days since, mean gap
    ("u0", "i00", 5, None),  # once; others' gaps are 10 and 20: typically 15
    ("u0", "i01", 8, 8.0),
    ("u0", "i02", 8, 9.0),
    ("u0", "i03", 400, None),  # nobody has bought it twice
    ("u1", "i00", 9, 10.0),
    ("u2", "i00", 30, 20.0),
    ("u3", "i00", 15, None),
]


@pytest.mark.parametrize(
    ("options", "held"),
    [
        ({"mode": "keep"}, ["", "", "", "", ""]),
        ({"mode": "drop"}, ["i00 i01 i02 i03", "i00", "i00", "i00", ""]),
        ({"mode": "wait"}, ["i00 i02 i03", "i00", "", "", ""]),
        ({"mode": "wait", "factor": 0.5}, ["i00 i03", "", "", "", ""]),
        ({"mode": "wait", "factor": 1.5}, ["i00 i01 i02 i03", "i00", "", "i00", ""]),
    ],
)
def test_what_was_bought_is_offered_again_when_it_is_due(options, held):
    shown = view([True] * 8, list(range(8)), bought=BOUGHT)
    found = rerank(scored(*[NAMES[:6]] * 5), shown, lists({"rule": "already_bought", **options}, size=8))
    assert [" ".join(sorted(set(NAMES[:8]) - set(items))) for items in chosen(found)] == held


def test_a_pinned_item_waits_too():
    shown = view([True] * 8, list(range(8)), bought=BOUGHT)
    rules = lists({"rule": "already_bought", "mode": "drop"}, {"rule": "pinned", "items": ["i00", "i05"]}, size=2)
    assert chosen(rerank(scored(["i06"], ["i06"], ["i06"], ["i06"], ["i06"]), shown, rules)) == [
        ["i05", "i06"], ["i05", "i06"], ["i05", "i06"], ["i05", "i06"], ["i00", "i05"],
    ]  # fmt: skip


def test_items_without_kind_or_title_are_not_alike():
    shown = view([True] * 6, list(range(6)))
    shown.items[["kind", "title"]] = None
    for method in ("mmr", "dpp"):
        rules = lists({"rule": "cap", "by": "kind", "most": 1}, {"rule": "diversity", "method": method, "weight": 0.5})
        assert chosen(rerank(scored(NAMES[:6]), shown, rules)) == [["i00", "i01", "i02"]]


def test_a_reranked_model_gives_what_readers_get():
    settings = shop.settings(lists={"rules": [{"rule": "cap", "by": "kind", "most": 2}]})
    found = Reranked(shop.trained().serving, settings.lists).recommend(shop.snapshots()[2], ["l01", "nobody"], 4)
    kinds = found["item_id"].str[:-1]
    assert kinds.groupby([found["user_id"], kinds]).size().max() <= 2
    assert found.groupby("user_id").size().tolist() == [4, 4]


EVERY_RULE = [
    {"rule": "cap", "by": "kind", "most": 3},
    {"rule": "cap", "by": "supplier", "most": 2},
    {"rule": "exposure", "where": "item_id like '%7'", "least": 2},
    {"rule": "freshness"},
    {"rule": "diversity", "method": "dpp"},
]


@pytest.mark.parametrize("rules", [Lists(), lists(*EVERY_RULE, size=20)], ids=["default", "every rule"])
def test_thousands_of_lists_take_seconds(rules):
    users, width, items = 1100, 100, 3000
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"item_id": [f"i{n:04d}" for n in range(items)], "sellable": True})
    frame = frame.assign(kind=frame["item_id"].str[:-1], supplier=rng.integers(0, 300, items).astype(str))
    frame["title"] = [" ".join(rng.choice(list("abcdefghijklmnop"), 5)) for _ in range(items)]
    frame = frame.assign(events_28d=1, events_all=1, days_since_first=99)
    nothing = pd.DataFrame()
    ready = Rules(Coded(Snapshot(shop.RUN_DATE, nothing, frame, nothing, nothing, nothing)), rules)
    candidates = np.argsort(rng.random((users, items)), axis=1)[:, :width]
    begun = time.process_time()
    found = pick(np.full(users, -1), candidates, np.sort(rng.random((users, width)))[:, ::-1], ready)
    assert found.min() >= 0
    assert time.process_time() - begun < 8  # a tenth of that on an idle core


@pytest.mark.parametrize("rules", [{"weight": 0.0}, {"weight": 0.5}, {"weight": 0.5, "method": "dpp"}])
def test_a_users_list_does_not_depend_on_the_others(rules):
    shown = view([True] * 40, [number // 4 for number in range(40)])
    exposed = {"rule": "exposure", "where": "supplier in ('s2', 's3', 's39')", "least": 2}
    settings = lists({"rule": "cap", "by": "kind", "most": 3}, exposed, {"rule": "diversity", **rules}, size=10)
    users = [NAMES[:30], NAMES[30:5:-1], ["i07", "i01"]]
    together = chosen(rerank(scored(*users), shown, settings))
    assert together == [chosen(rerank(scored(user), shown, settings))[0] for user in users]
    assert len({tuple(items) for items in together}) == 3
