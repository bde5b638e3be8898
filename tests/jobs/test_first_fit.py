"""A night's first fit goes on from what the champion was before its own test, or says why it does not."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs.train import train, warm_start
from nightshift.lake import Lake
from nightshift.models.recommender import ModelFileError
from nightshift.ranking.training import load_early
from nightshift.registry import record_promotion
from nightshift.registry.tracking import Registered, Tracking
from nightshift.runs import Night
from tests import shop
from tests.jobs.test_model_steps import content, planted_night

SMALL: dict[str, Any] = {
    "two_tower": {"epochs": 2, "refresh_epochs": 1, "validation_days": 0},
    "ranker": {"trees": 5},
}
LATER = shop.RUN_DATE + dt.timedelta(days=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A night that was trained, whose model is the champion, and the next one, trained as well."""
    home = tmp_path_factory.mktemp("home")
    night = planted_night(home, **SMALL)
    train(night)
    promoted(night)
    train(planted_night(home, LATER, **SMALL))
    return home


def promoted(night: Night, folder: Path | None = None) -> Registered:
    champion = Tracking(night).register("two_stage", folder or night.folder / "model")
    record_promotion(night, champion, True, "test")
    return champion


def later(home: Path, run_date: dt.date = LATER, **sections: Any) -> Night:
    """The next night, whatever its settings."""
    return Night(shop.settings(**SMALL | sections), run_date, "by-hand", home)


@pytest.fixture
def copied(home: Path, tmp_path: Path) -> Path:
    """The home, to be changed."""
    return Path(shutil.copytree(home, tmp_path / "home"))


def told(night: Night) -> str:
    """Why there is no start."""
    model, why = warm_start(night)
    assert model is None
    return why


def test_the_first_fit_goes_on_from_the_champions_of_its_own_cut_off(home):
    early = load_early(later(home).folder / "model").about
    assert early["as_of"] == (shop.RANKER_CUTOFF + dt.timedelta(days=1)).isoformat()
    assert early["refreshed_from"] == early["begun"] == shop.RANKER_CUTOFF.isoformat()
    assert (early["refreshes"], early["validation"]) == (1, [])
    model = later(home).folder / "model"
    sentence = f"a refresh of the champion's, version 1, as of {shop.RANKER_CUTOFF}, 0 refreshes after "
    assert sentence in (model / "card.md").read_text()


def test_a_first_night_says_that_it_had_nothing_to_go_on_from(home):
    night = later(home, shop.RUN_DATE)
    assert "is from the beginning: there is no champion yet" in (night.folder / "model" / "card.md").read_text()
    assert load_early(night.folder / "model").about["begun"] == shop.RANKER_CUTOFF.isoformat()


def test_the_same_night_again_goes_on_from_the_same_and_ends_in_the_same_bytes(home):
    """Though it has been promoted meanwhile."""
    night = later(home)
    before = content(night.folder / "model")
    promoted(night)
    train(night)
    assert content(night.folder / "model") == before


def test_what_later_nights_go_on_from_names_no_user_and_is_kept_once(home):
    model = later(home).folder / "model"
    assert sorted(content(model / "early")) == ["two_tower/model.json", "two_tower/weights.safetensors"]
    hashes = list(content(model).values())
    assert len(hashes) == len(set(hashes))
    users = set(shop.interactions()["user_id"])
    assert not users & set(strings(json.loads((model / "early" / "two_tower" / "model.json").read_text())))


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *strings(list(value.values()))]
    if isinstance(value, list):
        return [found for part in value for found in strings(part)]
    return [value] if isinstance(value, str) else []


def test_an_old_night_does_not_go_on_from_a_model_that_has_seen_later_days(home):
    """Somebody has made a model of later days the champion of an earlier one."""
    before = later(home, shop.RUN_DATE - dt.timedelta(days=9))
    record_promotion(before, Tracking(before).version("1"), True, "test", by="hand")
    night = later(home, shop.RUN_DATE - dt.timedelta(days=8))
    may_know = shop.RANKER_CUTOFF - dt.timedelta(days=8)
    assert told(night).endswith(f"learnt from days up to {shop.RANKER_CUTOFF}, and the first fit may know {may_know}")


@pytest.mark.parametrize(
    ("sections", "why"),
    [
        ({"two_tower": {**SMALL["two_tower"], "dimension": 8}}, "two_tower.dimension was 16, is 8"),
        ({"two_tower": {**SMALL["two_tower"], "restart_days": 0}}, "two_tower.restart_days is 0"),
        ({"two_tower": {**SMALL["two_tower"], "restart_days": 1}}, "two_tower.restart_days is 1"),
        ({"features": {"windows_days": (1, 7, 28)}}, "features are defined otherwise"),
    ],
)
def test_what_does_not_fit_the_settings_is_refused(home, sections, why):
    assert told(later(home, **sections)).endswith(why)


def test_what_was_learnt_from_events_that_are_no_more_is_refused(copied):
    """As after an erasure or a corrected file; of days that it does not know it is no matter."""
    lake = Lake(copied / "lake")
    for day, refused in ((shop.RANKER_CUTOFF + dt.timedelta(days=1), False), (shop.RANKER_CUTOFF, True)):
        lake.replace("ingest_counts", day, pa.table({"content": ["corrected"]}))
        model, why = warm_start(later(copied))
        assert (model is None) == refused
        assert ("have been corrected or erased since" in why) == refused


def test_files_that_are_not_those_that_were_registered_are_refused(copied):
    night = later(copied)
    champion = Tracking(night).version("1")
    (champion.folder / "card.md").write_text("another")
    assert told(night).endswith("its files are not those that were registered")


def test_a_champion_of_other_shapes_or_of_none_is_refused(copied, monkeypatch):
    night, before = later(copied), later(copied, shop.RUN_DATE)
    model = copied / "nights" / str(shop.RUN_DATE) / "model"

    def unfit(_: Path) -> None:
        raise ModelFileError("other shapes")

    monkeypatch.setattr("jobs.train.load_early", unfit)
    assert told(night).endswith("its files do not fit this code")
    monkeypatch.undo()
    shutil.rmtree(model / "early")
    promoted(before, model)
    assert told(night).endswith("it keeps no model as of its ranker cut-off")
    baseline = Tracking(before).register("popularity", model)
    record_promotion(before, baseline, True, "test")
    assert told(night).endswith("it is popularity, which learns nothing")
