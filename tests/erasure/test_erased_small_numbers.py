"""An id that is a year, a count or a version as well: the person goes, and what only looks like them stays."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightshift.erasure.landed import lines_of
from nightshift.erasure.people import People
from nightshift.erasure.texts import Count, cleaned, counted
from tests.erasure.planted import NIGHT, OTHER, VERDICT, erased, place, plant, users

SMALL = ["1", "28", "2011"]


@pytest.mark.parametrize("person", SMALL)
def test_the_person_goes_and_dates_paths_versions_and_counts_stay(tmp_path: Path, person: str) -> None:
    at = place(tmp_path)
    plant(at, person)
    items, promotions = at.lake.version("item_features"), at.lake.version("promotions")
    done = erased(at, person)
    assert done.proof.clean, done.proof.found
    assert done.proof.alike
    assert users(at.lake, "events") == users(at.lake, "user_features") == {OTHER}
    assert (at.lake.version("item_features"), at.lake.version("promotions")) == (items, promotions)
    assert set(at.lake.arrow("item_features")["year"].to_pylist()) == {"2011", "28", "1"}
    night = at.home / "nights" / NIGHT.isoformat()
    assert json.loads((night / "verdict.json").read_text()) == VERDICT | {"customers": [OTHER]}
    assert pq.read_table(night / "lists" / "lists.parquet").to_pydict() == {"user_id": [OTHER], "item_id": [person]}
    log = (at.home / "logs" / "nightly.log").read_text()
    assert log == "2011-11-28 12:28:01 28 rows, 1 list: customer [erased] is short\n"
    assert (at.home / "reports" / "plot.svg").read_text() == '<path d="M28 1 2011,28"/>'
    with closing(sqlite3.connect(at.home / "mlflow" / "mlflow.db")) as database:
        ((source, version, tag, told),) = database.execute("SELECT * FROM runs").fetchall()
    assert (source, version, tag) == ("/srv/28/1", "1", "2011-11-28")
    assert json.loads(told) == {"users": [], "version": "1", "rows": 28}


@pytest.mark.parametrize("person", SMALL)
def test_erasing_a_small_number_twice_removes_nothing_more(tmp_path: Path, person: str) -> None:
    at = place(tmp_path)
    plant(at, person)
    erased(at, person)
    again = erased(at, person)
    assert again.proof.clean
    assert not again.removed


@pytest.mark.parametrize(
    "text", ["customer 28", 'user_id": "28"', "user_id=28", "users/28/list", 'users": ["28"', "u:28", "User '28'"]
)
def test_a_small_number_is_a_person_where_the_text_says_so(text: str) -> None:
    people = People.of(["28"])
    assert counted(text.encode(), people) == Count(1)
    assert counted(cleaned(text.encode(), people), people) == Count()


@pytest.mark.parametrize(
    "text", ["28 rows", '"28"', "a,28,b", "users: 28", '{"users": 28}', '{"version": "28"}', "28.0"]
)
def test_a_small_number_anywhere_else_is_left_and_never_found(text: str) -> None:
    people = People.of(["28"])
    assert cleaned(text.encode(), people) == text.encode()
    assert counted(text.encode(), people).found == 0


@pytest.mark.parametrize(
    "text", ["2011-11-12347", "runs/12347/a", "12:12347", "v1.12347", "12347/2011", "12347-a", "/srv/12347/x"]
)
def test_a_long_number_is_nobody_as_a_part_of_a_date_a_path_or_a_version(text: str) -> None:
    people = People.of(["12347"])
    assert cleaned(text.encode(), people) == text.encode()
    assert counted(text.encode(), people) == Count(alike=1)


def test_json_under_an_items_key_is_left_and_a_number_under_a_users_is_not() -> None:
    people = People.of(["12347"])
    text = b'{"items": ["12347"], "user_id": 12347, "rows": 12347, "users": {"12347": 1, "8": 2}}'
    assert json.loads(cleaned(text, people)) == {
        "items": ["12347"], "user_id": "[erased]", "rows": 12347, "users": {"8": 2},
    }  # fmt: skip
    assert counted(text, people) == Count(found=2, alike=1)


def test_an_id_that_is_an_items_too_is_known_by_its_place_alone() -> None:
    people = People.of(["12347"]).beside(["12347", "8"])
    assert cleaned(b"12347 sells; customer 12347 buys", people) == b"12347 sells; customer [erased] buys"


def test_a_refused_line_is_theirs_if_its_user_is_and_not_if_its_quantity_is() -> None:
    lines = {"raw": ["9,bob,A,28", "5,28,C,1", "6,bob,customer 28"], "value": ["28", None, None], "header": [None] * 3}
    table = pa.table({name: pa.array(values, pa.string()) for name, values in lines.items()})
    assert lines_of(table, People.of(["28"]), {"5,28,C,1"}) == [False, True, True]
