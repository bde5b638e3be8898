"""`python -m jobs.validate_lists`: lists that break a promise stop the night, and the figure is named."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pytest

import jobs.validate_lists
from jobs.validate_lists import validate_lists
from nightshift.config import load
from nightshift.config.settings import AlreadyBought, Banned, Cap, Exposure, Pinned, Rule
from nightshift.runs import GateError, Night, StepError, open_night

ROOT = Path(__file__).parents[2]
USERS, ITEMS = ("ann", "bob"), ("A", "B", "C", "D")


def lists_of(**items: str) -> pd.DataFrame:
    """`ann="AB"`: two items for ann, A first."""
    rows = [(user, rank, item) for user, listed in items.items() for rank, item in enumerate(listed, 1)]
    frame = pd.DataFrame(rows, columns=["user_id", "rank", "item_id"])
    return frame.assign(score=1.0, source="trending", reason="Popular this month")


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    """A night whose lists are to have 2 of 4 items, of which C may not be sold."""
    settings = load(ROOT / "nightshift.yaml")
    bounds = settings.lists.model_copy(update={"size": 2, "min_coverage": 0.6, "overlap": (0.25, 1.0)})
    settings = settings.model_copy(update={"lists": bounds})
    night = open_night(settings, dt.date(2011, 11, 30), home=tmp_path)
    night.write_json("build_features", {"tables": {}})
    users = pd.DataFrame({"user_id": USERS})
    items = pd.DataFrame({"item_id": ITEMS, "sellable": [True, True, False, True], "brand": ["x", "x", "y", None]})
    pairs = pd.DataFrame({"user_id": ["ann"], "item_id": ["B"], "days_since_last": [3], "mean_gap_days": [None]})
    monkeypatch.setattr(jobs.validate_lists, "view_features", lambda db, *lake: known_to(db, users, items, pairs))
    put_before(monkeypatch, night, None)
    return night


def known_to(db: duckdb.DuckDBPyConnection, users: pd.DataFrame, items: pd.DataFrame, pairs: pd.DataFrame) -> None:
    for name, rows in {"users": users, "items": items, "pairs": pairs}.items():
        db.register(name, rows)


def put_before(monkeypatch: pytest.MonkeyPatch, night: Night, lists: pd.DataFrame | None) -> None:
    """Publish lists on the day before, or none: in two files, as of two shards."""
    files = [night.home / f"before-{number}.parquet" for number in range(2)]
    for number, file in enumerate(files if lists is not None else []):
        lists[number::2].to_parquet(file, index=False)  # type: ignore[index]
    monkeypatch.setattr(jobs.validate_lists, "published_before", lambda night, cache: None if lists is None else files)


def popular_of(items: str) -> pd.DataFrame:
    return lists_of(anybody=items).drop(columns="user_id")


def similar_of(**items: str) -> pd.DataFrame:
    """`A="BC"`: two items like A, B first."""
    listed = lists_of(**items).rename(columns={"item_id": "similar_id", "user_id": "item_id"})
    return listed.drop(columns=["source", "reason"])


def segments_of(*items: str) -> pd.DataFrame:
    """`"AB", "D"`: a list of two items for a first country, and one of one for a second."""
    listed = [popular_of(of).assign(attribute="country", value=str(number)) for number, of in enumerate(items)]
    return pd.concat(listed, ignore_index=True) if listed else popular_of("A").assign(attribute="", value="").iloc[:0]


HISTORIES = pd.DataFrame(
    {
        "user_id": ["ann", "ann", "bob"],
        "item_id": ["A", "C", "A"],
        "bought_on": [dt.date(2011, 11, 30), dt.date(2011, 11, 2), dt.date(2011, 10, 1)],
        "times": [1, 3, 2],
    }
)


def put(night: Night, lists: pd.DataFrame, **others: pd.DataFrame) -> Night:
    """Leave the lists as `infer` does; those that are not given are good ones."""
    folder = night.folder / "lists"
    folder.mkdir(parents=True, exist_ok=True)
    items = pd.DataFrame({"item_id": ITEMS, "title": None})
    good = {
        "popular": popular_of("AB"),
        "segments": segments_of("AB"),
        "similar": similar_of(A="B", B="A", C="AB"),
        "items": items,
        "histories": HISTORIES,
    }
    for name, frame in {"lists": lists, **good, **others}.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    return night


def test_lists_that_keep_every_promise_pass(night: Night) -> None:
    told = validate_lists(put(night, lists_of(ann="AB", bob="BA")))
    assert (told["users"], told["users_without_list"], told["coverage"], told["overlap"]) == (2, 0, 2 / 3, None)
    assert told["warnings"] == 0
    files = sorted((night.folder / "lists").iterdir())
    assert told["sha256"] == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert len(files) == 6


def test_there_may_be_no_segments_and_no_histories(night: Night) -> None:
    segments = segments_of().astype({"attribute": object, "value": object})
    validate_lists(put(night, GOOD, segments=segments, histories=HISTORIES.iloc[:0]))


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


POPULAR, SIMILAR = popular_of("AB"), similar_of(A="B", B="A", C="AB")


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"popular": POPULAR.iloc[:0]}, "popular: table: table row count to be between: found 0"),
        ({"popular": popular_of("AA")}, "popular: item_id: column values to be unique"),
        ({"popular": popular_of("AC")}, "popular: sellable: column values to be in set: found 1 of 2"),
        ({"popular": POPULAR.assign(rank=[1, 1])}, "popular: rank: column values to be unique"),
        ({"popular": POPULAR.assign(rank=[1, 3])}, "popular: in_line: column values to be in set: found 1 of 2"),
        ({"popular": POPULAR.assign(rank=[0, 1])}, "popular: in_line: column values to be in set: found 1 of 2"),
        ({"popular": popular_of("ABA")}, "popular: in_line: column values to be in set: found 1 of 3"),
        ({"popular": POPULAR.assign(score=[1.0, None])}, "popular: finite: column values to be in set"),
        ({"popular": POPULAR.assign(reason=None)}, "popular: reason: column values to not be null"),
        (
            {"histories": HISTORIES.assign(times=[1, 0, 2])},
            "histories: bought: column values to be in set: found 1 of 3",
        ),
        (
            {"histories": HISTORIES.assign(user_id=["ann", "ann", "cat"])},
            "histories: of_known_user: column values to be in set: found 1 of 3",
        ),
        (
            {"histories": HISTORIES.assign(user_id=[None, "ann", "bob"])},
            "histories: of_known_user: column values to be in set: found 1 of 3",
        ),
        (
            {"histories": HISTORIES.assign(item_id=["A", "X", None])},
            "histories: of_known_item: column values to be in set: found 2 of 3",
        ),
        ({"similar": SIMILAR.iloc[:0]}, "similar: table: table row count to be between: found 0"),
        ({"similar": similar_of(A="BB")}, "similar: item_id and similar_id: compound columns to be unique"),
        ({"similar": similar_of(A="C")}, "similar: sellable: column values to be in set"),
        ({"similar": similar_of(A="A")}, "similar: another: column values to be in set"),
        ({"similar": similar_of(X="A")}, "similar: known: column values to be in set"),
        ({"similar": SIMILAR.assign(rank=[1, 1, 1, 1])}, "similar: item_id and rank: compound columns to be unique"),
        ({"similar": SIMILAR.assign(rank=[1, 1, 2, 3])}, "similar: in_line: column values to be in set: found 1 of 4"),
        ({"similar": SIMILAR.assign(score=float("inf"))}, "similar: finite: column values to be in set: found 4 of 4"),
    ],
)
def test_a_fault_in_the_lists_for_unknown_users_or_of_similar_items_stops_the_night(
    night: Night, others: dict[str, pd.DataFrame], said: str
) -> None:
    with pytest.raises(GateError, match=said):
        validate_lists(put(night, GOOD, **others))


def test_what_is_banned_is_in_no_list(night: Night) -> None:
    night = ruled(night, Banned(rule="banned", items=frozenset({"A"})))
    with pytest.raises(GateError) as stopped:
        validate_lists(put(night, GOOD))
    told = str(stopped.value)
    assert all(f"{suite}: sellable: column values" in told for suite in ("lists", "popular", "similar"))


BROKEN = "column values to be in set: found"


def ruled(night: Night, *rules: Rule) -> Night:
    lists = night.settings.lists.model_copy(update={"rules": list(rules)})
    return replace(night, settings=night.settings.model_copy(update={"lists": lists}))


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Cap(rule="cap", by="brand", most=1), ["lists: within_caps", "popular: within_caps", "segments: within_caps"]),
        (Pinned(rule="pinned", items=("B",)), ["lists: in_place", "popular: in_place", "segments: in_place"]),
        (
            Exposure(rule="exposure", where="item_id = 'D'", least=1),
            ["lists: exposed", "popular: exposed", "segments: exposed"],
        ),
        (AlreadyBought(rule="already_bought", mode="drop"), ["lists: due"]),
    ],
)
def test_a_rule_of_the_lists_that_is_broken_stops_the_night(night: Night, rule: Rule, said: list[str]) -> None:
    """A and B are of one brand, ann has bought B, and D, which nobody is offered, could be sold."""
    with pytest.raises(GateError) as stopped:
        validate_lists(put(ruled(night, rule), GOOD))
    assert [line for line in said if f"{line}: {BROKEN}" not in str(stopped.value)] == []
    assert str(stopped.value).count(BROKEN) == len(said)


def test_a_list_is_short_where_more_could_be_offered_to_its_user(night: Night) -> None:
    night = ruled(night, AlreadyBought(rule="already_bought", mode="drop"))
    with pytest.raises(GateError, match="short_lists"):
        validate_lists(put(night, lists_of(ann="A", bob="A")))
    assert validate_lists(put(night, lists_of(ann="AD", bob="BA")))["short_lists"] == 0


@pytest.mark.parametrize("lists", [GOOD, lists_of(ann="A")])
def test_what_grows_with_the_users_is_not_loaded_and_nothing_is_left_of_it(
    night: Night, monkeypatch: pytest.MonkeyPatch, lists: pd.DataFrame
) -> None:
    loaded, real = [], pd.read_parquet
    monkeypatch.setattr(pd, "read_parquet", lambda file, **options: loaded.append(file.stem) or real(file, **options))
    put_before(monkeypatch, night, GOOD)
    put(night, lists)
    before = set(night.folder.iterdir())
    with nullcontext() if lists is GOOD else pytest.raises(GateError):
        validate_lists(night)
    assert sorted(loaded) == ["popular", "segments", "similar"]
    assert {file.suffix for file in set(night.folder.iterdir()) - before} == {".json"}


def test_a_file_that_infer_has_not_left_is_named(night: Night) -> None:
    (put(night, GOOD).folder / "lists" / "similar.parquet").unlink()
    with pytest.raises(StepError, match=r"similar\.parquet is not there: run `python -m jobs\.infer`"):
        validate_lists(night)


def test_too_little_coverage_or_overlap_with_the_lists_before_stops_the_night(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_before(monkeypatch, night, lists_of(ann="XY", bob="XY"))
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
    put_before(monkeypatch, night, lists_of(cat="AB", dan="BA"))
    with pytest.raises(GateError, match=r"overlap: .* like 0.0, allowed 0.1 to 0.9"):
        validate_lists(night)


def test_lists_that_have_not_changed_at_all_stop_the_night_where_that_is_asked(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = within(put(night, GOOD), 0.1, 0.9)
    put_before(monkeypatch, night, GOOD)
    with pytest.raises(GateError, match=r"overlap: .* like 1.0, allowed 0.1 to 0.9"):
        validate_lists(night)


def test_faults_in_the_lists_of_segments_and_in_histories_stop_the_night(night: Night) -> None:
    segments = pd.concat([segments_of("BB", "C", "DAB"), segments_of("AB").assign(value="x", rank=1, score=None)])
    segments.loc[segments["item_id"] == "D", "reason"] = None
    later = HISTORIES.assign(bought_on=[dt.date(2011, 12, 1), None, dt.date(2011, 11, 30)], times=[0, 1, 2])
    lists = night.settings.lists.model_copy(update={"histories": 2})
    night = replace(night, settings=night.settings.model_copy(update={"lists": lists}))
    with pytest.raises(GateError) as stopped:
        validate_lists(put(night, GOOD, segments=segments, histories=pd.concat([later, HISTORIES])))
    said = {line.split(", allowed")[0].split(", like")[0] for line in str(stopped.value).split("; ")}
    assert said == {
        "segments: attribute and value and item_id: compound columns to be unique: found 2 of 8 rows",
        "segments: attribute and value and rank: compound columns to be unique: found 2 of 8 rows",
        "segments: in_line: column values to be in set: found 1 of 8 rows",
        "segments: sellable: column values to be in set: found 1 of 8 rows",
        "segments: finite: column values to be in set: found 2 of 8 rows",
        "segments: reason: column values to not be null: found 1 of 8 rows",
        "histories: user_id and item_id: compound columns to be unique: found 6 of 6 rows",
        "histories: known: column values to be in set: found 2 of 6 rows",
        "histories: bought: column values to be in set: found 1 of 6 rows",
        "histories: within: column values to be in set: found 4 of 6 rows",
    }
