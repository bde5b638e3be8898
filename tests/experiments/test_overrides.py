"""A variant may be asked for, and what was chosen counts nowhere."""

from __future__ import annotations

import re

import pytest

from nightshift.experiments.assignment import Assigner
from nightshift.experiments.overrides import OverrideError, parse_override
from tests.experiments.declared import declared, experiment, layer

READS = [{"name": "control"}, {"name": "new", "channel": "challenger"}]
SETTINGS = declared(
    layer("lists", 1, experiment("ranker", 0, 0.1, variants=READS, ramp=0.0), experiment("rules", 0.1, 0.9)),
    layer("page", 2, experiment("colour", 0, 1, "blue")),
    layer("mail", 3, experiment("subject", 0, 1, surfaces=["mail"])),
    channels={"challenger": "7"},
    holdout=0.9,
)


def test_a_tester_gets_the_variant_asked_for_whatever_the_ramp_and_the_holdouts() -> None:
    assigner = Assigner(SETTINGS)
    override = parse_override(SETTINGS, " ranker=new , colour = blue")
    for number in range(50):
        found = assigner.assign(str(number), "home", override)
        assert found.variants == {"ranker": "new", "colour": "blue"}
        assert (found.channel, found.overridden, found.propensities) == ("challenger", True, {})
        assert not assigner.assign(str(number), "home").overridden


def test_other_layers_stay_as_they_are_and_the_same_layer_gives_way() -> None:
    settings = SETTINGS.model_copy(update={"holdout": 0.0})
    assigner, override = Assigner(settings), parse_override(settings, "ranker=control")
    given = {str(number): assigner.assign(str(number), "home") for number in range(50)}
    assert any("rules" in found.variants for found in given.values())
    for user, found in given.items():
        asked = assigner.assign(user, "home", override)
        assert asked.variants == {"ranker": "control", "colour": found.variants["colour"]}
        assert asked.propensities == {"colour": found.propensities["colour"]}


def test_what_does_not_run_on_a_surface_cannot_be_had_there() -> None:
    assigner, override = Assigner(SETTINGS), parse_override(SETTINGS, "subject=treatment")
    assert not assigner.assign("1", "home", override).overridden
    assert assigner.assign("1", "mail", override).variants["subject"] == "treatment"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ranker", "'ranker' is not like experiment=variant"),
        ("", "'' is not like experiment=variant"),
        ("rankr=new", "there is no experiment 'rankr'; there are ranker, rules, colour, subject"),
        ("ranker=old", "experiment 'ranker' has no variant 'old'; it has control, new"),
        ("ranker=new,rules=control", "'ranker' and 'rules' are of one layer, 'lists': choose one of them"),
        ("ranker=new,ranker=control", "'ranker' and 'ranker' are of one layer"),
    ],
)
def test_what_cannot_be_had_is_said(text: str, said: str) -> None:
    with pytest.raises(OverrideError, match=re.escape(said)):
        parse_override(SETTINGS, text)
