"""What was shown comes into the lake: once, under its business day, with the items that the reader saw."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from jobs.land_exposures import land_exposures
from nightshift.config import load
from nightshift.config.settings import ExposureFiles
from nightshift.erasure.erase import Place, erase, look
from nightshift.erasure.people import People
from nightshift.erasure.published import remove_old, replace_runs
from nightshift.experiments.assignment import Assigner
from nightshift.experiments.exposure_files import files_in, read
from nightshift.experiments.exposures import FOLDER, LANDED, PENDING, ExposureLog
from nightshift.lake import Lake
from nightshift.landing.exposures import Shown
from nightshift.landing.suppression import suppress
from nightshift.publishing.storage import store_of
from nightshift.runs import GateError, Night, open_night
from tests.experiments.declared import declared, experiment, layer
from tests.publishing.planted import ITEMS, USERS, day, publish_live

ASSIGN = Assigner(declared(layer("lists", 1, experiment("ranker", 0, 1)))).assign
RUN = "2011-11-29/by-hand"
ANNA = USERS[1]


@pytest.fixture
def night(tmp_path: Path) -> Night:
    """The night after a day on which the lists of the night before were live."""
    night = open_night(load("nightshift.yaml"), day(30), home=tmp_path)
    publish_live(store_of(night.settings, night.home), day(29), "by-hand")
    return night


def at(hour: float, date: dt.date | None = None) -> float:
    midnight = dt.datetime.combine(date or day(30), dt.time(), dt.UTC)
    return midnight.timestamp() + hour * 3600


def shown(night: Night, rows: Iterable[tuple[str, int | bytes, float]], run: str = RUN) -> ExposureLog:
    """A process that has shown lists and has ended."""
    log = ExposureLog(ExposureFiles(), night.home / FOLDER / PENDING)
    for user, items, time in rows:
        log.note(user, ASSIGN(user, "home"), run, items, time)
    log.flush()
    return log


def exposures(night: Night) -> list[dict[str, Any]]:
    rows = Lake(night.home / "lake").arrow("exposures").to_pylist()
    return sorted(rows, key=lambda row: (row["shown_at"], row["exposure_id"]))


def test_the_items_are_those_of_the_run_that_the_reader_saw(night: Night) -> None:
    answer = json.dumps([{"item_id": ITEMS[3]}, {"item_id": ITEMS[0]}]).encode()
    shown(night, [(ANNA, 2, at(9)), ("nobody knows them", 3, at(10)), (ANNA, answer, at(11)), (ANNA, 0, at(12))])
    summary = land_exposures(night)
    assert (summary["rows"], summary["unresolved"], summary["put_away"]) == ({"2011-11-30": 4}, 0, 1)
    found = exposures(night)
    assert [[item["item_id"] for item in row["items"]] for row in found] == [
        list(ITEMS[:2]),
        list(ITEMS[:3]),
        [ITEMS[3], ITEMS[0]],
        [],
    ]
    assert [item["position"] for item in found[1]["items"]] == [1, 2, 3]
    assert {(row["list_run_date"], row["list_run_id"]) for row in found} == {(day(29), "by-hand")}
    given = ASSIGN(ANNA, "home")
    expected = {"experiment": "ranker", "variant": given.variants["ranker"], "propensity": given.propensities["ranker"]}
    assert found[0]["experiments"] == [expected]


def test_landing_again_and_landing_late_change_nothing_and_add_what_is_new(night: Night) -> None:
    shown(night, [(ANNA, 2, at(9))])
    land_exposures(night)
    before = exposures(night)
    assert land_exposures(night)["rows"] == {}
    shown(night, [(ANNA, 2, at(8)), (ANNA, 2, at(26))])  # a server that was cut off; and of the next day
    assert land_exposures(night)["rows"] == {"2011-11-30": 2}
    after = exposures(night)
    assert after[1:] == before
    assert len(files_in(night.home / FOLDER / PENDING)) == 1, "it has rows of the next day"
    tomorrow = open_night(night.settings, dt.date(2011, 12, 1), home=night.home)
    assert land_exposures(tomorrow)["rows"] == {"2011-11-30": 2, "2011-12-01": 1}
    assert exposures(night)[:2] == after
    assert files_in(night.home / FOLDER / PENDING) == []


def test_a_landing_that_was_killed_before_it_put_the_files_away_is_done_again(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown(night, [(ANNA, 2, at(9)), (ANNA, 2, at(10))])

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("jobs.land_exposures.put_away", killed)
        with pytest.raises(KeyboardInterrupt):
            land_exposures(night)
    before = exposures(night)
    assert land_exposures(night)["rows"] == {"2011-11-30": 2}
    assert exposures(night) == before


def test_a_day_is_the_business_day_of_the_sources_zone(night: Night) -> None:
    date = dt.date(2011, 6, 30)
    publish_live(store_of(night.settings, night.home), date, "by-hand")
    shown(night, [(ANNA, 1, at(hour, date)) for hour in (22.9, 23.1, 46.9, 47.1)], f"{date}/by-hand")
    rows = land_exposures(night)["rows"]  # in London it is an hour later
    assert rows == {"2011-06-30": 1, "2011-07-01": 2, "2011-07-02": 1}


def test_what_cannot_be_told_is_null_and_what_was_dropped_is_said(night: Night) -> None:
    shown(night, [(ANNA, 2, at(9))], "2011-11-28/pruned")
    shown(night, [(ANNA, b"not JSON", at(10))])
    log = shown(night, [])
    log._room = 1
    for _ in range(3):
        log.note(ANNA, ASSIGN(ANNA, "home"), RUN, 1, at(11))
    log.flush()
    summary = land_exposures(night)
    assert (summary["unresolved"], summary["dropped"], summary["warnings"]) == (2, 2, 1)
    assert [row["items"] is None for row in exposures(night)] == [True, True, False]


def test_what_was_dropped_is_counted_once_of_a_file_with_rows_of_two_days(night: Night) -> None:
    log = shown(night, [])
    log._room = 2
    for hour in (9, 26, 27):
        log.note(ANNA, ASSIGN(ANNA, "home"), RUN, 1, at(hour))
    log.flush()
    tomorrow = open_night(night.settings, dt.date(2011, 12, 1), home=night.home)
    nights = [land_exposures(one) for one in (night, night, tomorrow, tomorrow)]
    assert [(one["put_away"], one["dropped"]) for one in nights] == [(0, 0), (0, 0), (1, 1), (0, 0)]


def test_a_file_that_cannot_be_read_is_put_aside(night: Night) -> None:
    shown(night, [(ANNA, 2, at(9))])
    (file,) = files_in(night.home / FOLDER / PENDING)
    broken = file.path.with_name(file.path.name.replace("-000000", "-000001"))
    broken.write_bytes(file.path.read_bytes()[:-30])
    summary = land_exposures(night)
    assert (summary["rows"], summary["unreadable"]) == ({"2011-11-30": 1}, [broken.name])
    assert land_exposures(night)["unreadable"] == []


def test_files_go_when_they_are_old_and_what_did_not_land_never_does(night: Night) -> None:
    shown(night, [(ANNA, 2, at(9))])
    land_exposures(night)
    shown(night, [(ANNA, 2, at(9, dt.date(2011, 12, 20)))])
    later = open_night(night.settings, dt.date(2011, 12, 6), home=night.home)
    assert land_exposures(later)["removed"] == 0
    later = open_night(night.settings, dt.date(2011, 12, 8), home=night.home)
    assert land_exposures(later)["removed"] == 1
    assert [len(files_in(night.home / FOLDER / part)) for part in (PENDING, LANDED)] == [1, 0]


def test_rows_that_are_none_stop_the_landing_and_stay_where_they_are(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightshift.contracts.data_docs.build", lambda *_: [])  # GX takes seconds to import
    shown(night, [(ANNA, 2, at(9))])
    (file,) = files_in(night.home / FOLDER / PENDING)
    about, line = map(json.loads, file.path.read_text().splitlines())
    line["experiments"] = [
        {"experiment": "ranker", "variant": name, "propensity": 0.5} for name in ("control", "treatment")
    ]
    file.path.write_text(f"{json.dumps(about)}\n{json.dumps(line)}\n")
    with pytest.raises(GateError, match="exposures: experiments_named"):
        land_exposures(night)
    assert not Lake(night.home / "lake").exists("exposures")
    assert len(files_in(night.home / FOLDER / PENDING)) == 1


def test_a_person_is_erased_from_the_files_and_the_table_and_does_not_come_back(night: Night) -> None:
    shown(night, [(user, 1, at(9)) for user in USERS[:2]])
    land_exposures(night)
    shown(night, [(user, 1, at(10)) for user in USERS[:2]])
    place, people = Place(night.settings, night.home, store_of(night.settings, night.home)), People.of([ANNA])
    found = look(place, people).found
    assert found["lake/exposures"] == 1
    assert (found["exposures/pending"], found["exposures/landed"]) == (1, 1)
    done = erase(place, people, dt.datetime(2011, 12, 1, tzinfo=dt.UTC), grace=0)
    assert done.proof.clean
    assert (done.removed["lake/exposures"], done.removed["exposures/pending"]) == (1, 1)
    assert {row["user_id"] for row in exposures(night)} == {USERS[0]}
    shown(night, [(ANNA, 1, at(11))])  # a service that had her row in memory meanwhile
    summary = land_exposures(night)
    assert (summary["erased"], summary["rows"]) == (1, {"2011-11-30": 2})
    assert {row["user_id"] for row in exposures(night)} == {USERS[0]}
    assert summary["unresolved"] == 0, "the run of before is read in the one that took its place"
    assert not look(place, people).found


@pytest.mark.parametrize("requests", [("erased-1", "erased-2"), ("erased-2", "erased-1")])
def test_after_two_erasures_the_run_that_took_the_place_last_is_read(
    night: Night, tmp_path: Path, requests: tuple[str, str]
) -> None:
    storage, now = store_of(night.settings, night.home), dt.datetime(2011, 12, 1, tzinfo=dt.UTC)
    (first,), _ = replace_runs(storage, People.of([ANNA]), requests[0], now, tmp_path)
    remove_old(storage, [first])
    os.utime(night.home / "published" / first.new.run.manifest, (now.timestamp(), now.timestamp()))
    (second,), _ = replace_runs(storage, People.of([USERS[0]]), requests[1], now, tmp_path)
    for removed in ([], [second]):  # as while the second is under way, and when it is done
        remove_old(storage, removed)
        read = Shown(storage, tmp_path / "runs")
        for shown_run in (RUN, str(first.new.run)) if removed else (RUN,):
            opened = read._run("home", shown_run)
            assert opened
            assert opened.manifest.run == second.new.run
            assert read.items("home", shown_run, USERS[2], 2, None)
    assert read._run("home", "2011-11-29/by") is None, "it is another run"


def test_erased_people_are_left_out_of_the_file_as_well(night: Night) -> None:
    suppress(night.home, [ANNA])
    shown(night, [(user, 1, at(9)) for user in (ANNA, USERS[0], ANNA)])
    assert land_exposures(night)["erased"] == 2
    (file,) = files_in(night.home / FOLDER / LANDED)
    assert read(file.path).columns["user_id"] == [USERS[0]]
