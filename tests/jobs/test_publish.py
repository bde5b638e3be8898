"""`python -m jobs.publish` and `python -m jobs.rollback`, as an operator runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.publish import publish
from jobs.rollback import main as rollback
from nightshift.config import load
from nightshift.lake import Lake
from nightshift.publishing.lists import FILES, hashes
from nightshift.publishing.read import list_manifests, live_manifest
from nightshift.publishing.storage import Storage, store_of
from nightshift.runs import Night, StepError, open_night
from tests.publishing.planted import day, write_lists, write_more

MODEL = {"name": "popularity", "version": 3, "kind": "baseline"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    return tmp_path


def night_of(number: int, run_id: str = "by-hand", mark: str = "a") -> Night:
    """A night whose steps before publishing have left what they leave."""
    night = open_night(load("nightshift.yaml"), day(number), run_id)
    write_more(write_lists(night.folder / "lists", mark), ["country:Spain"], {"17850": [("22423", day(1), 2)]})
    night.write_json("ingest", {"tables": {"events": 4, "quarantine": 4}})
    night.write_json("validate_events", {})
    night.write_json("build_features", {"tables": {"events": 5, "user_features": 2}})
    night.write_json("train", {"tables": {"user_features": 2}})
    night.write_json("verdict", {"served": MODEL})
    night.write_json("infer", {"model": MODEL})
    night.write_json("validate_lists", {"sha256": hashes(night.folder / "lists")})
    return night


def store() -> Storage:
    return store_of(load("nightshift.yaml"))


def test_a_night_is_published_and_live_with_what_made_it(home: Path) -> None:
    summary = publish(night_of(30))
    assert (summary["moved"], summary["live"], summary["previous"]) == (True, "2011-11-30/by-hand", None)
    assert (summary["users"], summary["items"], summary["pruned"]) == (4, 4, [])
    assert (summary["run"], summary["store"]) == (summary["live"], (home / "published").as_uri())
    manifest = live_manifest(store(), "home")
    assert manifest is not None
    assert manifest.content_hash == summary["content_hash"]
    assert manifest.tables == {"events": 5, "quarantine": 4, "user_features": 2}
    assert manifest.model.model_dump() == {"name": "popularity", "version": "3", "kind": "baseline"}
    assert not list((home / "nights" / "2011-11-30").glob("publish-*")), "nothing is left behind"


def test_the_same_night_again_has_the_same_hash_and_changes_nothing() -> None:
    first, again = publish(night_of(30)), publish(night_of(30))
    assert (again["content_hash"], again["moved"]) == (first["content_hash"], False)
    other = publish(night_of(30, "another"))
    assert (other["content_hash"], other["moved"]) == (first["content_hash"], True)


def test_a_backfill_is_published_beside_what_is_live() -> None:
    publish(night_of(30))
    summary = publish(night_of(10))
    assert (summary["moved"], summary["live"]) == (False, "2011-11-30/by-hand")
    assert len(list_manifests(store(), "home")) == 2


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("verdict", "no verdict names the model behind the lists: run `python -m jobs.evaluate --run-date 2011-11-30`"),
        ("validate_lists", "run `python -m jobs.validate_lists --run-date 2011-11-30` first"),
        ("infer", "run `python -m jobs.infer --run-date 2011-11-30` first"),
        ("train", "run `python -m jobs.train --run-date 2011-11-30` first"),
    ],
)
def test_a_night_that_lacks_a_step_is_not_published(missing: str, said: str) -> None:
    night = night_of(30)
    (night.folder / f"{missing}.json").unlink()
    with pytest.raises((StepError, FileNotFoundError), match=said):
        publish(night)
    assert live_manifest(store(), "home") is None


def test_lists_that_cannot_be_validated_again_are_those_of_a_night_to_be_run_again(home: Path) -> None:
    """As after an erasure, which removes the versions that they were made from."""
    night = night_of(30)
    Lake(home / "lake").replace("user_features", day(30), pa.table({"user_id": ["17850"]}))
    file = night.folder / "lists" / FILES[0]
    pq.write_table(pq.read_table(file).slice(1), file)
    said = "has changed since it was validated: the table 'user_features' has no version 2 any more.*from ingest on$"
    with pytest.raises(StepError, match=said):
        publish(night)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_changed_after_its_validation_is_not_published(name: str) -> None:
    night = night_of(30)
    file = night.folder / "lists" / name
    pq.write_table(pq.read_table(file).slice(1), file)
    with pytest.raises(StepError, match=f"lists: {name} has changed since it was validated: run `python -m jobs.vali"):
        publish(night)
    assert live_manifest(store(), "home") is None


@pytest.mark.parametrize("left", [{}, {"sha256": {}}, {"lists_sha256": "0"}])
def test_lists_without_the_hashes_of_their_validation_are_not_published(left: dict[str, Any]) -> None:
    night = night_of(30)
    night.write_json("validate_lists", left)
    with pytest.raises(StepError, match=r"has left no hashes of what it passed in .*: run `python -m jobs.validate_li"):
        publish(night)


def test_lists_of_another_model_than_the_verdicts_are_not_published() -> None:
    night = night_of(30)
    night.write_json("verdict", {"served": {**MODEL, "version": 4}})
    said = "made with baseline version 3 of popularity, and the verdict names baseline version 4 of popularity: run `py"
    with pytest.raises(StepError, match=said):
        publish(night)
    assert live_manifest(store(), "home") is None


def test_rollback_prints_what_is_live_now(capsys: pytest.CaptureFixture[str]) -> None:
    publish(night_of(29))
    publish(night_of(30))
    rollback([])
    summary: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["live"], summary["previous"]) == ("2011-11-29/by-hand", "2011-11-30/by-hand")
    rollback(["--to", "2011-11-30", "--surface", "home"])
    assert json.loads(capsys.readouterr().out)["live"] == "2011-11-30/by-hand"


def test_both_commands_fail_in_one_line() -> None:
    for command in (["jobs.publish", "--run-date", "2011-11-30"], ["jobs.rollback"]):
        done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert done.stderr.startswith("rollback: nothing is published for home at file:///")
