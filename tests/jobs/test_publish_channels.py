"""`python -m jobs.publish_channels`: what is asked for in a wrong way is refused before anything is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.publish_channels import chosen, main
from nightshift.config import load
from nightshift.publishing.pointer import channels_of, make_live
from nightshift.publishing.storage import store_of
from nightshift.runs import StepError
from tests.experiments.declared import declared
from tests.publishing.planted import NOW, announce, announce_live, day


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    return tmp_path


def test_channels_are_those_declared_or_the_one_asked_for() -> None:
    settings = load("nightshift.yaml").model_copy(
        update={"experiments": declared(channels={"a": 7, "b": "challenger"})}
    )
    assert chosen(settings, None, None) == {"a": "7", "b": "challenger"}
    assert chosen(settings, "b", None) == {"b": "challenger"}
    assert chosen(settings, "c", "8") == {"c": "8"}
    with pytest.raises(
        StepError, match=r"'c' is not in experiments.channels \(a, b\): declare it, or give --model-ver"
    ):
        chosen(settings, "c", None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--run-date 2011-11-30 --channel current --model-version 7", "'current' is no channel beside current"),
        ("--run-date 2011-11-30 --channel ../../etc", "'../../etc' is no channel"),
        ("--run-date 2011-11-30 --channel a --model-version best", "'best' is neither a version of the registered mod"),
        ("--run-date 2011-11-30 --model-version 7", "name it with --channel"),
        ("--run-date 2011-11-30 --remove a", "give either --run-date or --remove"),
        ("", "give either --run-date or --remove"),
        ("--run-date 2011-11-30 --channel a --model-version 7", "verdict has left nothing for 2011-11-30"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(arguments: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    assert ended.value.code
    assert said in " ".join(capsys.readouterr().err.split())


def test_without_channels_there_is_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--run-date", "2011-11-30"])
    assert json.loads(capsys.readouterr().out)["channels"] == {}


def test_a_channel_that_is_declared_no_more_can_be_removed(capsys: pytest.CaptureFixture[str]) -> None:
    storage = store_of(load("nightshift.yaml"))
    announce_live(storage, day(30), "night")
    make_live(storage, "home", announce(storage, day(30), "night-a"), NOW, "a")
    main(["--remove", "a"])
    assert channels_of(storage, "home") == ["current"]
    with pytest.raises(SystemExit):
        main(["--remove", "a"])
    assert "surface home has no channel 'a'; it has current" in capsys.readouterr().err
