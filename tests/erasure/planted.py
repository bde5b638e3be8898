"""A small home with one person in every kind of place, and much that looks like a number of few digits."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.config.settings import Engine
from nightshift.erasure.erase import Erasure, Place, erase
from nightshift.erasure.people import People
from nightshift.lake import EVENTS_COLUMNS, Lake, Table, ingest_counts_table
from nightshift.publishing.storage import open_storage
from tests.landing.shop import Shop

NIGHT = dt.date(2011, 11, 28)
NOW = dt.datetime(2011, 12, 1, 12, tzinfo=dt.UTC)
OTHER = "5"
VERDICT = {
    "run_date": "2011-11-28",
    "served": {"name": "recommender", "version": "1", "kind": "two_stage"},
    "rows": 28,
    "folder": "/srv/28/nights/2011-11-28/1",
    "said": "28 rows of 2011, in 1 file, at 12:28:01, 1-28 of 28/28",
}


def place(folder: Path) -> Place:
    """A home without any quarantine, so that no Spark is needed to take its lines apart."""
    home = folder / "var"
    home.mkdir(exist_ok=True)
    return Place(Shop(folder, Engine()).settings, home, open_storage((folder / "store").as_uri()))


def plant(at: Place, person: str) -> None:
    """Events, features, a night's folder, a database and a log."""
    rows = [event(user, item) for user in (person, OTHER) for item in ("A", "B")]
    table = pa.Table.from_pylist(rows, schema=Table("events", EVENTS_COLUMNS | {"year": "string"}).arrow)
    at.lake.replace("events", NIGHT, table)
    counts: dict[str, Any] = {"rows_in": 4, "kept": 4, "quarantined": 0, "duplicates": 0, "content": "before"}
    at.lake.replace(
        "ingest_counts",
        NIGHT,
        pa.Table.from_pylist([counts | {"run_date": NIGHT}], schema=ingest_counts_table.arrow),
    )
    at.lake.replace("user_features", NIGHT, pa.table({"user_id": [person, OTHER], "n": [1, 28]}))
    years = {"item_id": ["A", "B", "C"], "year": ["2011", "28", "1"], "title": ["1", "28", "2011"]}
    at.lake.replace("item_features", NIGHT, pa.table(years))
    promotion = {"by": ["night"], "version": ["1"], "folder": ["/srv/2011/28/1/two_stage-1"], "reason": ["28 of 2011"]}
    at.lake.replace("promotions", NIGHT, pa.table(promotion))
    night = at.home / "nights" / "2011-11-28"
    (night / "lists").mkdir(parents=True)
    pq.write_table(pa.table({"user_id": [person, OTHER], "item_id": ["A", person]}), night / "lists" / "lists.parquet")
    (night / "verdict.json").write_text(json.dumps(VERDICT | {"customers": [person, OTHER]}))
    (at.home / "logs").mkdir()
    (at.home / "logs" / "nightly.log").write_text(f"2011-11-28 12:28:01 28 rows, 1 list: customer {person} is short\n")
    (at.home / "reports").mkdir()
    (at.home / "reports" / "plot.svg").write_text('<path d="M28 1 2011,28"/>')
    (at.home / "mlflow").mkdir()
    with closing(sqlite3.connect(at.home / "mlflow" / "mlflow.db")) as database:
        database.execute("CREATE TABLE runs (source TEXT, version TEXT, tag TEXT, told TEXT)")
        told = json.dumps({"users": [person], "version": "1", "rows": 28})
        database.execute("INSERT INTO runs VALUES ('/srv/28/1', '1', '2011-11-28', ?)", (told,))
        database.commit()


def event(user: str, item: str) -> dict[str, Any]:
    return {
        "event_id": f"{user}-{item}",
        "user_id": user,
        "item_id": item,
        "event_type": "purchase",
        "weight": 1.0,
        "event_time": dt.datetime(2011, 11, 28, 9, tzinfo=dt.UTC),
        "event_date": NIGHT,
        "quantity": 28.0,
        "price": 1.0,
        "basket_id": "2011",
        "year": "2011",
        "run_date": NIGHT,
    }


def erased(at: Place, *ids: str) -> Erasure:
    return erase(at, People.of(ids), NOW, grace=0)


def users(lake: Lake, table: str) -> set[str]:
    return set(lake.arrow(table, ["user_id"])["user_id"].to_pylist())
