"""A search over a planted lake, and the nights after it."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from jobs.evaluate import evaluate
from jobs.search import night_begun, search
from jobs.train import train
from nightshift.ranking.two_stage import load_two_stage
from nightshift.registry.searches import SearchRuns
from nightshift.registry.tracking import Tracking
from nightshift.runs import Night, StepError
from nightshift.runs.lock import at_work
from nightshift.tuning.space import Range, Stage
from nightshift.tuning.winner import locked, tuned, winners
from tests import shop
from tests.jobs.test_model_steps import planted_night, run

BRINGS_LITTLE: dict[str, dict[str, Any]] = {
    "candidates": dict.fromkeys(("two_tower", "graph_filter", "cooccurrence", "repeat", "trending"), 1),
    "two_tower": {"epochs": 2},
    "ranker": {"trees": 10},
}
STAGES = (
    Stage("candidates", 2, (Range("candidates.repeat", 1, 30), Range("candidates.cooccurrence", 1, 30))),
    Stage("ranker", 1, (Range("ranker.leaves", 4, 31),)),
)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A night whose sources bring next to nothing, and a search."""
    night = planted_night(tmp_path_factory.mktemp("home"), **BRINGS_LITTLE)
    night.write_json("search", search(night, trials="3", stages=STAGES))
    return night


def test_more_candidates_are_better_and_it_is_found(night):
    found = night.read_json("search")
    (winner,) = winners(night.home)
    assert (found["trials"], found["stopped"]) == (3, "3 trials have been made")
    assert found["best"]["value"] > found["base"] + 0.02
    assert winner.overrides.keys() >= {"candidates.repeat", "candidates.cooccurrence"}
    assert winner.configured["candidates.repeat"] == 1
    assert 0 < winner.gain.low < winner.gain.mean < winner.gain.high
    assert winner.gain.metric == "ndcg@10"
    assert (winner.run_date, winner.after) == (shop.RUN_DATE, shop.RUN_DATE)


def test_mlflow_has_a_run_for_the_search_and_one_in_it_for_each_trial(night):
    found = night.read_json("search")
    tracking = Tracking(night)
    parent = tracking.client.get_run(found["mlflow_run"])
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["best"] == pytest.approx(found["best"]["value"])
    path = Path(tracking.client.download_artifacts(found["mlflow_run"], "winner.json"))
    assert json.loads(path.read_text())["overrides"] == winners(night.home)[0].overrides
    children = tracking.client.search_runs(
        [tracking.experiment()], f"tags.`mlflow.parentRunId` = '{found['mlflow_run']}'"
    )
    assert len(children) == 4
    by_trial = {child.data.tags["nightshift.trial"]: child for child in children}
    best = by_trial[found["best"]["name"]]
    assert best.data.metrics["ndcg"] == pytest.approx(found["best"]["value"])
    assert best.data.params == {key: str(value) for key, value in found["best"]["overrides"].items()}
    assert all("seconds" in child.data.metrics for child in children)


def test_a_trial_is_written_down_once_and_what_was_cut_off_anew(night):
    runs = SearchRuns(night, "2024-05-19-a", {"known_until": shop.TEST_CUTOFF})
    runs.keep("1/ranker/1", "complete", {"ranker.leaves": 7}, {"ndcg": 0.3, "seconds": 2.0})
    cut_off = {"mlflow.parentRunId": runs.parent, "nightshift.trial": "1/ranker/2"}
    runs.client.create_run(runs.experiment, tags=cut_off)

    again = SearchRuns(night, "2024-05-19-a", {"known_until": shop.TEST_CUTOFF})
    assert again.parent == runs.parent
    for number, state in ((1, "complete"), (2, "pruned"), (3, "failed")):
        again.keep(f"1/ranker/{number}", state, {"ranker.leaves": 7 * number}, {"seconds": 2.0})
    again.end({"best": 0.3}, {"winner.json": {"overrides": {"ranker.leaves": 7}}})
    children = again.client.search_runs([again.experiment], f"tags.`mlflow.parentRunId` = '{again.parent}'")
    told = {child.data.tags["nightshift.trial"]: (child.info.status, child.data.params) for child in children}
    assert told == {
        "1/ranker/1": ("FINISHED", {"ranker.leaves": "7"}),
        "1/ranker/2": ("KILLED", {"ranker.leaves": "14"}),
        "1/ranker/3": ("FAILED", {"ranker.leaves": "21"}),
    }
    assert len(children) == 3
    assert again.client.get_run(again.parent).info.status == "FINISHED"
    assert SearchRuns(night, "2024-05-19-b", {}).parent != again.parent


def test_nothing_of_the_test_days_is_looked_at(night, tmp_path, monkeypatch):
    """With other events after the test cut-off, and other features as of it, the winner is the same to the byte."""
    known = shop.interactions()
    later = known["run_date"] > shop.TEST_CUTOFF
    poisoned = known.assign(
        item_id=known["item_id"].mask(later, "RIBBON00"), user_id=known["user_id"].mask(later, "l00")
    )
    monkeypatch.setattr(shop, "interactions", lambda: poisoned)
    home = tmp_path / "home"
    other = planted_night(home, **BRINGS_LITTLE)
    shutil.copytree(night.home / "mlflow", home / "mlflow", dirs_exist_ok=True)
    found = search(other, trials="3", stages=STAGES)
    assert found["search"] == night.read_json("search")["search"]
    files = [where / "search" / "winner.json" for where in (night.home, home)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_next_night_trains_with_the_winner_and_a_refused_one_is_put_aside(night):
    (winner,) = winners(night.home)
    later = planted_night(
        night.home, shop.RUN_DATE + dt.timedelta(days=1), **BRINGS_LITTLE, evaluation={"min_users": 1000}
    )
    run(later, train)
    trained = later.read_json("train")
    assert trained["tuning"]["name"] == trained["params"]["tuning.winner"] == winner.name
    assert {key: trained["params"][key] for key in winner.overrides} == winner.overrides
    tracked = Tracking(later).client.get_run(trained["mlflow_run"]).data.params
    assert tracked["candidates.repeat"] == str(winner.overrides["candidates.repeat"])

    tuned_settings = tuned(later)[0].settings
    users = shop.snapshots()[1].users["user_id"].tolist()
    lists = [
        load_two_stage(later.folder / "model", settings, "holdout").recommend(shop.snapshots()[1], users, 10)
        for settings in (later.settings, tuned_settings)
    ]
    assert lists[0].equals(lists[1]), "a model remembers what it was trained with"

    run(later, evaluate)
    (judged,) = winners(night.home)
    assert judged.judgement.run_date == later.run_date
    assert not judged.judgement.accepted
    assert "at least 1000" in judged.judgement.reasons[0]
    assert tuned(later)[1] is not None, "the same night run again trains as before"
    after = Night(later.settings, later.run_date + dt.timedelta(days=1), "by-hand", night.home)
    assert tuned(after)[1] is None


def test_without_mlflow_there_is_no_search(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StepError, match=r"MLflow at http://127\.0\.0\.1:9 keeps no results of the search"):
        search(planted_night(tmp_path, tracking={"uri": "http://127.0.0.1:9"}), stages=STAGES)


def test_there_is_one_search_at_a_time(night):
    with locked(night.home / "search" / "search.lock", wait=False), pytest.raises(StepError, match="another search"):
        search(night, trials="1", stages=STAGES)


def test_it_sees_that_a_night_has_begun_and_minds_no_other_work(tmp_path):
    with at_work(tmp_path, "search of 2024-05-19"):
        told = night_begun(tmp_path)
        assert told() is None
        with at_work(tmp_path, "drift_report of 2024-05-19"):
            assert told() is None
        with at_work(tmp_path, "train of 2024-05-20"):
            assert told().startswith("a night is at work: train of 2024-05-20")


@pytest.mark.parametrize("given", [{"minutes": "soon"}, {"minutes": "0"}, {"trials": "1.5"}, {"trials": "-1"}])
def test_a_budget_that_is_none_is_refused(night, given):
    (name, value) = next(iter(given.items()))
    with pytest.raises(StepError, match=f"--{name} is '{value}'"):
        search(night, **given)


def test_without_features_it_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"jobs\.build_features --run-date 2024-05-19"):
        search(Night(shop.settings(), shop.RUN_DATE, "by-hand", tmp_path))


def test_before_there_is_any_history_it_says_that_there_is_nothing_to_search_by(tmp_path):
    first = planted_night(tmp_path, shop.FIRST + dt.timedelta(days=3))
    with pytest.raises(StepError, match="search with a later night"):
        search(first)
