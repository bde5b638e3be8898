"""train, build_index, evaluate and infer over a lake whose features are planted."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jobs.build_index import build_index
from jobs.evaluate import evaluate
from jobs.infer import index_champion, infer, unknown_items
from jobs.promote import promote
from jobs.publish_channels import publish_channels
from jobs.train import train, warm_start
from nightshift.config.settings import Banned, Lists, Pinned
from nightshift.features.lineage import LINEAGE, State, load_lineage, record
from nightshift.features.measures import PARTS, WEIGHT_PARTS
from nightshift.features.snapshot import Snapshot, load_snapshot
from nightshift.lake import Lake
from nightshift.monitoring import reference
from nightshift.publishing.build import build
from nightshift.publishing.lists import load_lists
from nightshift.publishing.pointer import read_pointer
from nightshift.publishing.read import live_manifest
from nightshift.publishing.storage import store_of
from nightshift.registry import Champion, record_promotion
from nightshift.registry.tracking import Registered, Tracking
from nightshift.retrieval.recall import split_queries
from nightshift.runs import GateError, Night, StepError
from tests import shop
from tests.mlflow_database import put_database

COUNTRIES = ("France", "Spain")
TABLES = {
    "users": "user_features",
    "items": "item_features",
    "pairs": "user_item_features",
    "sequences": "user_sequences",
    "cooccurrence": "cooccurrence",
}


def planted_night(home: Path, run_date: dt.date = shop.RUN_DATE, **sections: dict[str, Any]) -> Night:
    """A night whose steps up to the features have run."""
    night = Night(shop.settings(**sections), run_date, "by-hand", home)
    put_database(home)
    lake = Lake(home / "lake")
    values = {"weight": 1.0, "event_type": "purchase", "quantity": 1.0, "price": 2.5, "country": "France"}
    known = shop.interactions().assign(**values)
    known = known.assign(title=known["item_id"], kind=known["item_id"].str[:-1], event_id=known.index.astype(str))
    if not lake.exists("events"):
        lake.replace("events", sorted(known["run_date"].unique()), known)
    views = [shop.snapshot(shop.interactions(), day) for day in night.cutoffs]
    versions = {table: lake.replace(table, night.cutoffs, stored(views, name)) for name, table in TABLES.items()}
    lineage = load_lineage(lake, night.settings)
    versions[LINEAGE] = record(lake, [State(day, lineage.of(day), None) for day in night.cutoffs])
    night.write_json("build_features", {"tables": {"events": lake.version("events"), **versions}})
    return night


def stored(views: list[Snapshot], name: str) -> pd.DataFrame:
    """The rows of the views as the lake keeps them: days instead of ages."""
    return pd.concat([_stored(getattr(view, name), view.as_of).assign(run_date=view.as_of) for view in views])


def _stored(rows: pd.DataFrame, as_of: dt.date) -> pd.DataFrame:
    def day(age: int) -> dt.date:
        return as_of - dt.timedelta(days=int(age))

    if "affinity" in rows:
        days = {f"{which}_day": rows[f"days_since_{which}"].map(day) for which in ("first", "last")}
        sums = {"quantity_sum": (rows["quantity"] * PARTS).astype("int64")}
        sums["net"] = (rows["affinity"] * WEIGHT_PARTS).astype("int64")
        return rows[["user_id", "item_id", "events", "baskets"]].assign(**days, **sums)
    if "days_ago" in rows:
        return rows[["user_id", "items"]].assign(days=rows["days_ago"].map(lambda ages: [day(age) for age in ages]))
    return rows


def run(night: Night, *steps: Any) -> dict[str, Any]:
    for step in steps:
        found = step(night)
        night.write_json(step.__name__, found)
    return found


def content(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A first night, whole."""
    night = planted_night(tmp_path_factory.mktemp("home"))
    run(night, train, build_index, evaluate, infer)
    return night


def test_every_model_is_tested_on_the_same_users(night):
    metrics = night.read_json("train")["metrics"]
    assert {"two_stage", "popularity", "recent_popularity", "repeat", "item_item"} <= set(metrics)
    assert {found["users"] for found in metrics.values()} == {60}


def test_what_each_rule_costs_ends_where_the_lists_are(night):
    trained = night.read_json("train")
    rules = ["scores", "banned", "cap", "freshness", "diversity"]
    assert [step["rule"].split(":")[0] for step in trained["rules_cost"]] == rules
    assert trained["rules_cost"][-1]["ndcg"] == pytest.approx(trained["metrics"]["two_stage_reranked"]["ndcg"])


def test_training_leaves_curves_and_what_it_read(night):
    trained = night.read_json("train")
    assert trained["tables"] == night.read_json("build_features")["tables"]
    assert all(len(point) == 2 for curve in trained["curves"].values() for point in curve)


def test_the_index_holds_what_can_be_sold(night):
    summary = night.read_json("build_index")
    assert summary["indexes"].keys() == {"graph_filter", "two_tower"}
    for found in summary["indexes"].values():
        assert (found["kind"], found["items"], found["items_known"], found["recall"]) == ("flat", 41, 43, 1)
        assert found["queries"] == 30  # of 60 users; the search would be tuned with the others
    assert [source for source, found in summary["indexes"].items() if "recall_items" in found] == ["two_tower"]


def test_the_verdict_names_who_serves_and_all_figures(night):
    verdict = night.read_json("verdict")
    assert verdict["accepted"], verdict["reasons"]
    assert verdict["served"]["kind"] == "two_stage"
    assert (night.home / verdict["served"]["folder"]).is_dir()
    assert verdict["champion"] is None
    figures = [row["ndcg"] for row in verdict["table"]]
    assert figures == sorted(figures, reverse=True)


def test_the_lists_can_be_published(night, tmp_path):
    lists = load_lists(night.folder / "lists")
    run = build(lists, 4, 1, tmp_path)
    assert run.counts == {"users": 60, "items": 43, "lists": 60 + 43 + 1 + 2, "entries": 600, "longest": 10}
    assert lists.popular.num_rows == 10
    assert {"item_id": "MUG00", "title": "MUG NO 00"} in lists.items.to_pylist()
    rows = pd.read_parquet(night.folder / "lists" / "lists.parquet")
    assert rows.columns.tolist() == ["user_id", "rank", "item_id", "score", "source", "reason"]
    assert rows["rank"].dtype == np.int32
    assert rows["reason"].str.len().min() > 5
    assert not set(shop.GONE) & set(rows["item_id"])
    assert lists.segments["value"].value_counts().to_pylist() == [
        {"values": country, "counts": 10} for country in COUNTRIES
    ]
    assert not set(shop.GONE) & set(lists.segments["item_id"].to_pylist())
    assert lists.attributes.column_names == ["kind"]
    bought = pd.read_parquet(night.folder / "lists" / "histories.parquet").groupby("user_id")
    assert (len(bought), bought.size().max(), bought["bought_on"].max().max()) == (60, 20, shop.RUN_DATE)


def test_a_version_that_has_served_is_as_it_was_registered_and_the_next_night_goes_on_from_it(night):
    champion = Tracking(night).version(night.read_json("verdict")["served"]["version"])
    assert reference.read(champion.folder, "what drift is measured against").window
    assert champion.intact
    registered(night)
    _, told = warm_start(planted_night(night.home, shop.RUN_DATE + dt.timedelta(days=1)))
    assert told.startswith(f"a refresh of the champion's, version {champion.version}, ")


def test_items_that_rules_name_and_nobody_has_are_told():
    items = shop.snapshots()[-1].items["item_id"].tolist()
    rules = [Banned(rule="banned", items={"ba-1"}), Pinned(rule="pinned", items=(items[0], "pi-1")), *Lists().rules]
    assert unknown_items(Lists(rules=rules), shop.snapshots()[-1]) == ["ba-1", "pi-1"]


def test_steps_run_again_leave_the_same_bytes(night):
    before = {name: content(night.folder / name) for name in ("model", "index", "lists")}
    verdict = night.read_json("verdict")
    run(night, train, build_index, evaluate, infer)
    assert {name: content(night.folder / name) for name in before} == before
    assert night.read_json("verdict") == verdict


def test_other_models_lists_go_to_their_channels_and_the_nights_own_stay(night):
    """A baseline as an old version would be, and the night's own model, as where it was refused."""
    kept, summaries = content(night.folder / "lists"), {name: night.read_json(name) for name in ("verdict", "infer")}
    for step in ("ingest", "validate_events"):
        night.write_json(step, {})
    baseline = Tracking(night).register("repeat", night.folder / "baseline")
    done = publish_channels(night, {"simple": baseline.version, "newest": "challenger"})["channels"]
    assert (done["simple"]["model"]["version"], done["newest"]["model"]["kind"]) == (baseline.version, "two_stage")
    storage = store_of(night.settings, night.home)
    for name, made in done.items():
        manifest = live_manifest(storage, "home", name)
        assert (str(manifest.run), manifest.content_hash) == (made["live"], made["content_hash"])
        assert manifest.run_id == f"by-hand-{name}"
    assert read_pointer(storage, "home") is None
    assert content(night.folder / "lists") == kept
    assert {name: night.read_json(name) for name in summaries} == summaries
    gates = Lake(night.home / "lake").arrow("validation_results", ["gate"])["gate"].unique().to_pylist()
    assert {"validate_lists.simple", "validate_lists.newest"} <= set(gates)
    assert "validate_lists" not in gates
    again = publish_channels(night, {"simple": baseline.version})["channels"]["simple"]
    assert (again["moved"], again["content_hash"]) == (False, done["simple"]["content_hash"])


def test_a_channel_that_fails_does_not_keep_the_others_from_their_turn(night):
    version = Tracking(night).register("repeat", night.folder / "baseline").version
    with pytest.raises(StepError, match=r"^channel a: .* has no version '77'; it has"):
        publish_channels(night, {"a": "77", "b": version})
    assert live_manifest(store_of(night.settings, night.home), "home", "b")


def test_a_refused_challenger_leaves_the_champion_serving(night):
    later = planted_night(night.home, shop.RUN_DATE + dt.timedelta(days=1), evaluation={"min_gain": 1.0})
    champion = registered(night)
    run(later, train, build_index, evaluate, infer)
    verdict = later.read_json("verdict")
    assert not verdict["accepted"]
    assert verdict["champion"]["users"] == verdict["challenger"]["users"]
    assert (verdict["served"]["version"], verdict["served"]["kind"]) == (champion.version, "two_stage")
    assert later.read_json("infer")["model"]["version"] == champion.version
    assert "more than +1" in verdict["reasons"][-1]


def test_a_champion_whose_files_cannot_be_had_stops_the_night(night):
    later = planted_night(night.home, shop.RUN_DATE + dt.timedelta(days=2))
    run(later, train)
    record_promotion(night, Champion("recommender", "77", "two_stage"), True, "test", by="hand")
    for step in (train, evaluate):
        with pytest.raises(StepError, match=r"the champion, version 77, cannot be had: .* has no version '77'"):
            step(later)
    registered(night, by="hand")


def test_a_champion_that_knows_days_of_a_longer_test_serves_on_until_it_can_be_tested(night):
    """Raising evaluation.test_days says nothing against it: no challenger passes it by, no baseline takes its place."""
    champion, longer = registered(night, by="hand"), {"min_gain": -1.0, "test_days": 21}
    first = shop.RUN_DATE + dt.timedelta(days=7)  # its tested weights know 14 days less than its night did
    early, later = (planted_night(night.home, first + dt.timedelta(days=days), evaluation=longer) for days in (-3, 0))
    run(early, train, build_index, evaluate)
    verdict = early.read_json("verdict")
    assert (verdict["accepted"], verdict["served"]["version"]) == (False, champion.version), verdict["reasons"]
    told = verdict["reasons"][-1]
    assert f"cannot be compared with, and stays: champion has learnt from days up to {shop.TEST_CUTOFF}" in told
    assert f"from the night of {first} on, tonight with evaluation.test_days of at most 18" in told
    run(later, train, build_index, evaluate)
    assert later.read_json("verdict")["champion"]["users"] == 60


def test_what_promotions_before_have_lost_together_refuses_the_next(night):
    """The champion is the challenger itself: against it alone nothing is lost."""
    before = replace(night, run_date=shop.RUN_DATE - dt.timedelta(days=1))
    champion, verdicts = Tracking(night).register("two_stage", night.folder / "model"), []
    for lost in (-0.009, -0.011):
        record_promotion(before, champion, True, "test", gain=lost)
        run(night, evaluate, promote)
        verdicts.append(night.read_json("verdict"))
        assert (verdicts[-1]["lost_before"], promoted(night).gain) == (lost, 0.0)
    assert [verdict["accepted"] for verdict in verdicts] == [True, False], verdicts[0]["reasons"]
    assert "after -0.0110 by promotions before; at least more than -0.01 is asked for" in verdicts[1]["reasons"][-1]


def promoted(night: Night) -> Any:
    """What the night's own promotion left."""
    rows = Lake(night.home / "lake").pandas("promotions")
    return next(rows[(rows["run_date"] == night.run_date) & (rows["by"] == "night")].itertuples())


def test_a_champion_that_learnt_from_other_features_does_not_serve_and_it_is_said(night):
    """Nor does a challenger that is not good enough by itself get its place."""
    champion = registered(night, by="hand")
    about = json.loads((champion.folder / "ranker" / "ranker.json").read_text())
    about["definitions"]["item.trend"] = "0 abc"
    (champion.folder / "ranker" / "ranker.json").write_text(json.dumps(about))
    later = planted_night(night.home, shop.RUN_DATE + dt.timedelta(days=3), evaluation={"min_users": 1000})
    run(later, train, build_index, evaluate, infer)
    verdict = later.read_json("verdict")
    assert verdict["served"]["kind"] in verdict["baselines"]
    assert "cannot be used: " in verdict["reasons"][-1]
    assert "item.trend was version 0" in verdict["reasons"][-1]


def registered(night: Night, by: str = "night") -> Registered:
    """The night's two-stage model, promoted, whatever its verdict was."""
    champion = Tracking(night).register("two_stage", night.folder / "model")
    record_promotion(night, champion, True, "test", by)
    return champion


def test_on_a_first_day_a_baseline_serves(night):
    first = planted_night(night.home, shop.FIRST + dt.timedelta(days=3))
    run(first, train, build_index, evaluate, infer)
    verdict = first.read_json("verdict")
    assert verdict["reasons"] == ["there is no challenger"]
    assert verdict["served"]["kind"] in verdict["baselines"]
    lists = pd.read_parquet(first.folder / "lists" / "lists.parquet")
    assert (lists.groupby("user_id").size() > 0).all()


def test_an_index_that_misses_stops_the_night(night, monkeypatch):
    monkeypatch.setattr("nightshift.retrieval.recall.Truth.recall", lambda *_: 0.9)
    kept = content(night.folder / "index")
    with pytest.raises(
        GateError, match=r"index of graph_filter finds 0\.9000 of the 100 true neighbours of users, 0\.95 are"
    ):
        build_index(night)
    assert content(night.folder / "index") == kept


def test_an_index_that_misses_similar_items_stops_the_night(night, monkeypatch):
    """Though users find theirs."""
    items = len(split_queries(43)[1])
    monkeypatch.setattr("nightshift.retrieval.gate.Truth.recall", lambda t, _: 0.9 if len(t.queries) == items else 1.0)
    with pytest.raises(GateError, match=r"of two_tower finds 0\.9000 of the 100 true neighbours of items, 0\.95 are"):
        build_index(night)


def test_a_champions_index_is_gated_as_well(night, tmp_path, monkeypatch):
    """It is built anew where the night's model was refused."""
    view, model = shop.snapshots()[2], night.folder / "model"
    index_champion(model, "two_stage", night.settings, view, tmp_path)
    assert json.loads((tmp_path / "two_tower" / "items.json").read_text())["recall"] == 1
    monkeypatch.setattr("nightshift.retrieval.recall.Truth.recall", lambda *_: 0.9)
    with pytest.raises(GateError, match=r"finds 0\.9000 of the 100 true neighbours of users"):
        index_champion(model, "two_stage", night.settings, view, tmp_path)


def test_an_index_without_an_item_stops_the_night(night, monkeypatch):
    def nothing_to_sell(*args):
        snapshot = load_snapshot(*args)
        return replace(snapshot, items=snapshot.items.assign(sellable=False))

    monkeypatch.setattr("jobs.build_index.load_snapshot", nothing_to_sell)
    kept = content(night.folder / "index")
    with pytest.raises(GateError, match=r"that graph_filter knows 0 can be sold tonight, .* Look at lists\.sellable"):
        build_index(night)
    assert content(night.folder / "index") == kept


def test_before_its_forerunner_a_step_names_the_command(tmp_path):
    night = Night(shop.settings(), shop.RUN_DATE, "by-hand", tmp_path)
    for step, forerunner in (
        (train, "build_features"),
        (build_index, "train"),
        (evaluate, "train"),
        (infer, "verdict"),
    ):
        with pytest.raises(FileNotFoundError, match=f"jobs.{forerunner}"):
            step(night)
