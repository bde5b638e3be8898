"""A run is published whole, once, and for ever."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path

import orjson
import pandas as pd
import pyarrow.parquet as pq
import pytest

from nightshift.config import load
from nightshift.config.settings import Banned
from nightshift.publishing import records
from nightshift.publishing.leases import Lease
from nightshift.publishing.lists import load_lists
from nightshift.publishing.manifest import config_hash
from nightshift.publishing.pointer import make_live
from nightshift.publishing.prune import prune
from nightshift.publishing.read import (
    CorruptRunError,
    list_manifests,
    live_manifest,
    open_run,
    published_before,
    read_manifest,
    read_table,
)
from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import Storage, open_storage
from nightshift.runs import StepError, open_night
from tests.publishing.planted import (
    ITEMS,
    NOW,
    USERS,
    as_an_earlier_release_left_it,
    day,
    publish,
    publish_live,
    write_lists,
)


def test_every_user_finds_their_list_and_every_item_its_like(storage: Storage, tmp_path: Path) -> None:
    run = open_run(storage, publish(storage, day(30), "first"), tmp_path / "cache")
    for user in USERS:
        entries = orjson.loads(records.first(run.user(user) or records.NOTHING, 20))
        assert [entry["item_id"] for entry in entries] == list(ITEMS)
        assert entries[0] == {
            "item_id": "21034",
            "title": "item 21034 of a",
            "score": 1.0,
            "source": "repeat",
            "reason": "You bought this",
        }
    assert orjson.loads(run.similar("22423") or b"") == [
        {"item_id": "85123A", "title": "item 85123A of a", "score": 0.5}
    ]
    assert run.similar("ü/é") is None
    assert run.title("ü/é") == '"item ü/é of a"'.encode()
    assert run.user("nobody") is None
    assert len(orjson.loads(run.popular())) == len(ITEMS)


def test_a_manifest_names_what_made_the_run_and_all_its_files(storage: Storage, tmp_path: Path) -> None:
    manifest = publish(storage, day(30), "first", shards=3)
    text = json.loads(storage.read("home/runs/2011-11-30/first/manifest.json").body)
    assert text["tables"] == {"events": 12, "user_features": 3}
    assert text["model"] == {"name": "nightshift-recommender", "version": "7", "kind": "two_stage"}
    assert text["counts"] == {"users": 4, "items": 4, "lists": 8, "entries": 16, "longest": 4}
    assert text["code"] == "0.1.0+abc"
    of_users = {name for n in range(3) for name in (f"parts/part-{n:05}.lmdb", f"lists/part-{n:05}.parquet")}
    assert set(text["files"]) == of_users | {"items/part-00000.lmdb", "similar.parquet"}
    for file in manifest.files.values():
        storage.download(manifest.folder + file.path, tmp_path / "file")
        body = (tmp_path / "file").read_bytes()
        assert (len(body), hashlib.sha256(body).hexdigest()) == (file.bytes, file.sha256)


def test_batch_readers_find_the_lists_with_titles_as_parquet(storage: Storage) -> None:
    table = read_table(storage, publish(storage, day(30), "first"), "lists.parquet")
    assert table.column_names == ["user_id", "rank", "item_id", "title", "score", "source", "reason"]
    assert table.slice(0, 1).to_pylist()[0]["title"] == "item 21034 of a"
    assert read_table(storage, publish(storage, day(30), "first"), "similar.parquet").num_rows == len(ITEMS) - 1


def test_publishing_again_changes_nothing(storage: Storage) -> None:
    manifest = publish(storage, day(30), "first")
    before = storage.list("home/")
    assert publish(storage, day(30), "first") == manifest
    assert storage.list("home/") == before


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda _: None,
    "truncated": lambda body: body[:-100],
    "flipped": lambda body: body[:-1] + bytes([body[-1] ^ 1]),
}


def damage(storage: Storage, key: str, how: str) -> None:
    body = DAMAGE[how](storage.read(key).body)
    storage.delete(key) if body is None else storage.write(key, body)


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["parts/part-00001.lmdb", "items/part-00000.lmdb", "lists/part-00000.parquet"])
def test_publishing_again_sends_what_is_missing_or_damaged(
    storage: Storage, tmp_path: Path, name: str, how: str
) -> None:
    manifest = publish(storage, day(30), "first")
    damaged = manifest.folder + manifest.files[name].path
    others = [item for item in storage.list(manifest.folder) if item.key != damaged]
    damage(storage, damaged, how)
    assert publish(storage, day(30), "first") == manifest
    assert [item for item in storage.list(manifest.folder) if item.key != damaged] == others
    storage.download(damaged, tmp_path / "file")
    assert hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest() == manifest.files[name].sha256


def test_lists_in_other_shards_are_published_beside_a_run_that_is_damaged_and_only_then(storage: Storage) -> None:
    manifest = publish(storage, day(30), "first", shards=2)
    make_live(storage, "home", manifest.run, NOW)
    assert publish(storage, day(30), "first", shards=3) == manifest
    damage(storage, manifest.folder + manifest.files["parts/part-00001.lmdb"].path, "flipped")
    beside = publish(storage, day(30), "first", shards=3)
    assert (beside.run_id, len(beside.user_shards)) == (f"first.{manifest.content_hash[:8]}", 3)
    assert make_live(storage, "home", beside.run, NOW).moved


def test_the_same_lists_of_an_earlier_release_are_published_beside_and_go_live(
    storage: Storage, tmp_path: Path
) -> None:
    first = publish_live(storage, day(30), "first").live
    as_an_earlier_release_left_it(storage, first)
    move = publish_live(storage, day(30), "first")
    assert (move.moved, move.live.run_id) == (True, f"first.{first.content_hash[:8]}")
    run = open_run(storage, read_manifest(storage, move.live), tmp_path / "cache")
    assert all(run.user(user) for user in USERS)


def test_other_lists_under_the_same_id_are_published_beside_and_go_live_once(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish_live(storage, day(30), "first", mark="a")
    first = storage.list("home/runs/2011-11-30/first/")
    move = publish_live(storage, day(30), "first", mark="b")
    assert (move.moved, move.live.run_id) == (True, f"first.{move.live.content_hash[:8]}")
    assert "2011-11-30/first is published with other lists, and stays" in caplog.text
    run = open_run(storage, read_manifest(storage, move.live), tmp_path / "cache")
    assert run.title("21034") == b'"item 21034 of b"'
    assert storage.list("home/runs/2011-11-30/first/") == first

    after = storage.list("home/")
    assert not publish_live(storage, day(30), "first", mark="b").moved
    assert not publish_live(storage, day(30), "first", mark="a").moved, "what was live does not come back by itself"
    assert storage.list("home/") == after


def test_the_content_hash_is_of_the_lists_alone(storage: Storage) -> None:
    hashes = {
        publish(storage, day(29), "first").content_hash,
        publish(storage, day(30), "second").content_hash,
        publish(storage, day(30), "third", shards=5).content_hash,
    }
    assert len(hashes) == 1
    assert publish(storage, day(30), "fourth", mark="b").content_hash not in hashes


@pytest.mark.parametrize("marks", ["aa", "ab"])
def test_two_publishers_of_one_run_leave_one_whole_run(
    address: tuple[str, str | None], tmp_path: Path, marks: str
) -> None:
    start = threading.Barrier(2)

    def work(mark: str) -> None:
        storage = open_storage(*address)
        start.wait()
        publish_live(storage, day(30), "first", mark)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in marks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    storage = open_storage(*address)
    assert len(list_manifests(storage, "home")) == len(set(marks)), "other lists have a run of their own"
    manifest = live_manifest(storage, "home")
    assert manifest is not None
    assert read_table(storage, manifest).num_rows == 16
    open_run(storage, manifest, tmp_path / "cache")


@pytest.mark.parametrize("name", ["parts/part-00001.lmdb", "parts/part-00000.lmdb"])
def test_a_run_that_lacks_a_file_or_has_another_is_refused(storage: Storage, tmp_path: Path, name: str) -> None:
    manifest = publish(storage, day(30), "first")
    key = manifest.folder + manifest.files[name].path
    storage.write(key, b"rubbish")
    with pytest.raises(CorruptRunError, match=manifest.files[name].path):
        open_run(storage, manifest, tmp_path / "cache")
    storage.delete(key)
    with pytest.raises(CorruptRunError, match=manifest.files[name].path):
        open_run(storage, manifest, tmp_path / "cache")


def test_a_manifest_that_is_another_runs_is_refused(storage: Storage) -> None:
    run = publish(storage, day(30), "first").run
    with pytest.raises(CorruptRunError, match="with other lists"):
        read_manifest(storage, run.model_copy(update={"content_hash": "0" * 64}))


def test_lists_that_cannot_be_published_are_refused_with_the_file_and_the_reason(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"items.parquet is not there: run `python -m jobs.infer`"):
        load_lists(tmp_path)
    folder = write_lists(tmp_path)
    table = pq.read_table(folder / "lists.parquet")
    pq.write_table(table.drop_columns("reason"), folder / "lists.parquet")
    with pytest.raises(StepError, match=r"lists.parquet lacks reason; it has user_id, rank, item_id, score, source"):
        load_lists(folder)
    column = [float("nan"), *table["score"].to_pylist()[1:]]
    pq.write_table(table.set_column(table.column_names.index("score"), "score", [column]), folder / "lists.parquet")
    with pytest.raises(StepError, match="a score is nan"):
        list(load_lists(folder).users())
    pq.write_table(table, folder / "lists.parquet")
    popular = pq.read_table(folder / "popular.parquet")
    pq.write_table(popular.slice(0, 0), folder / "popular.parquet")
    with pytest.raises(StepError, match="an unknown user would get nothing"):
        load_lists(folder)


def test_the_configurations_hash_changes_with_a_setting_and_with_nothing_else() -> None:
    settings = load("nightshift.yaml")
    items = ("21034", "22423", "85123A")
    banned, again = (
        settings.lists.model_copy(update={"rules": [Banned(rule="banned", items=frozenset(order))]})
        for order in (items, items[::-1])
    )
    changed = config_hash(settings.model_copy(update={"lists": banned}))
    assert changed == config_hash(settings.model_copy(update={"lists": again}))
    assert changed != config_hash(settings) == config_hash(load("nightshift.yaml"))


def test_the_lists_before_a_night_are_those_of_the_date_before_that_were_not_rolled_back(
    address: tuple[str, str | None], tmp_path: Path
) -> None:
    settings = load("nightshift.yaml")
    store = settings.store.model_copy(update={"address": address[0], "endpoint": address[1]})
    night = open_night(settings.model_copy(update={"store": store}), day(30), home=tmp_path)
    storage = open_storage(*address)
    assert published_before(night, tmp_path / "cache") is None
    publish_live(storage, day(27), "night", mark="a")
    publish_live(storage, day(28), "night", mark="b")
    publish_live(storage, day(29), "bad", mark="c")
    publish_live(storage, day(30), "night", mark="d")
    roll_back(storage, "home", "2011-11-28", NOW)
    files = published_before(night, tmp_path / "cache")
    assert files
    before = pd.concat(map(pd.read_parquet, files))
    assert set(before.columns) >= {"user_id", "rank", "item_id"}
    assert set(before["title"].str[-1]) == {"b"}


def test_the_page_names_every_kind_of_key_and_no_other(storage: Storage) -> None:
    for number in (26, 27, 28, 29, 30):
        publish_live(storage, day(number), "night")
    make_live(storage, "home", publish(storage, day(30), "other", "b").run, NOW, "challenger")
    assert prune(storage, "home", 1, dt.datetime.now(dt.UTC)).put_away
    Lease(storage, "home", "newsletter").hold(live_manifest(storage, "home").run)
    page = (Path(__file__).parents[2] / "docs/store.md").read_text(encoding="utf-8")
    lines = page.split("```\n")[1].splitlines()
    kinds = [re.split(r"  +", line)[0] for line in lines]
    patterns = [re.sub(r"<[^>]+>|\\\*", "[^/]+", re.escape(kind).replace("\\ ", " ")) for kind in kinds]
    hashed = [re.sub(r"\\\.(lmdb|parquet)$", r"(-[0-9a-f]{12})\\.\1", pattern) for pattern in patterns]
    found = {listed.key: [kind for kind in hashed if re.fullmatch(kind, listed.key)] for listed in storage.list("")}
    assert [key for key, fits in found.items() if len(fits) != 1] == []
    assert {kind for fits in found.values() for kind in fits} == set(hashed)
