"""`python -m jobs.validate_lists`: lists that break a promise stop the night, and the figure is named."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import jobs.validate_lists
from jobs.validate_lists import summarise, validate_lists
from nightshift.config import load
from nightshift.features.snapshot import Snapshot
from nightshift.runs import GateError, Night, open_night

ROOT = Path(__file__).parents[2]
USERS, ITEMS = ("ann", "bob"), ("A", "B", "C")


def lists_of(**items: str) -> pd.DataFrame:
    """`ann="AB"`: two items for ann, A first."""
    rows = [(user, rank, item) for user, listed in items.items() for rank, item in enumerate(listed, 1)]
    frame = pd.DataFrame(rows, columns=["user_id", "rank", "item_id"])
    return frame.assign(score=1.0, source="trending", reason="Popular this month")


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    """A night whose lists are to have 2 of 3 items, of which C may not be sold."""
    settings = load(ROOT / "nightshift.yaml")
    bounds = settings.lists.model_copy(update={"size": 2, "min_coverage": 0.6, "overlap": (0.25, 1.0)})
    settings = settings.model_copy(update={"lists": bounds})
    night = open_night(settings, dt.date(2011, 11, 30), home=tmp_path)
    night.write_json("build_features", {"tables": {}})
    users = pd.DataFrame({"user_id": USERS})
    items = pd.DataFrame({"item_id": ITEMS, "sellable": [True, True, False]})
    snapshot = Snapshot(night.run_date, users, items, users, users, items)
    monkeypatch.setattr(jobs.validate_lists, "load_snapshot", lambda *args, **kwargs: snapshot)
    monkeypatch.setattr(jobs.validate_lists, "published_before", lambda night: None)
    return night


def put(night: Night, lists: pd.DataFrame) -> Night:
    (night.folder / "lists").mkdir(parents=True, exist_ok=True)
    lists.to_parquet(night.folder / "lists" / "lists.parquet", index=False)
    return night


def test_lists_that_keep_every_promise_pass(night: Night) -> None:
    told = validate_lists(put(night, lists_of(ann="AB", bob="BA")))
    assert (told["users"], told["users_without_list"], told["coverage"], told["overlap"]) == (2, 0, 1.0, None)
    assert told["warnings"] == 0
    if "lists_sha256" in told:
        found = (night.folder / "lists" / "lists.parquet").read_bytes()
        assert told["lists_sha256"] == hashlib.sha256(found).hexdigest()


GOOD = lists_of(ann="AB", bob="BA")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda: lists_of(ann="AB"), "users_without_list: column values to be between: found 1 of 1 rows, like 1"),
        (lambda: lists_of(ann="AA", bob="BA"), "user_id and item_id: compound columns to be unique"),
        (lambda: lists_of(ann="AC", bob="BA"), "sellable: column values to be in set"),
        (lambda: lists_of(ann="A", bob="BA"), "short_lists: .* found 1 of 1 rows, like 1, allowed 0 to 0"),
        (lambda: GOOD.assign(rank=[1, 3, 1, 2]), "rank: .* found 1 of 4 rows, like 3, allowed 1 to 2"),
        (lambda: GOOD.assign(rank=[0, 1, 1, 2]), "lists_with_gaps: .*, allowed 0 to 0"),
        (lambda: GOOD.assign(rank=[1, 1, 1, 2]), "user_id and rank: compound columns to be unique"),
        (lambda: GOOD.assign(score=[1.0, float("inf"), 1.0, 1.0]), "finite: column values to be in set"),
        (lambda: GOOD.assign(score=[1.0, float("nan"), 1.0, 1.0]), "finite: column values to be in set"),
        (lambda: GOOD.assign(reason=["why", None, "why", "why"]), "reason: column values to not be null"),
        (lambda: GOOD.iloc[:0], "table: table row count to be between: found 0"),
    ],
)
def test_a_broken_promise_stops_the_night_and_is_named(
    night: Night, broken: Callable[[], pd.DataFrame], said: str
) -> None:
    with pytest.raises(GateError, match=said):
        validate_lists(put(night, broken()))


def test_too_little_coverage_or_overlap_with_the_lists_before_stops_the_night(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.validate_lists, "published_before", lambda night: lists_of(ann="XY", bob="XY"))
    with pytest.raises(GateError, match=r"overlap: .* like 0.0, allowed 0.25 to 1"):
        validate_lists(put(night, lists_of(ann="AB", bob="BA")))


def within(night: Night, low: float, high: float) -> Night:
    bounds = night.settings.lists.model_copy(update={"overlap": (low, high)})
    return replace(night, settings=night.settings.model_copy(update={"lists": bounds}))


def test_without_lists_before_the_overlap_is_not_asked_and_without_a_common_user_it_is_nothing(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = within(put(night, lists_of(ann="AB", bob="BA")), 0.1, 0.9)
    assert validate_lists(night)["overlap"] is None
    monkeypatch.setattr(jobs.validate_lists, "published_before", lambda night: lists_of(cat="AB", dan="BA"))
    with pytest.raises(GateError, match=r"overlap: .* like 0.0, allowed 0.1 to 0.9"):
        validate_lists(night)


def test_lists_that_have_not_changed_at_all_stop_the_night_where_that_is_asked(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = within(put(night, GOOD), 0.1, 0.9)
    monkeypatch.setattr(jobs.validate_lists, "published_before", lambda night: GOOD)
    with pytest.raises(GateError, match=r"overlap: .* like 1.0, allowed 0.1 to 0.9"):
        validate_lists(night)


def test_the_figures_are_over_all_lists() -> None:
    lists = lists_of(ann="AB", bob="BC", eve="A")
    before = lists_of(ann="AX", bob="YZ", gone="AB")
    told = summarise(lists, {"ann", "bob", "cat"}, {"A", "B", "C", "D"}, 2, before)
    assert told == {
        "users": 3,
        "users_without_list": 1,
        "short_lists": 1,
        "lists_with_gaps": 0,
        "coverage": 0.75,
        "overlap": 0.25,  # ann's A of two, nothing of bob's; the others have one list only
        "users_compared": 2,
    }


def test_a_shop_that_sells_less_than_a_list_holds_has_short_lists_only() -> None:
    assert summarise(lists_of(ann="A"), {"ann"}, {"A"}, 20, None)["short_lists"] == 0
