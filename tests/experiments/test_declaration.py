"""Experiments that cannot be run as they are declared are refused, with the key, the value and what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from nightshift.config import ConfigError, load
from tests.experiments.declared import experiment, layer

ROOT = Path(__file__).parents[2]
ONE, OTHER = experiment("one"), experiment("other", 0.5, 0.9)
READS = [{"name": "control"}, {"name": "treatment", "channel": "challenger"}]


def file_with(folder: Path, experiments: dict[str, Any]) -> Path:
    file = folder / "shop.yaml"
    file.write_text((ROOT / "nightshift.yaml").read_text() + yaml.safe_dump({"experiments": experiments}))
    return file


def test_what_can_be_run_is_read(tmp_path: Path) -> None:
    layers = [layer("lists", 1, ONE | {"variants": READS}, OTHER, holdout=0.1), layer("page", 2, experiment("wide"))]
    found = load(file_with(tmp_path, {"channels": {"challenger": 7}, "holdout": 0.05, "layers": layers})).experiments
    assert found.channels == {"challenger": "7"}
    one = found.find("one")
    assert one
    assert (one.decides, found.find("wide") is None, found.find("none")) == (True, False, None)


@pytest.mark.parametrize(
    ("experiments", "key", "said"),
    [
        ([layer("a", 1, experiment("x", 0.4, 0.4))], "layers.0.experiments.0.slot", "[0.4, 0.4] is empty"),
        ([layer("a", 1, ONE, experiment("x", 0.4, 0.6))], "layers.0.experiments.1.slot", "[0.4, 0.6] overlaps [0.0"),
        (
            [layer("a", 1, OTHER, holdout=0.2)],
            "layers.0.experiments.0.slot",
            "[0.5, 0.9] reaches into the holdout",
        ),
        ([layer("a", 1, ONE), layer("b", 1)], "layers.1.lane", "1 is the lane of layer 'a' already"),
        ([layer("a", 1, ONE), layer("a", 2)], "layers.1.name", "'a' is the name of layer 'a' already"),
        ([layer("global", 1)], "layers.0.name", "'global' is the holdout from all layers"),
        ([layer("a", 16)], "layers.0.lane", "less than or equal to 15 (found 16)"),
        ([layer("a", 1, ONE), layer("b", 2, ONE)], "layers.1.experiments.0.name", "'one' is in layer 'a' already"),
        ([layer("a", 1, experiment("x", 0, 1, "b", "b"))], "variants.2.name", "variant 'b' is here twice"),
        (
            [layer("a", 1, ONE | {"variants": READS})],
            "variants.1.channel",
            "'challenger' is not in experiments",
        ),
        ([layer("a", 1, ONE | {"variants": READS[1:] * 2})], "variants.1.name", "variant 'treatment' is here twice"),
        ([layer("a", 1, experiment("x") | {"variants": [{"name": "b"}, {"name": "c"}]})], "variants", "b, c is called"),
        ([layer("a", 1, experiment("x", ramp=1.5))], "layers.0.experiments.0.ramp", "(found 1.5)"),
        (
            [layer("a", 1, experiment("x", event_types=["view"]))],
            "event_types.0",
            "'view' is no event type; known are can",
        ),
        ([layer("a", 1, experiment("x", metrics=["clicks"]))], "metrics.0", "(found 'clicks')"),
    ],
)
def test_what_cannot_be_run_is_refused(tmp_path: Path, experiments: list[dict[str, Any]], key: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as refused:
        load(file_with(tmp_path, {"layers": experiments}))
    assert f"experiments.{key}" in str(refused.value) or str(refused.value).count(f".{key}: ") == 1


@pytest.mark.parametrize(("name", "version"), [("current", 7), ("new", "champion"), ("new", 0)])
def test_a_channel_has_a_name_of_its_own_and_a_model(tmp_path: Path, name: str, version: Any) -> None:
    with pytest.raises(ConfigError, match=f"experiments.channels.{name}: .*({version!r}|'current') is"):
        load(file_with(tmp_path, {"channels": {name: version}}))


def test_two_layers_cannot_both_decide_which_run_a_surface_reads(tmp_path: Path) -> None:
    one, other = (experiment(name, variants=READS) for name in ("one", "other"))
    both = {"channels": {"challenger": "challenger"}, "layers": [layer("a", 1, one), layer("b", 2, other)]}
    with pytest.raises(ConfigError, match=r"layers.1.experiments.0: .*'one', of another layer, decides"):
        load(file_with(tmp_path, both))
    apart = [layer("a", 1, one | {"surfaces": ["home"]}), layer("b", 2, other | {"surfaces": ["mail"]})]
    assert load(file_with(tmp_path, both | {"layers": apart})).experiments.find("other")
