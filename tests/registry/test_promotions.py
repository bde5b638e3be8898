"""Who is champion is a matter of record, by run date; an old date that runs again changes nothing later."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from nightshift.config import load
from nightshift.lake import Lake
from nightshift.registry import Champion, champion_before, lost_before, record_promotion
from nightshift.registry.tracking import Tracking, folder_hash
from nightshift.runs import Night, open_night
from tests.mlflow_database import put_database

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    put_database(tmp_path)
    return tmp_path


def night_of(home: Path, day: int) -> Night:
    return open_night(load(ROOT / "nightshift.yaml"), dt.date(2011, 11, day), home=home)


def champion(version: int) -> Champion:
    return Champion("recommender", str(version), "two_stage")


def promote(home: Path, day: int, version: int, by: str = "night") -> bool:
    return record_promotion(night_of(home, day), champion(version), accepted=True, reason="better", by=by)


def test_a_night_finds_the_champion_that_was_when_it_began(home: Path) -> None:
    assert champion_before(night_of(home, 1)) is None
    for day, version in ((1, 1), (3, 2), (5, 3)):
        assert promote(home, day, version), "the newest: the alias follows"
    found = {day: champion_before(night_of(home, day)) for day in (1, 2, 3, 4, 6)}
    assert found == {1: None, 2: champion(1), 3: champion(1), 4: champion(2), 6: champion(3)}


def test_an_old_date_run_again_changes_its_own_record_and_leaves_the_alias(home: Path) -> None:
    promote(home, 1, 1)
    promote(home, 5, 3)
    assert not promote(home, 1, 7)
    assert champion_before(night_of(home, 2)) == champion(7)
    assert champion_before(night_of(home, 6)) == champion(3)
    assert promote(home, 5, 8), "the newest date, run again, is still the newest"
    assert len(Lake(home / "lake").pandas("promotions")) == 2, "a night has one row, however often it runs"


def test_a_promotion_by_hand_counts_after_the_nights_own_and_stays_when_that_night_runs_again(home: Path) -> None:
    promote(home, 5, 3)
    assert promote(home, 5, 2, by="hand")
    assert champion_before(night_of(home, 6)) == champion(2)
    assert not promote(home, 5, 3), "the hand has decided"
    assert champion_before(night_of(home, 6)) == champion(2)
    assert promote(home, 6, 4), "until the next night"
    assert champion_before(night_of(home, 7)) == champion(4)


def test_what_promotions_lost_adds_up_from_the_best_champion_on(home: Path) -> None:
    nights = [
        (1, True, None, "night"),  # there was nothing to compare with
        (2, True, 0.03, "night"),
        (3, True, -0.004, "night"),
        (4, False, -0.2, "night"),  # refused: nothing was lost by it
        (5, True, -0.003, "night"),
        (6, True, 0.002, "night"),
        (7, True, 0.1, "night"),  # the best there ever was
        (8, True, -0.001, "night"),
        (8, True, None, "hand"),
        (9, True, -0.002, "night"),
    ]
    for day, accepted, gain, by in nights:
        record_promotion(night_of(home, day), champion(day), accepted, "", by, gain)
    found = [lost_before(night_of(home, day)) for day in range(1, 11)]
    assert found == pytest.approx([0, 0, 0, -0.004, -0.004, -0.007, -0.005, 0, 0, -0.002])
    record_promotion(night_of(home, 3), champion(3), True, "", "night", -0.005)
    assert lost_before(night_of(home, 6)) == pytest.approx(-0.008), "an old date, run again, as it is now"


def test_what_was_lost_in_one_metric_says_nothing_of_another(home: Path) -> None:
    record_promotion(night_of(home, 1), champion(1), True, "", "night", -0.004)
    record_promotion(night_of(home, 2), champion(2), True, "", "night", -0.003)
    other = night_of(home, 3)
    settings = other.settings.model_copy(
        update={"evaluation": other.settings.evaluation.model_copy(update={"metric": "recall"})}
    )
    assert lost_before(other) == pytest.approx(-0.007)
    assert lost_before(Night(settings, other.run_date, other.run_id, home)) == 0.0


def test_the_same_files_are_the_same_version_and_others_another(home: Path) -> None:
    model = home / "model"
    model.mkdir()
    (model / "weights").write_bytes(b"1")
    tracking = Tracking(night_of(home, 5))
    first = tracking.register("two_stage", model)
    (home / "copy").mkdir()
    (home / "copy" / "weights").write_bytes(b"1")
    assert tracking.register("two_stage", home / "copy") == first
    assert tracking.register("popularity", model).version != first.version, "another kind of model"
    (model / "weights").write_bytes(b"2")
    second = tracking.register("two_stage", model)
    assert [first.version, second.version] == ["1", "3"]
    assert (first.folder / "weights").read_bytes() == b"1", "the registry has a copy of its own"
    assert tracking.version("1") == first

    tracking.set_champion(second)
    named = tracking.client.get_model_version_by_alias(second.name, "champion")
    assert str(named.version) == second.version
    with pytest.raises(FileNotFoundError, match=r"has no version '9'; it has \["):
        tracking.version("9")


def test_a_night_that_trains_the_same_again_is_tracked_once(home: Path) -> None:
    model = home / "model"
    model.mkdir()
    (model / "weights").write_bytes(b"1")
    tracking = Tracking(night_of(home, 5))
    logged = [
        tracking.log_run({"k": 20}, {"ndcg": 0.1}, {"loss": [[0, 1.0], [1, 0.5]]}, {"events": 4}, model)
        for _ in range(2)
    ]
    assert logged[0] == logged[1]
    tracking.register("two_stage", model, logged[0])
    run = tracking.client.get_run(logged[0])
    assert (run.data.params, run.data.metrics) == ({"k": "20"}, {"ndcg": 0.1, "loss": 0.5})
    assert (run.data.tags["delta.events"], run.data.tags["nightshift.run_date"]) == ("4", "2011-11-05")
    assert [point.value for point in tracking.client.get_metric_history(logged[0], "loss")] == [1.0, 0.5]


def test_a_folders_hash_is_over_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    before = folder_hash(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert folder_hash(tmp_path) != before
    (tmp_path / "b").rename(tmp_path / "a")
    assert folder_hash(tmp_path) == before
    (tmp_path / "a").write_bytes(b"2")
    assert folder_hash(tmp_path) != before
