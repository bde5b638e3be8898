"""What kills, older schemas and other processes leave keeps no person, and keeps no erasure from its end."""

from __future__ import annotations

import datetime as dt
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nightshift.erasure import landed, leftovers, tables
from nightshift.erasure.erase import look
from nightshift.erasure.leftovers import erase_leftovers, is_model
from nightshift.erasure.parquet import conformed
from nightshift.erasure.people import People
from nightshift.erasure.proof import Proof, search_file
from nightshift.erasure.published import remove_old, remove_unnamed, replace_runs, unnamed
from nightshift.erasure.tables import declared, stage_without
from nightshift.features.lineage import State, load_lineage, record
from nightshift.lake import Lake, Staged, Table
from nightshift.lake.stages import claim, open_stage
from nightshift.publishing.prune import prune
from nightshift.publishing.publish import upload
from nightshift.publishing.records import user_key
from nightshift.publishing.shards import write_shard
from nightshift.publishing.storage import Storage, StoreError
from nightshift.publishing.storage_s3 import S3Storage
from nightshift.runs import StepError
from nightshift.runs.lock import at_work
from tests.erasure.planted import NIGHT, NOW, OTHER, erased, place, plant, users
from tests.publishing.planted import USERS, day, publish, publish_live
from tests.publishing.stores import address, s3_endpoint, storage

__all__ = ["address", "s3_endpoint", "storage"]

ANNA = "12347"
PEOPLE = People.of([ANNA])
HERS = pa.table({"user_id": [ANNA, OTHER]})


def staged_by_a_killed_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stage with her rows whose marker names a process that is gone."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    staged = open_stage(folder, (NIGHT.isoformat(),))
    file = folder / staged.folder / f"run_date={NIGHT}" / "part.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(HERS, file)
    with monkeypatch.context() as patched:
        patched.setattr("nightshift.lake.stages._this_process", lambda: (socket.gethostname(), gone.pid, 1))
        claim(folder, staged)
    return file


# the lake


def test_what_was_staged_for_a_table_that_never_was_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = place(tmp_path)
    plant(at, ANNA)
    file = staged_by_a_killed_process(at.lake.path("new_features"), monkeypatch)
    assert look(at, PEOPLE).found["lake/new_features"] == 1
    assert erased(at, ANNA).proof.clean
    assert not file.exists()


def test_a_file_that_a_kill_cut_off_is_removed_and_counts_until_it_is(tmp_path: Path) -> None:
    at = place(tmp_path)
    plant(at, ANNA)
    whole = tmp_path / "whole.parquet"
    pq.write_table(HERS, whole)
    for name in ("part-1.parquet", "part-2.parquet#1"):
        file = at.lake.path("item_features") / f"run_date={NIGHT}" / name
        file.write_bytes(whole.read_bytes()[:-20])
    assert look(at, PEOPLE).found["lake/item_features, unreadable"] == 2
    assert erased(at, ANNA).proof.clean


def test_a_live_file_that_cannot_be_read_is_no_clean_proof(tmp_path: Path) -> None:
    at = place(tmp_path)
    plant(at, ANNA)
    (live,) = at.lake.files("item_features")
    Path(live).write_bytes(b"PAR1")
    assert erased(at, ANNA).proof.found == {"lake/item_features, unreadable": 1}


def test_an_erasure_has_one_file_at_a_time_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, rows = Lake(tmp_path), 200_000
    for number in range(8):
        date = NIGHT + dt.timedelta(days=number)
        users_ = pa.array([ANNA] + [OTHER] * (rows - 1))
        lake.replace("seen", date, pa.table({"user_id": users_, "n": pa.array(range(rows), pa.int64())}))
    held = []
    write = tables.write_staged
    monkeypatch.setattr(tables, "write_staged", lambda *of: held.append(least_allocated()) or write(*of))
    staged, gone = stage_without(lake, "seen", PEOPLE)
    assert staged
    assert sum(gone.values()) == len(held) == 8
    assert max(held) < 1.5 * min(held)


def least_allocated() -> int:
    """What Arrow holds, once its threads have let go of what they have read: on a busy machine that takes a moment."""
    looks = []
    for _ in range(40):
        looks.append(pa.total_allocated_bytes())
        time.sleep(0.005)
    return min(looks)


def test_rows_of_an_older_schema_are_written_in_the_tables_own(tmp_path: Path) -> None:
    at = place(tmp_path)
    plant(at, ANNA)
    columns = {"user_id": "string", "near": "array<struct<item_id:string,score:double>>"}
    new = columns | {"near": "array<struct<item_id:string,score:double,why:string>>", "n": "bigint"}
    for table, date in ((Table("seen", columns), dt.date(2011, 11, 27)), (Table("seen", new), NIGHT)):
        staged = open_stage(at.lake.path("seen"), (date.isoformat(),))
        target = at.lake.path("seen") / staged.folder / f"run_date={date}" / "part.parquet"
        target.parent.mkdir(parents=True)
        schema = table.arrow.remove(len(table.columns))
        rows = [{"user_id": user, "near": [{"item_id": "A", "score": 1.0}]} for user in (ANNA, OTHER)]
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), target)
        at.lake.commit(staged, table)
    if (
        "n" not in declared(at.lake, "seen").columns
    ):  # a commit leaves the log's schema: as delta-spark's would change it
        from deltalake import DeltaTable, Field, Schema

        fields = Schema.from_arrow(pa.schema([("n", pa.int64())])).fields
        assert isinstance(fields[0], Field)
        DeltaTable(str(at.lake.path("seen"))).alter.add_columns(fields)
    assert erased(at, ANNA).proof.clean
    assert users(at.lake, "seen") == {OTHER}


def test_a_missing_column_and_a_missing_part_are_null() -> None:
    old = pa.table({"a": [1], "near": [[{"x": "1"}]], "gone": ["z"]})
    part = pa.struct([("x", pa.string()), ("y", pa.int64())])
    schema = pa.schema([("a", pa.float64()), ("near", pa.list_(part)), ("b", pa.string())])
    assert conformed(old, schema).to_pylist() == [{"a": 1.0, "near": [{"x": "1", "y": None}], "b": None}]


def test_features_built_between_a_kill_and_the_second_try_do_not_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try had said of the day what it will hold, and its events still held her."""

    class KilledError(Exception):
        pass

    def killed(lake: Lake, staged: Staged) -> int:
        raise KilledError

    at = place(tmp_path)
    plant(at, ANNA)
    with monkeypatch.context() as patched:
        patched.setattr(landed, "commit", killed)
        with pytest.raises(KilledError):
            erased(at, ANNA)
    lineage = load_lineage(at.lake, at.settings)
    before = NIGHT - dt.timedelta(days=1)
    record(at.lake, [State(date, lineage.of(date), None) for date in (before, NIGHT)])
    assert load_lineage(at.lake, at.settings).stands(NIGHT)
    assert erased(at, ANNA).proof.clean
    lineage = load_lineage(at.lake, at.settings)
    assert not lineage.stands(NIGHT)
    assert lineage.stands(before)


# other files of the home


def test_a_list_and_a_log_that_were_cut_off_do_not_keep_an_erasure_from_its_end(tmp_path: Path) -> None:
    at = place(tmp_path)
    plant(at, ANNA)
    partial = at.home / "nights" / "2011-11-28" / "lists.partial"
    partial.mkdir()
    (partial / "lists.parquet").write_bytes(b"PAR1 cut off")
    (at.home / "logs" / "old.log.gz").write_bytes(b"\x1f\x8b\x08\x00 cut off")
    assert erased(at, ANNA).proof.clean
    assert not list(partial.iterdir())


def test_the_lookups_copies_of_shards_that_hold_a_person_go(tmp_path: Path) -> None:
    at = place(tmp_path)
    folder = at.home / "serving" / "home"
    folder.mkdir(parents=True)
    write_shard(folder / "hers.lmdb", [(user_key(ANNA), b'{"item_id":"A"}')])
    write_shard(folder / "others.lmdb", [(user_key(OTHER), b'{"item_id":"A"}')])
    shutil.copy(folder / "hers.lmdb", folder / "download")
    (folder / "cut.lmdb").write_bytes((folder / "others.lmdb").read_bytes()[:30])
    done = erased(at, ANNA)
    assert done.proof.clean
    assert done.removed["serving/home"] == 3
    assert [file.name for file in folder.iterdir()] == ["others.lmdb"]


def test_a_home_below_a_folder_of_models_is_no_model(tmp_path: Path) -> None:
    home = tmp_path / "models" / "var"
    file = home / "nights" / "report.json"
    file.parent.mkdir(parents=True)
    file.write_text(f'{{"customers": ["{ANNA}"]}}')
    assert not is_model(home, file)
    assert erase_leftovers(home, PEOPLE) == {"nights": 1}


def test_what_a_killed_erasure_had_looked_into_goes(tmp_path: Path) -> None:
    at = place(tmp_path)
    left = at.home / "erasure" / "scratch-1" / "lists.parquet"
    left.parent.mkdir(parents=True)
    pq.write_table(HERS, left)
    erased(at, ANNA)
    assert not left.parent.exists()


def test_the_warm_engine_is_stopped_before_the_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("nightshift.erasure.erase.engine.stop", lambda home: calls.append(home) or True)
    monkeypatch.setattr("nightshift.erasure.erase.prove", lambda *_: calls.append("proof") or _nothing())
    at = place(tmp_path)
    erased(at, ANNA)
    assert calls == [at.home, "proof"]


def _nothing() -> object:
    return Proof(looked_at=1)


@contextmanager
def database_with_a_log(file: Path, table: str, said: str) -> Iterator[sqlite3.Connection]:
    """A new database in write-ahead mode with a table of one row, open."""
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"CREATE TABLE {table} (said TEXT)")
        database.execute(f"INSERT INTO {table} VALUES (?)", (said,))
        database.commit()
        yield database


def test_a_look_before_leaves_a_database_that_can_still_be_erased_from(tmp_path: Path) -> None:
    """Opened for reading only, SQLite leaves its side files; whoever opens it next and may write removes them."""
    at = place(tmp_path)
    plant(at, ANNA)
    file = at.home / "airflow" / "airflow.db"
    with database_with_a_log(file, "xcom", f'{{"customers": ["{ANNA}"]}}'):
        pass
    assert look(at, PEOPLE).found["airflow"] == 1
    assert {path.name for path in file.parent.iterdir()} == {"airflow.db", "airflow.db-shm", "airflow.db-wal"}
    assert erased(at, ANNA).proof.clean
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT said FROM xcom").fetchall() == [('{"customers": []}',)]


def test_what_is_still_only_in_a_databases_log_goes_too(tmp_path: Path) -> None:
    """As while a server has it open."""
    at = place(tmp_path)
    plant(at, ANNA)
    file = at.home / "airflow" / "airflow.db"
    with database_with_a_log(file, "log", f"customer {ANNA} is short") as database:
        assert look(at, PEOPLE).found["airflow"] == 1
        assert erased(at, ANNA).proof.clean
        assert database.execute("SELECT said FROM log").fetchall() == [("customer [erased] is short",)]
        assert not any(ANNA.encode() in path.read_bytes() for path in file.parent.iterdir())


@pytest.mark.parametrize("name", ["a.log", "a.json", "a.log.gz", "a.parquet", "a.lmdb", "nights/2011-11-28.html"])
def test_a_file_that_is_gone_by_the_time_it_is_looked_at_holds_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(leftovers, "files_of", lambda home: iter([home / name]))
    assert erase_leftovers(tmp_path, PEOPLE) == {}
    found = Proof()
    search_file(tmp_path, tmp_path / name, PEOPLE, found)
    assert found.found == {}


# the store


def test_files_that_no_manifest_names_are_found_and_removed(storage: Storage, tmp_path: Path) -> None:
    publish_live(storage, day(1), "night")
    kept = {item.key for item in storage.list("")}
    part = tmp_path / "lists.parquet"
    pq.write_table(HERS, part)
    upload(storage, "home/runs/2011-11-02/killed/", "lists.parquet", part)
    upload(storage, "home/runs/2011-11-01/night/", "lists.parquet", part)
    assert len(unnamed(storage)) == 2
    if folder := storage.local("home/runs/2011-11-01/night"):
        (folder / ".lists.parquet.x.partial").write_bytes(part.read_bytes())
    remove_unnamed(storage)
    assert {item.key for item in storage.list("")} == kept
    assert not (folder and list(folder.glob(".*")))


def test_an_upload_that_was_cut_off_is_found_and_aborted(storage: Storage, tmp_path: Path) -> None:
    """Its parts are in no listing, and hold what was sent."""
    publish_live(storage, day(1), "night")
    kept = {item.key for item in storage.list("")}
    key = "home/runs/2011-11-02/killed/lists/part-00000.parquet"
    if isinstance(storage, S3Storage):
        at = {"Bucket": storage.bucket, "Key": storage.prefix + key}
        begun = storage.client.ask(key, lambda boto: boto.create_multipart_upload(**at))["UploadId"]
        storage.client.ask(key, lambda boto: boto.upload_part(**at, UploadId=begun, PartNumber=1, Body=b"hers"))
    else:
        partial = Path(str(storage.local(key))).with_name(".part-00000.parquet.x.partial")
        partial.parent.mkdir(parents=True)
        partial.write_bytes(b"hers")
    assert unnamed(storage) == [key]
    assert remove_unnamed(storage) == 1
    assert unnamed(storage) == list(storage.unfinished("")) == []
    assert {item.key for item in storage.list("")} == kept


def test_a_run_that_was_put_away_to_be_pruned_goes_too(storage: Storage) -> None:
    publish(storage, day(1), "night")
    publish_live(storage, day(2), "night")
    put_away = prune(storage, "home", 1, dt.datetime.now(dt.UTC)).put_away
    assert put_away == ["home/runs/2011-11-01/night/"]
    there = len(storage.list(put_away[0]))
    assert remove_unnamed(storage) == there > 0
    assert storage.list(put_away[0]) == []


def test_a_look_counts_a_damaged_run_and_an_erasure_tells_that_it_removed_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    at = place(tmp_path)
    plant(at, ANNA)
    old = publish(at.storage, day(1), "night")
    publish_live(at.storage, day(2), "night")
    at.storage.write(old.folder + old.shards[0].path, b"cut off")
    assert look(at, PEOPLE).found["published, unreadable"] == 1
    done = erased(at, ANNA)
    assert done.proof.clean
    assert done.removed["published runs, damaged"] == 1
    assert "home/runs/2011-11-01/night/ is removed: it cannot be read whole" in caplog.text
    assert at.storage.list(old.folder) == []


def test_a_run_that_is_replaced_again_and_again_keeps_a_short_name(storage: Storage, tmp_path: Path) -> None:
    publish_live(storage, day(1), "night")
    publish(storage, day(1), "night.erased", mark="b")  # somebody's own name
    for number, user in enumerate(USERS[:3]):
        remove_old(storage, replace_runs(storage, People.of([user]), f"erased-{number:08}", NOW, tmp_path)[0])
    ids = sorted(item.key.split("/")[3] for item in storage.list("home/runs/") if item.key.endswith("manifest.json"))
    assert [len(name) for name in ids] == [
        len("night.erased-00000002-12345678"),
        len("night.erased.erased-00000002-12345678"),
    ]


# what stops an erasure


@pytest.mark.parametrize("error", [StoreError("the store does not answer"), OSError(28, "No space left on device")])
def test_what_stops_an_erasure_says_that_the_next_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def stopped(home: Path, people: People) -> None:
        raise error

    at = place(tmp_path)
    plant(at, ANNA)
    with monkeypatch.context() as patched:
        patched.setattr("nightshift.erasure.erase.erase_leftovers", stopped)
        with pytest.raises(StepError) as said:
            erased(at, ANNA)
    assert str(said.value) == f"{error}. The erasure is not done: when that is mended, run it again"
    assert erased(at, ANNA).proof.clean


# who else is at work


def test_an_erasure_says_which_step_is_at_work_and_changes_nothing(tmp_path: Path) -> None:
    at = place(tmp_path)
    plant(at, ANNA)
    with at_work(at.home, "infer of 2011-11-28"), at_work(at.home, "train of 2011-11-27"):
        with pytest.raises(StepError, match=r"train of 2011-11-27, process \d+ on .*: erase when all have ended"):
            erased(at, ANNA)
        assert not (at.home / "erasure").exists()
        assert ANNA in users(at.lake, "events")
    assert erased(at, ANNA).proof.clean
