"""A definition that changes gets a new version, and a model that has learnt from another one is not used."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nightshift.features.definitions import Feature, all_features
from nightshift.features.versions import changed_since, pinned, recorded, to_text
from nightshift.models.recommender import ModelFileError
from nightshift.ranking.two_stage import load_two_stage
from tests import shop

FEATURE = Feature("spent_28d", "user", "double", "sum", "what a user spent lately", "price", window=28)
NAMED = {"user.spent_28d": FEATURE}


def test_the_page_of_features_and_the_record_of_versions_are_up_to_date() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "scripts.document_features", "--check"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_a_definition_may_not_change_under_its_version() -> None:
    before = json.loads(to_text(NAMED, {}))
    changed = {"user.spent_28d": replace(FEATURE, window=7)}
    with pytest.raises(ValueError, match="computes something else than its version 1: raise its version"):
        to_text(changed, before)
    again = {"user.spent_28d": replace(FEATURE, window=7, version=2)}
    assert json.loads(to_text(again, before))["user.spent_28d"]["version"] == 2


def test_words_and_owners_may_change_under_a_version() -> None:
    reworded = {"user.spent_28d": replace(FEATURE, description="spent in four weeks", owner="pricing")}
    assert to_text(reworded, json.loads(to_text(NAMED, {}))) == to_text(NAMED, {})


def test_what_is_declared_no_more_stays_on_record() -> None:
    """So that a name that comes back does not begin at version 1 with another meaning."""
    assert json.loads(to_text({}, json.loads(to_text(NAMED, {})))).keys() == {"user.spent_28d"}


def test_every_feature_of_the_configuration_is_on_record() -> None:
    assert set(all_features(shop.settings())) <= set(recorded())


def test_a_changed_feature_is_told_in_words() -> None:
    later = {"user.spent_28d": replace(FEATURE, window=7, version=2)}
    assert changed_since(pinned(NAMED), NAMED) == []
    assert changed_since(pinned(NAMED), later) == ["user.spent_28d was version 1 and is version 2"]
    assert changed_since(pinned(NAMED), {}) == ["user.spent_28d was version 1 and is gone"]


def test_a_model_that_learnt_from_other_features_is_not_loaded(tmp_path: Path) -> None:
    shop.trained().save(tmp_path)
    file = tmp_path / "ranker" / "ranker.json"
    about = json.loads(file.read_text())
    load_two_stage(tmp_path, shop.settings())
    about["definitions"]["item.trend"] = "0 abc"
    file.write_text(json.dumps(about))
    with pytest.raises(ModelFileError, match=r"learnt from other features: item\.trend was version 0 and is version 1"):
        load_two_stage(tmp_path, shop.settings())
    del about["definitions"]
    file.write_text(json.dumps(about))
    with pytest.raises(ModelFileError, match="does not say which definitions of features it has learnt from"):
        load_two_stage(tmp_path, shop.settings())
