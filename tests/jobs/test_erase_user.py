"""A person is erased from a real night's home; a scan that knows nothing of the erasing code finds nothing of them."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from nightshift.config.settings import Engine
from nightshift.lake import Lake, engine
from nightshift.lake.processes import started
from nightshift.publishing.read import live_manifest, open_run, read_table
from nightshift.publishing.storage import open_storage
from nightshift.serving.following.follower import Follower
from nightshift.serving.telemetry.metrics import Metrics
from tests.chain.small_shop import ROOT, RUN_DATE, Shop, make_shop
from tests.chain.step_process import StepProcess
from tests.mlflow_database import put_database

BEFORE = RUN_DATE - dt.timedelta(days=1)
PERSON = "17450"  # buys more often than anybody else


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, warm_engine: Engine) -> Iterator[Shop]:
    """Two nights of a small shop, published; and the person in logs, in a database and in a line that was refused."""
    made = make_shop(tmp_path_factory.mktemp("erasure"), warm_engine)
    spoil_a_row(made, PERSON)
    put_database(made.home)
    made.night(BEFORE)
    made.night()
    plant(made, PERSON)
    with in_the_place_of_its_engine(made):
        yield made


@contextlib.contextmanager
def in_the_place_of_its_engine(shop: Shop) -> Iterator[None]:
    """A process that the home takes for its warm Spark server: the nights were computed by the tests' own."""
    orphan = subprocess.run(["sh", "-c", "sleep 900 >/dev/null 2>&1 & echo $!"], capture_output=True, check=True)
    server = {"port": 15002, "pid": int(orphan.stdout), "started": started(int(orphan.stdout))}
    (shop.home / "engine" / "server.json").write_text(json.dumps(server))
    yield
    engine.stop(shop.home)


def spoil_a_row(shop: Shop, person: str) -> None:
    """A free sale to the person, on the last day: it goes to quarantine with its raw line."""
    file = shop.folder / "events" / f"{RUN_DATE}.csv.gz"
    text = gzip.decompress(file.read_bytes()).decode()
    row = f"581999,84029G,WOOLLY HOTTIE,6,{RUN_DATE} 08:26:00,0.0,{person}.0,United Kingdom\n"
    file.write_bytes(gzip.compress((text + row).encode(), mtime=0))


def plant(shop: Shop, person: str) -> None:
    (shop.home / "logs").mkdir(exist_ok=True)
    (shop.home / "logs" / "nightly.log").write_text(f"12:00:01 lists for customer {person} are short\n")
    (shop.home / "engine").mkdir(exist_ok=True)
    (shop.home / "engine" / "server.log").write_text(f"WARN a task failed over customer {person}\n")
    (shop.home / "airflow").mkdir(exist_ok=True)
    with contextlib.closing(sqlite3.connect(shop.home / "airflow" / "airflow.db")) as database:
        database.execute("CREATE TABLE xcom (key TEXT, value TEXT)")
        database.execute("INSERT INTO xcom VALUES ('return_value', ?)", (json.dumps({"customers": [person, "x"]}),))
        database.commit()


def erase(shop: Shop, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m jobs.erase_user`."""
    return StepProcess(["erase_user"], arguments, shop.environment).wait()


def summary(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# a scan of its own


def scan(home: Path, person: str) -> Counter[str]:
    """Where a person is: any string of any table's column of users, any record, and any file's bytes as a word."""
    word = re.compile(rb"(?<![\w.])" + person.encode() + rb"(?:\.0)?(?![\w.])")
    found: Counter[str] = Counter()
    for file in (path for path in home.rglob("*") if path.is_file()):
        where = "/".join(file.relative_to(home).parts[:2])
        if ".parquet" in file.name:
            found[where] += in_table(pq.ParquetFile(file).read(), person, word)
        elif file.suffix == ".lmdb":
            found[where] += len(re.findall(rb"u:" + person.encode() + rb"(?!\d)", file.read_bytes()))
        elif file.parent.name == "_delta_log":
            found[where] += len(re.findall(rf'user_id\\*"\s*:\s*\\*"{person}', file.read_text()))
        elif file.suffix not in {".safetensors", ".faiss"} and not is_of_items(file):
            found[where] += len(word.findall(file.read_bytes()))
    return +found


def is_of_items(file: Path) -> bool:
    """Models and indexes know items by ids that look like users', and numbers."""
    return bool({"model", "models", "index"} & set(file.parts))


def in_table(table: pa.Table, person: str, word: re.Pattern[bytes]) -> int:
    names = [name for name in ("user_id", "raw") if name in table.column_names]
    flat = [value for name in names for value in table[name].to_pylist() if value]
    for name in ("add", "remove"):
        if name in table.column_names:  # a checkpoint
            flat += [entry["stats"] for entry in table[name].to_pylist() if entry and entry.get("stats")]
            return sum(f'"user_id":"{person}"' in stats.replace(" ", "") for stats in flat)
    return sum(bool(value == person or word.search(str(value).encode())) for value in flat)


# what is so


def test_a_dry_run_says_where_the_person_is_and_changes_nothing(shop: Shop) -> None:
    before = {file: file.stat().st_mtime_ns for file in (shop.home / "lake").rglob("*") if file.is_file()}
    told = summary(erase(shop, "--user", PERSON, "--dry-run"))
    places = set(told["found"])
    assert {"lake/events", "lake/quarantine", "lake/user_features", "published", "nights/lists", "logs"} <= places
    assert PERSON not in json.dumps(told)
    assert engine.running(shop.home) is not None
    assert before == {file: file.stat().st_mtime_ns for file in (shop.home / "lake").rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def erased(shop: Shop) -> dict[str, Any]:
    """The first erasure's summary; what was there before it is in `before`."""
    storage = open_storage((shop.home / "published").as_uri())
    metrics = Metrics(["home"])
    follower = Follower(storage, "home", shop.home / "serving", metrics)
    follower.look()
    assert follower.live
    before = {
        "scan": scan(shop.home, PERSON),
        "events": Lake(shop.home / "lake").arrow("events").num_rows,
        "lists": read_table(storage, live_manifest(storage, "home")),  # type: ignore[arg-type]
        "pointer": shop.pointer(),
        "content": contents(shop),
        "follower": follower,
    }
    return {**summary(erase(shop, "--user", PERSON)), "before": before}


def contents(shop: Shop) -> dict[str, str]:
    rows = Lake(shop.home / "lake").arrow("ingest_counts", ["run_date", "content"]).to_pylist()
    return {str(row["run_date"]): row["content"] for row in rows}


def test_a_scan_of_everything_finds_the_person_before_and_nothing_after(shop: Shop, erased: dict[str, Any]) -> None:
    before = erased["before"]["scan"]
    places = {"lake/events", "lake/quarantine", "lake/user_item_features", "published/home", "logs/nightly.log"}
    assert places | {"engine/server.log"} <= set(before)
    assert scan(shop.home, PERSON) == Counter()
    assert engine.running(shop.home) is None, "its memory may have held rows of theirs"
    assert erased["found"] == {}


def test_no_older_version_of_a_table_brings_the_person_back(shop: Shop, erased: dict[str, Any]) -> None:
    for name in erased["without_older_versions"]:
        table = DeltaTable(str(shop.home / "lake" / name))
        for version in range(table.version()):
            with pytest.raises(Exception, match=r"."):
                DeltaTable(str(shop.home / "lake" / name), version=version).to_pyarrow_table()
    assert "events" in erased["without_older_versions"]
    assert "item_features" not in erased["without_older_versions"]  # it never held a user


def test_every_other_row_is_still_there_and_the_counts_add_up(shop: Shop, erased: dict[str, Any]) -> None:
    lake = Lake(shop.home / "lake")
    gone = erased["removed"]["lake/events"]
    assert gone > 0
    assert lake.arrow("events").num_rows == erased["before"]["events"] - gone
    counts = lake.pandas("ingest_counts")
    assert (counts["rows_in"] == counts["kept"] + counts["quarantined"] + counts["duplicates"]).all()
    assert counts["kept"].sum() == lake.arrow("events").num_rows
    assert counts["quarantined"].sum() == lake.arrow("quarantine").num_rows
    erased_rows = lake.pandas("quarantine", where=[("reason", "=", "erased")])
    assert len(erased_rows) == gone + erased["removed"]["lake/quarantine"]
    assert erased_rows.drop(columns=["reason", "run_date"]).isna().all().all()


def test_the_days_that_lost_events_have_another_content_and_the_others_the_same(
    shop: Shop, erased: dict[str, Any]
) -> None:
    """So the lineage of the features tells which nights are stale."""
    before, after = erased["before"]["content"], contents(shop)
    lake = Lake(shop.home / "lake")
    rows = lake.pandas("quarantine", ["run_date", "reason", "source_file"], [("reason", "=", "erased")])
    days = {str(day) for day in rows["run_date"]} - {str(RUN_DATE)}
    changed = {day for day in after if after[day] != before[day]}
    assert days <= changed <= days | {str(RUN_DATE)}


@pytest.mark.parametrize(
    ("step", "arguments"),
    [("publish", ()), ("publish_channels", ("--channel", "mail", "--model-version", "challenger"))],
)
def test_a_night_that_is_published_again_must_be_run_again(
    shop: Shop, erased: dict[str, Any], step: str, arguments: tuple[str, ...]
) -> None:
    """Its lists were made from versions of tables that are gone: no step after ingest could read them."""
    done = StepProcess([step], ["--run-date", str(RUN_DATE), *arguments], shop.environment).wait()
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert re.search(r"the table '\w+' has no version \d+ any more.*: run the whole night .*from ingest on", said), said
    assert "jobs.validate_lists" not in said


def test_readers_of_published_lists_go_on_and_get_the_same_lists_but_the_persons(
    shop: Shop, erased: dict[str, Any]
) -> None:
    storage = open_storage((shop.home / "published").as_uri())
    follower: Follower = erased["before"]["follower"]
    old = follower.live
    assert old
    assert old.run.user(PERSON) is not None  # it had the run open, and goes on answering from it
    follower.look()
    assert follower.refusal is None
    assert follower.live
    assert follower.live.run.user(PERSON) is None
    manifest = live_manifest(storage, "home")
    assert manifest
    now, before = read_table(storage, manifest), erased["before"]["lists"]
    assert now.to_pylist() == [row for row in before.to_pylist() if row["user_id"] != PERSON]
    run = open_run(storage, manifest, shop.home / "serving")
    for user in set(now["user_id"].to_pylist()[:200]):
        assert run.user(user) == old.run.user(user)
    assert manifest.counts["users"] == len(now["user_id"].unique())
    assert shop.pointer()["run_date"] == erased["before"]["pointer"]["run_date"]
    assert len(shop.pointer()["history"]) == len(erased["before"]["pointer"]["history"])


def test_the_record_says_what_was_done_and_names_nobody(shop: Shop, erased: dict[str, Any]) -> None:
    (row,) = Lake(shop.home / "lake").arrow("erasures").to_pylist()
    assert row["proof"] == "clean"
    assert row["people"] == 1
    assert json.loads(row["removed"])["lake/events"] == erased["removed"]["lake/events"]
    assert PERSON not in json.dumps(row, default=str)
    assert PERSON not in (shop.home / "erasure" / "suppressed.txt").read_text()
    assert (shop.home / "erasure" / "salt").stat().st_mode & 0o077 == 0


def test_reading_the_unchanged_files_again_does_not_bring_the_person_back(shop: Shop, erased: dict[str, Any]) -> None:
    before = contents(shop)
    for step in ("ingest", "validate_events"):
        done = shop.step(step, run_id="again")
        assert done.returncode == 0, done.stderr[-2000:]
    assert scan(shop.home / "lake", PERSON) == Counter()
    assert contents(shop) == before
    counts = Lake(shop.home / "lake").pandas("ingest_counts")
    assert (counts["rows_in"] == counts["kept"] + counts["quarantined"] + counts["duplicates"]).all()


def test_erasing_again_finds_nothing_and_changes_no_table(shop: Shop, erased: dict[str, Any]) -> None:
    lake = Lake(shop.home / "lake")
    versions = {name: lake.version(name) for name in ("events", "quarantine", "user_features")}
    told = summary(erase(shop, "--user", PERSON))
    assert sum(told["removed"].values()) == 0
    assert versions == {name: lake.version(name) for name in versions}


def test_an_empty_id_and_a_missing_one_are_refused_in_one_line(shop: Shop) -> None:
    for arguments in ((), ("--user", " ")):
        done = erase(shop, *arguments)
        assert done.returncode == 1
        assert "name whom to erase" in done.stderr.splitlines()[-1]


def test_a_night_at_work_is_waited_for_by_a_person_not_by_the_erasure(shop: Shop, erased: dict[str, Any]) -> None:
    """A stage of a living process is refused, with the process's number."""
    folder = shop.home / "lake" / "events"
    script = (
        "from pathlib import Path; from nightshift.lake.stages import open_stage; import sys;"
        f"open_stage(Path({str(folder)!r}), ('2011-11-28',)); print('at work', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout
    assert process.stdin
    try:
        assert process.stdout.readline() == "at work\n"
        done = erase(shop, "--user", "12345")
    finally:
        process.stdin.close()
        process.wait()
        for left in folder.glob("stage-*.uncommitted"):
            shutil.rmtree(left.with_suffix(""), ignore_errors=True)
            left.unlink()
    assert done.returncode == 1
    assert f"process {process.pid}" in done.stderr
