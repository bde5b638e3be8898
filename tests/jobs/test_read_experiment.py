"""`python -m jobs.read_experiment`, over a lake in which a lift is planted."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from jobs.read_experiment import main, read_experiment
from nightshift.config import load
from nightshift.experiments.assignment import Assigner
from nightshift.lake import EVENTS_COLUMNS, Lake, Table, exposures_table, ingest_counts_table
from nightshift.runs import GateError, StepError
from tests.experiments.declared import experiment, layer
from tests.monitoring.read_page import check

ROOT = Path(__file__).parents[2]
FIRST, DAYS = dt.date(2011, 11, 7), 14
DAY = dt.timedelta(days=1)
USERS = 3000
MINE = experiment("ranker", 0, 1, horizon_days=3, planned_users=3000, metrics=["conversion", "value"])
DECLARED = {"layers": [layer("lists", 1, MINE)], "min_users": 100}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home, and a configuration beside it: users of `treatment` buy half as often again."""
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "shop.yaml").write_text(
        (ROOT / "nightshift.yaml").read_text() + yaml.safe_dump({"experiments": DECLARED})
    )
    lake = Lake(folder / "var" / "lake")
    assign, rng = Assigner(load(folder / "shop.yaml").experiments).assign, np.random.default_rng(1)
    shown, bought = [], []
    for number in range(USERS):
        user, given = f"{10000 + number}", assign(f"{10000 + number}", "home")
        start = dt.datetime.combine(FIRST, dt.time(), dt.UTC) + dt.timedelta(days=float(rng.random() * 11))
        shown.append(exposure(user, start, given.variants["ranker"]))
        habit = rng.gamma(1, 1)
        lift = 1.5 if given.variants["ranker"] == "treatment" else 1
        for share, after in ((0.3 * habit, -2.0), (0.25 * habit * lift, 1.0)):
            if rng.random() < share:
                bought.append(event(user, start + dt.timedelta(days=after), float(rng.lognormal(2, 0.4))))
    before = [FIRST + n * DAY for n in range(-5, DAYS)]
    lake.replace("exposures", before, pa.Table.from_pylist(shown, schema=exposures_table.arrow))
    lake.replace("events", before, pa.Table.from_pylist(bought, schema=Table("events", EVENTS_COLUMNS).arrow))
    counts = [{"run_date": day, "rows_in": 1} for day in before]
    lake.replace("ingest_counts", before, pa.Table.from_pylist(counts, schema=ingest_counts_table.arrow))
    return folder


def exposure(user: str, at: dt.datetime, variant: str) -> dict[str, Any]:
    part = {"experiment": "ranker", "variant": variant, "propensity": 0.5}
    return {
        "exposure_id": user,
        "shown_at": at,
        "user_id": user,
        "surface": "home",
        "channel": "current",
        "experiments": [part],
        "holdouts": [],
        "overridden": False,
        "items": [{"item_id": "A", "position": 1}],
        "run_date": at.date(),
    }


def event(user: str, at: dt.datetime, price: float) -> dict[str, Any]:
    known = {"event_id": f"{user} {at}", "user_id": user, "item_id": "A", "event_type": "purchase", "weight": 1.0}
    known |= {"event_time": at, "event_date": at.date(), "quantity": 1.0, "price": price, "basket_id": f"{user} {at}"}
    return known | {"run_date": at.date()}


@pytest.fixture(autouse=True)
def home(planted: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NIGHTSHIFT_CONFIG", str(planted / "shop.yaml"))
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(planted / "var"))
    return planted / "var"


def test_a_planted_lift_is_read_out_in_three_forms(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--experiment", "ranker"])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    conversion, value = told["results"]
    assert (conversion["metric"], conversion["verdict"], value["verdict"]) == ("conversion", "better", "better")
    assert conversion["relative_difference"] == pytest.approx(0.5, abs=0.25)
    assert conversion["control"] == pytest.approx(0.2, abs=0.05)
    assert value["variance_taken"] > 0
    assert told["headline"] == "conversion of treatment is better; value of treatment is better"
    assert (told["first"], told["last"]) == (FIRST.isoformat(), (FIRST + (DAYS - 1) * DAY).isoformat())
    assert sum(group["users"] for group in told["groups"]) == USERS
    folder = home / "reports" / "experiments"
    assert json.loads((folder / "ranker.json").read_text())["results"] == told["results"]
    page = check((folder / "ranker.html").read_text())
    assert {"Users", "Against control", "Look by look", "How to read this"} <= set(page.headings)
    assert page.tags["svg"] >= 2
    text = (folder / "ranker.md").read_text()
    assert "# ranker: conversion of treatment is better" in text
    assert "| conversion | treatment | better |" in text
    for written in (page.text, text):
        assert told["report"] == str(folder / "ranker.html")
        assert "--from 2011-11-07 --to 2011-11-20" in written


def test_an_earlier_day_reads_what_was_known_then_and_a_later_begin_is_pointed_out() -> None:
    early = read_experiment("ranker", last=FIRST + 5 * DAY)
    whole = read_experiment("ranker")
    complete = [sum(group["complete"] for group in one["groups"]) for one in (early, whole)]
    assert 0 < complete[0] < complete[1] <= USERS
    late = read_experiment("ranker", first=FIRST + 2 * DAY)
    assert late["notes"][0].startswith("It began on 2011-11-07. Users of before 2011-11-09 count from")


def test_what_must_not_be_used_has_no_results_and_ends_with_3(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = Lake(home / "lake")
    version = lake.version("exposures")
    rows = lake.arrow("exposures").to_pylist()
    half = [row for n, row in enumerate(rows) if n % 4 or row["experiments"][0]["variant"] == "control"]
    days = sorted({row["run_date"] for row in rows})
    lake.replace("exposures", days, pa.Table.from_pylist(half, schema=exposures_table.arrow))
    try:
        with pytest.raises(SystemExit) as ended:
            main(["--experiment", "ranker"])
        assert ended.value.code == GateError.exit_code
        assert "ranker: must not be used: sample ratio mismatch" in capsys.readouterr().err
        folder = home / "reports" / "experiments"
        assert json.loads((folder / "ranker.json").read_text())["results"] == []
        assert "Do not use this" in check((folder / "ranker.html").read_text()).text
        assert "Against control" not in (folder / "ranker.html").read_text()
        assert "**Do not use this:** sample ratio mismatch" in (folder / "ranker.md").read_text()
    finally:
        known = lake.arrow("exposures", version=version)
        lake.replace("exposures", days, known)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "rnker"}, r"no experiment 'rnker' is declared; there are: ranker"),
        (
            {"last": FIRST + DAYS * DAY},
            r"events of 2011-11-21 are not in the lake .* or read up to .*: --to 2011-11-20",
        ),
        ({"first": FIRST + 5 * DAY, "last": FIRST}, r"--from 2011-11-12 is after --to 2011-11-07"),
        ({"first": FIRST - 3 * DAY, "last": FIRST - DAY}, r"no exposure from 2011-11-04 to 2011-11-06; it has from"),
    ],
)
def test_what_cannot_be_read_is_said(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(StepError, match=said):
        read_experiment(**({"name": "ranker"} | arguments))


def test_before_anything_has_landed_the_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    with pytest.raises(StepError, match=r"no exposure of 'ranker' has landed: python -m jobs.land_exposures"):
        read_experiment("ranker")
