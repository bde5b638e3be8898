"""Who is meant: a whole value in a column of users, however nested, and a word in a text in any file's spelling."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightshift.erasure.columns import occurrences, without_people
from nightshift.erasure.leftovers import erase_leftovers
from nightshift.erasure.people import People
from nightshift.erasure.texts import Count, scrubbed

ANNA = People.of(["12347"])


@pytest.mark.parametrize(
    "text", ["12347", "customer 12347, twice", '"12347"', "12347.0", "a,12347,b", "users/12347/list", "u:12347"]
)
def test_an_id_is_found_as_a_word(text: str) -> None:
    assert ANNA.occur_in(text) == 1
    assert ANNA.occur_in(ANNA.scrub_text(text)) == 0


@pytest.mark.parametrize("text", ["123470", "0.12347", "12347.5", "x12347", "12347_a", "112347"])
def test_a_part_of_another_word_or_number_is_nobody(text: str) -> None:
    assert ANNA.scrub_text(text) == text


@pytest.mark.parametrize("name", ['a"b@x.org', "o'neill & co", "zoë", "a b/c", "a+b[1]"])
def test_an_id_is_known_in_the_spelling_of_json_html_and_addresses(name: str) -> None:
    import html
    from urllib.parse import quote

    people = People.of([name])
    for text in (name, json.dumps(name), html.escape(name), quote(name)):
        assert people.occur_in(f" {text} ") == 1


def test_no_id_and_an_empty_id_are_refused() -> None:
    for ids in ([], [" "]):
        with pytest.raises(ValueError, match="name whom to erase"):
            People.of(ids)


def test_rows_of_a_user_go_and_elements_of_lists_of_users_go_and_items_of_that_name_stay() -> None:
    about = pa.struct([("user_id", pa.string()), ("score", pa.float64())])
    schema = pa.schema(
        [
            ("user_id", pa.string()),
            ("seen", about),
            ("users", pa.list_(pa.string())),
            ("near", pa.list_(about)),
            ("items", pa.list_(pa.string())),
            ("item_id", pa.string()),
        ]
    )
    other = {"user_id": "9", "score": 1.0}
    rows = [
        {"user_id": "12347", "seen": other, "users": [], "near": [], "items": [], "item_id": "1"},
        {"user_id": "8", "seen": {"user_id": "12347", "score": 1.0}, "users": [], "near": [], "items": [],
         "item_id": "2"},
        {"user_id": "7", "seen": other, "users": ["12347", "6"], "near": [{"user_id": "12347", "score": 1.0}, other],
         "items": ["12347"], "item_id": "12347"},
    ]  # fmt: skip
    before = pa.Table.from_pylist(rows, schema=schema)
    after = without_people(before, ANNA)
    assert occurrences(before, ANNA).found == 4
    assert occurrences(after, ANNA) == Count()
    assert after.to_pylist() == [rows[2] | {"users": ["6"], "near": [other]}]


def test_texts_of_a_table_without_users_lose_the_word_and_keep_the_row() -> None:
    table = pa.table({"check": ["a", "b"], "observed": ["3 rows, like '12347'", None]})
    after = without_people(table, ANNA).to_pydict()
    assert after == {"check": ["a", "b"], "observed": ["3 rows, like '[erased]'", None]}


def test_json_loses_elements_keys_and_words_and_keeps_numbers() -> None:
    value = {"customers": ["12347", "8"], "12347": 1, "why": "12347 is short", "rows": 12347}
    assert scrubbed(value, ANNA) == {"customers": ["8"], "why": "[erased] is short", "rows": 12347}


def test_every_kind_of_file_of_the_home_is_cleaned_and_models_are_left(tmp_path: Path) -> None:
    for folder in ("logs", "nights/2011-11-28/lists", "nights/2011-11-28/model", "reports/nights", "mlflow", "lake/t"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "logs" / "a.log").write_text("list of 12347\n")
    (tmp_path / "nights/2011-11-28/report.json").write_text('{"customers": ["12347", "8"]}')
    (tmp_path / "nights/2011-11-28/model/model.json").write_text('{"items": ["12347"]}')
    (tmp_path / "reports/nights/2011-11-28.html").write_text("<h3>12347</h3>")
    (tmp_path / "reports/nights/2011-11-27.html").write_text("<h3>8</h3>")
    pq.write_table(pa.table({"user_id": ["12347", "8"]}), tmp_path / "nights/2011-11-28/lists/lists.parquet")
    with closing(sqlite3.connect(tmp_path / "mlflow" / "mlflow.db")) as database:
        database.execute("CREATE TABLE tags (key TEXT PRIMARY KEY, value TEXT)")
        database.execute("INSERT INTO tags VALUES ('note', 'seen by 12347')")
        database.commit()
    found = erase_leftovers(tmp_path, ANNA)
    assert dict(found) == {"logs": 1, "nights": 1, "nights/lists": 1, "reports/nights": 1, "mlflow": 1}
    assert (tmp_path / "logs" / "a.log").read_text() == "list of [erased]\n"
    assert json.loads((tmp_path / "nights/2011-11-28/report.json").read_text()) == {"customers": ["8"]}
    assert sorted(file.name for file in (tmp_path / "reports/nights").iterdir()) == ["2011-11-27.html"]
    assert pq.read_table(tmp_path / "nights/2011-11-28/lists/lists.parquet")["user_id"].to_pylist() == ["8"]
    assert b"12347" not in (tmp_path / "mlflow" / "mlflow.db").read_bytes()
    assert "12347" in (tmp_path / "nights/2011-11-28/model/model.json").read_text()
    assert not erase_leftovers(tmp_path, ANNA)
