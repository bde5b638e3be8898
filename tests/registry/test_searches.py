"""A search's runs in MLflow: each trial once, whatever was cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightshift.registry.searches import SearchRuns
from nightshift.runs import Night, StepError
from tests import shop


def night_of(home: Path, **sections) -> Night:
    return Night(shop.settings(**sections), shop.RUN_DATE, "by-hand", home)


def test_a_trial_is_written_down_once_and_what_was_cut_off_anew(tmp_path):
    runs = SearchRuns(night_of(tmp_path), "2024-05-19-a", {"known_until": shop.TEST_CUTOFF})
    runs.keep("1/ranker/1", "complete", {"ranker.leaves": 7}, {"ndcg": 0.3, "seconds": 2.0})
    cut_off = {"mlflow.parentRunId": runs.parent, "nightshift.trial": "1/ranker/2"}
    runs.client.create_run(runs.experiment, tags=cut_off)

    again = SearchRuns(night_of(tmp_path), "2024-05-19-a", {"known_until": shop.TEST_CUTOFF})
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
    assert SearchRuns(night_of(tmp_path), "2024-05-19-b", {}).parent != again.parent


def test_without_mlflow_there_is_no_search(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(StepError, match=r"MLflow at http://127\.0\.0\.1:9 keeps no results of the search"):
        SearchRuns(night_of(tmp_path, tracking={"uri": "http://127.0.0.1:9"}), "2024-05-19-a", {})
