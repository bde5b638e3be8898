"""The follower serves what the pointer names, and keeps serving it while anything is wrong with the next."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from nightshift.publishing.pointer import make_live, read_pointer
from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import Storage, StoreError
from nightshift.serving import follower as following
from nightshift.serving.follower import Follower
from nightshift.serving.metrics import Metrics
from tests.publishing.planted import NOW, day, publish, publish_live


@pytest.fixture
def follower(storage: Storage, tmp_path: Path) -> Follower:
    return Follower(storage, "home", tmp_path / "cache", Metrics())


def served(follower: Follower) -> str | None:
    return str(follower.live.run.manifest.run) if follower.live else None


def count(follower: Follower, name: str) -> float | None:
    return follower.metrics.registry.get_sample_value(f"nightshift_lookup_{name}_total")


def test_each_publish_and_each_rollback_is_served_at_the_next_look(storage: Storage, follower: Follower) -> None:
    follower.look()
    assert served(follower) is None
    publish_live(storage, day(29), "night", mark="a")
    follower.look()
    assert served(follower) == "2011-11-29/night"
    publish_live(storage, day(30), "night", mark="b")
    follower.look()
    assert served(follower) == "2011-11-30/night"
    roll_back(storage, "home", None, NOW)
    follower.look()
    assert served(follower) == "2011-11-29/night"
    assert count(follower, "runs_opened") == 3


def test_the_old_run_stays_mapped_until_the_last_request_lets_go_of_it(storage: Storage, follower: Follower) -> None:
    publish_live(storage, day(29), "night", mark="a")
    follower.look()
    in_use = follower.live
    publish_live(storage, day(30), "night", mark="b")
    follower.look()
    assert in_use is not None
    assert b"item 21034 of a" in in_use.run.popular()
    shards = [weakref.ref(shard) for shard in in_use.run.shards]
    del in_use
    gc.collect()
    assert [shard() for shard in shards] == [None, None]


@pytest.mark.parametrize("damage", ["another file", "a missing file", "no manifest"])
def test_a_damaged_run_is_refused_counted_and_served_once_it_is_whole(
    storage: Storage, follower: Follower, monkeypatch: pytest.MonkeyPatch, damage: str, tmp_path: Path
) -> None:
    publish_live(storage, day(29), "night", mark="a")
    follower.look()
    manifest = publish(storage, day(30), "night", mark="b")
    key = manifest.run.manifest if damage == "no manifest" else manifest.folder + manifest.shards[1].path
    whole = storage.read(key).body
    storage.write(key, b"half") if damage == "another file" else storage.delete(key)
    make_live(storage, "home", manifest.run, NOW)

    follower.look()
    assert served(follower) == "2011-11-29/night"
    assert count(follower, "runs_refused") == 1
    assert follower.refusal
    follower.look()
    assert count(follower, "runs_refused") == 1, "it waits before it downloads the same again"
    storage.write(key, whole)
    monkeypatch.setattr(following.time, "monotonic", lambda: float("inf"))
    follower.look()
    assert (served(follower), follower.refusal) == ("2011-11-30/night", None)


def test_a_pointer_that_moves_on_from_a_damaged_run_is_followed_at_once(storage: Storage, follower: Follower) -> None:
    publish_live(storage, day(29), "night", mark="a")
    manifest = publish(storage, day(30), "night", mark="b")
    make_live(storage, "home", manifest.run, NOW)
    storage.delete(manifest.run.manifest)
    follower.look()
    assert served(follower) is None
    roll_back(storage, "home", None, NOW)
    follower.look()
    assert (served(follower), follower.refusal) == ("2011-11-29/night", None)


def test_a_store_that_cannot_be_reached_changes_nothing(
    storage: Storage, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_live(storage, day(29), "night")
    follower.look()

    def unreachable(key: str) -> None:
        raise StoreError("no route to host")

    monkeypatch.setattr(storage, "read", unreachable)
    follower.look()
    assert served(follower) == "2011-11-29/night"
    assert count(follower, "store_errors") == 1


def test_the_cache_holds_the_files_of_the_run_that_is_served_alone(storage: Storage, follower: Follower) -> None:
    for number, mark in ((28, "a"), (29, "b"), (30, "c")):
        publish_live(storage, day(number), "night", mark=mark)
        follower.look()
    in_cache = {path.stem for path in follower.cache.glob("*")}
    found = read_pointer(storage, "home")
    assert found is not None
    assert in_cache in (set(), {file.sha256 for file in follower.live.run.manifest.shards} if follower.live else None)


def test_a_download_damaged_on_this_machine_is_fetched_again(storage: Storage, follower: Follower) -> None:
    publish_live(storage, day(29), "night")
    follower.look()
    for path in follower.cache.glob("*.lmdb"):
        path.write_bytes(b"rubbish")
    again = Follower(storage, "home", follower.cache, Metrics())
    follower.live = None
    again.look()
    assert served(again) == "2011-11-29/night"
