"""The follower serves what the pointer names, and keeps serving it while anything is wrong with the next."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

from nightshift.erasure.people import People
from nightshift.erasure.published import replace_runs
from nightshift.publishing.manifest import Manifest, Run
from nightshift.publishing.pointer import Pointer, make_live
from nightshift.publishing.read import read_manifest
from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import Storage, StoreError
from nightshift.serving.following import channel as following
from nightshift.serving.following.follower import Follower
from nightshift.serving.following.kept import KeptRuns
from nightshift.serving.telemetry.metrics import Metrics
from tests.publishing.planted import NOW, USERS, day, publish, publish_live
from tests.serving.running import wait_until


@pytest.fixture
def follower(storage: Storage, tmp_path: Path) -> Follower:
    return Follower(storage, "home", tmp_path / "cache", Metrics(["home"]))


def served(follower: Follower) -> str | None:
    return str(follower.live.run.manifest.run) if follower.live else None


def count(follower: Follower, event: str) -> int:
    return {name: times for _, name, times in follower.metrics.events()}[event]


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
    assert count(follower, "opened") == 3


def test_the_old_run_stays_mapped_until_the_last_request_lets_go_of_it(storage: Storage, follower: Follower) -> None:
    publish_live(storage, day(29), "night", mark="a")
    follower.look()
    in_use = follower.live
    publish_live(storage, day(30), "night", mark="b")
    follower.look()
    assert in_use is not None
    assert b"item 21034 of a" in in_use.run.popular()
    assert follower.live is not None
    still_in_use = follower.live.run.shards  # a shard of the same bytes is one
    shards = [weakref.ref(shard) for shard in in_use.run.shards if shard not in still_in_use]
    assert len(shards) >= 2
    del in_use
    gc.collect()
    assert {shard() for shard in shards} == {None}


@pytest.mark.parametrize("damage", ["another file", "a missing file", "no manifest"])
def test_a_damaged_run_is_refused_counted_and_served_once_it_is_whole(
    storage: Storage, follower: Follower, monkeypatch: pytest.MonkeyPatch, damage: str, tmp_path: Path
) -> None:
    publish_live(storage, day(29), "night", mark="a")
    follower.look()
    manifest = publish(storage, day(30), "night", mark="b")
    key = manifest.run.manifest if damage == "no manifest" else manifest.folder + manifest.shards[0].path
    whole = storage.read(key).body
    storage.write(key, b"half") if damage == "another file" else storage.delete(key)
    make_live(storage, "home", manifest.run, NOW)

    follower.look()
    assert served(follower) == "2011-11-29/night"
    assert count(follower, "refused") == 1
    assert follower.refusal
    follower.look()
    assert count(follower, "refused") == 1, "it waits before it downloads the same again"
    storage.write(key, whole)
    monkeypatch.setattr(following.time, "monotonic", lambda: float("inf"))
    follower.look()
    assert (served(follower), follower.refusal) == ("2011-11-30/night", None)


def test_a_run_that_was_refused_is_served_once_it_is_published_again(
    storage: Storage, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = publish(storage, day(30), "night")
    make_live(storage, "home", manifest.run, NOW)
    storage.write(manifest.folder + manifest.shards[0].path, b"half")
    follower.look()
    assert served(follower) is None
    assert not publish_live(storage, day(30), "night").moved
    later = time.monotonic() + following.LONGEST_WAIT
    monkeypatch.setattr(following.time, "monotonic", lambda: later)
    follower.look()
    assert (served(follower), follower.refusal) == ("2011-11-30/night", None)


def test_a_pointer_that_moves_on_from_a_damaged_run_is_followed_at_once(storage: Storage, follower: Follower) -> None:
    manifest = publish(storage, day(30), "night", mark="b")
    make_live(storage, "home", manifest.run, NOW)
    storage.delete(manifest.run.manifest)
    follower.look()
    assert served(follower) is None
    publish(storage, day(29), "night", mark="a")
    roll_back(storage, "home", "2011-11-29", NOW)
    follower.look()
    assert (served(follower), follower.refusal) == ("2011-11-29/night", None)


def test_a_start_with_a_damaged_live_run_serves_the_latest_whole_one_before_and_the_live_one_once_it_can(
    storage: Storage, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = {}
    for number, mark in ((27, "a"), (28, "b"), (29, "c"), (30, "d")):
        run = publish_live(storage, day(number), "night", mark=mark).live
        manifest = read_manifest(storage, run)
        if number >= 29:
            key = manifest.folder + manifest.shards[0].path
            bodies[key] = storage.read(key).body
            storage.delete(key)
    follower.look()
    assert follower.live
    assert (served(follower), follower.live.stale) == ("2011-11-28/night", following.REFUSED)
    assert manifest.shards[0].path in (follower.refusal or "")
    assert [kept.run_date for kept in KeptRuns(follower.cache, "current")] == [day(28)]
    for key, body in bodies.items():
        storage.write(key, body)
    monkeypatch.setattr(following.time, "monotonic", lambda: float("inf"))
    follower.look()
    assert (served(follower), follower.live.stale, follower.refusal) == ("2011-11-30/night", None, None)


def test_a_store_that_goes_away_is_not_asked_for_every_run_before(
    storage: Storage, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (27, 28, 29, 30):
        publish_live(storage, day(number), "night")
    read, asked = storage.read, []

    def pointer_only(key: str) -> Any:
        asked.append(key)
        if key.endswith("manifest.json"):
            raise StoreError("no route to host")
        return read(key)

    monkeypatch.setattr(storage, "read", pointer_only)
    follower.look()
    assert served(follower) is None
    assert [key.split("/")[-3] for key in asked[1:]] == ["2011-11-30", "2011-11-29"]


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


def test_the_cache_holds_the_shards_of_the_run_that_is_served_and_the_one_before(
    storage: Storage, follower: Follower
) -> None:
    served = []
    for number, mark in ((28, "a"), (29, "b"), (30, "c")):
        publish_live(storage, day(number), "night", mark=mark)
        follower.look()
        assert follower.live is not None
        served.append(follower.live.run.manifest)
    in_cache = {path.stem for path in follower.cache.glob("*.lmdb")}
    assert in_cache in (set(), {file.sha256 for manifest in served[1:] for file in manifest.shards})


def test_a_download_damaged_on_this_machine_is_fetched_again(storage: Storage, follower: Follower) -> None:
    publish_live(storage, day(29), "night")
    follower.look()
    for path in follower.cache.glob("*.lmdb"):
        path.write_bytes(b"rubbish")
    cache = follower.cache
    del follower
    again = Follower(storage, "home", cache, Metrics(["home"]))
    again.look()
    assert served(again) == "2011-11-29/night"


def test_channels_are_followed_beside_the_live_run(storage: Storage, tmp_path: Path) -> None:
    publish_live(storage, day(29), "night", mark="a")
    other = publish(storage, day(29), "challenger", mark="b")
    point(storage, "challenger", other.run)
    follower = Follower(storage, "home", tmp_path / "cache", Metrics(["home"]), channels=("challenger", "absent"))
    follower.look()
    assert {name: live.key for name, live in follower.serving().items()} == {
        "current": "2011-11-29/night",
        "challenger": "2011-11-29/challenger",
    }
    storage.delete("home/channels/challenger.json")
    follower.look()
    assert follower.serving().keys() == {"current"}


def test_a_channel_that_is_damaged_does_not_touch_the_live_run(storage: Storage, tmp_path: Path) -> None:
    publish_live(storage, day(29), "night", mark="a")
    storage.write("home/channels/challenger.json", b"{")
    follower = Follower(storage, "home", tmp_path / "cache", Metrics(["home"]), channels=("challenger",))
    follower.look()
    assert (follower.serving().keys(), follower.refusal) == ({"current"}, None)
    assert follower.channels["challenger"].refusal


def test_a_run_that_was_rolled_back_is_not_kept_for_when_the_store_is_down(
    storage: Storage, follower: Follower
) -> None:
    publish_live(storage, day(29), "night", mark="a")
    follower.look()
    publish_live(storage, day(30), "night", mark="b")
    follower.look()
    roll_back(storage, "home", None, NOW)
    follower.look()
    assert [str(manifest.run) for manifest in KeptRuns(follower.cache, "current")] == ["2011-11-29/night"]


def test_a_run_that_somebody_was_erased_from_is_not_kept_either(
    storage: Storage, follower: Follower, tmp_path: Path
) -> None:
    """On a machine that the erasure does not reach, the next look removes it."""
    for number, mark in ((29, "a"), (30, "b")):
        publish_live(storage, day(number), "night", mark=mark)
        follower.look()
    before = {path.name for path in follower.cache.glob("*.lmdb")}
    replaced, _ = replace_runs(storage, People.of([USERS[0]]), "erased-1", NOW, tmp_path)
    follower.look()
    live = next(each.new for each in replaced if each.old.run_date == day(30))
    assert [manifest.run for manifest in KeptRuns(follower.cache, "current")] == [live.run]
    theirs = {f"{file.sha256}.lmdb" for each in replaced for file in each.old.shards}
    alike = {f"{file.sha256}.lmdb" for file in live.shards}
    assert before in (set(), theirs)
    assert {path.name for path in follower.cache.glob("*.lmdb")} in (set(), alike)


def test_it_looks_at_once_when_it_is_rung_for(storage: Storage, follower: Follower) -> None:
    looked = threading.Semaphore(0)
    follower = Follower(storage, "home", follower.cache, follower.metrics, looked=looked.release)
    follower.start(seconds=3600)
    follower.wait()
    assert looked.acquire(timeout=5)
    publish_live(storage, day(29), "night", mark="a")
    follower.ring()
    assert looked.acquire(timeout=5)
    assert served(follower) == "2011-11-29/night"
    follower.stop()


def point(storage: Storage, channel: str, run: Run) -> None:
    pointer = Pointer(**run.model_dump(), surface="home", moved_at=NOW, moved_by="publish")
    storage.write(f"home/channels/{channel}.json", pointer.to_json())


def test_a_run_that_is_rolled_back_while_it_comes_is_never_served(
    storage: Storage, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, mark in ((28, "a"), (29, "b")):
        publish_live(storage, day(number), "night", mark=mark)
        follower.look()
    opened = following.open_run

    def opened_late(*given: Any, **more: Any) -> Any:
        run = opened(*given, **more)
        roll_back(storage, "home", None, NOW)
        return run

    publish_live(storage, day(30), "night", mark="c")
    monkeypatch.setattr(following, "open_run", opened_late)
    follower.look()
    monkeypatch.undo()
    assert served(follower) == "2011-11-29/night"
    follower.look()
    assert (served(follower), count(follower, "opened")) == ("2011-11-29/night", 2)


def test_a_channel_whose_run_takes_long_holds_up_no_other(
    storage: Storage, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_live(storage, day(29), "night", mark="a")
    make_live(storage, "home", publish(storage, day(29), "slow", mark="b").run, NOW, "slow")
    goes_on, opened = threading.Event(), following.open_run

    def opened_late(storage: Storage, manifest: Manifest, *given: Any, **more: Any) -> Any:
        if manifest.run_id == "slow":
            assert goes_on.wait(30)
        return opened(storage, manifest, *given, **more)

    monkeypatch.setattr(following, "open_run", opened_late)
    follower = Follower(storage, "home", follower.cache, follower.metrics, channels=("slow",))
    follower.start(0.02)
    try:
        wait_until(lambda: served(follower) == "2011-11-29/night")
        publish_live(storage, day(30), "night", mark="c")
        wait_until(lambda: served(follower) == "2011-11-30/night")
        assert follower.of("slow") is None
        goes_on.set()
        wait_until(lambda: follower.of("slow") is not None)
    finally:
        goes_on.set()
        follower.stop()


def test_one_who_is_told_and_fails_ends_no_following_and_is_said_once(
    storage: Storage, follower: Follower, caplog: pytest.LogCaptureFixture
) -> None:
    looks = list[None]()

    def fails() -> None:
        looks.append(None)
        raise StoreError("no route to host")

    publish_live(storage, day(29), "night", mark="a")
    follower = Follower(storage, "home", follower.cache, follower.metrics, looked=fails)
    follower.start(0.02)
    try:
        wait_until(lambda: len(looks) > 2)
        publish_live(storage, day(30), "night", mark="b")
        wait_until(lambda: served(follower) == "2011-11-30/night")
    finally:
        follower.stop()
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "what follows a look at home failed; looking on"
    ]


def test_nothing_is_kept_of_a_channel_that_is_over(storage: Storage, follower: Follower) -> None:
    for run_id, mark in (("night", "a"), ("bold", "b")):
        run = publish(storage, day(29), run_id, mark=mark).run
        make_live(storage, "home", run, NOW, "current" if run_id == "night" else run_id)
    with_channel = Follower(storage, "home", follower.cache, follower.metrics, channels=("bold",))
    with_channel.look()
    files = {path.name for path in follower.cache.glob("*.lmdb")}
    assert len(list(KeptRuns(follower.cache, "bold"))) == 1
    storage.delete("home/channels/bold.json")
    with_channel.look()
    assert list(KeptRuns(follower.cache, "bold")) == []
    assert not files or {path.name for path in follower.cache.glob("*.lmdb")} < files


def test_nothing_is_kept_of_a_channel_that_is_not_followed_any_more(storage: Storage, follower: Follower) -> None:
    publish_live(storage, day(29), "night")
    follower.look()
    KeptRuns(follower.cache, "bold").keep(publish(storage, day(29), "bold", mark="b"))
    follower.start(60)
    follower.stop()
    assert list(KeptRuns(follower.cache, "bold")) == []
    assert len(list(KeptRuns(follower.cache, "current"))) == 1
