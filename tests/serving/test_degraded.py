"""Whatever is wrong with the store, readers get lists, and are told how good these are."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nightshift.publishing.pointer import make_live
from nightshift.publishing.storage import Storage, Stored, StoreError, open_storage
from nightshift.serving.following import shards
from nightshift.serving.following.channel import Follows
from nightshift.serving.following.timely import Timely
from tests.publishing.planted import ITEMS, NOW, day, publish, publish_live
from tests.serving.asking import Client, make_client
from tests.serving.planted_records import publish_with, segment_pairs
from tests.serving.running import wait_until

AT_ONCE = Follows(ask_seconds=5, stale_seconds=0)
OWN = "/v1/users/17850/recommendations"


class Fault:
    """Something that is wrong with a store, while it is so."""

    def __init__(self, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on, self.hang = False, threading.Event()
        read = storage.read

        def faulty(key: str) -> Stored:
            if self.on and self.hang.is_set():
                threading.Event().wait(30)
            if self.on:
                raise StoreError("no route to host")
            return read(key)

        monkeypatch.setattr(storage, "read", faulty)


@pytest.fixture
def s3(s3_endpoint: str, tmp_path: Path) -> Storage:
    """An empty store on a real S3 server, so that what is served has been downloaded."""
    return open_storage(f"s3://published-lists/{tmp_path.name}-{id(tmp_path)}", s3_endpoint)


@pytest.fixture
def fault(s3: Storage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fault]:
    fault = Fault(s3, monkeypatch)
    yield fault
    fault.on = False


def look(client: Client) -> None:
    for follower in client.service.followers.values():
        follower.look()


def degraded(client: Client, address: str = OWN) -> Any:
    answer = client.get(address)
    assert answer.status == 200, answer.text
    return answer.json()["degraded"]


def count(client: Client, event: str) -> int:
    return {name: times for _, name, times in client.service.metrics.events()}[event]


def test_a_store_that_goes_away_changes_nothing_but_what_is_said(s3: Storage, fault: Fault, tmp_path: Path) -> None:
    publish_live(s3, day(29), "night")
    client = make_client(s3, tmp_path, how=AT_ONCE)
    assert degraded(client) is None
    before = client.get(OWN)
    fault.on = True
    look(client)
    after = client.get(OWN)
    assert after.json()["degraded"]["level"] == "stale"
    assert "the store has not been readable since" in after.json()["degraded"]["reason"]
    assert after.json()["items"] == before.json()["items"]
    assert after.headers["etag"] != before.headers["etag"]
    assert after.headers["cache-control"] == "private, no-cache"
    assert client.get("/v1/status").json()["trouble"] == "no route to host"
    fault.on = False
    look(client)
    assert client.get(OWN) == before
    assert count(client, "stale") == 1
    assert count(client, "store_errors") == 1


def test_a_short_silence_of_the_store_is_not_worth_a_word(s3: Storage, fault: Fault, tmp_path: Path) -> None:
    publish_live(s3, day(29), "night")
    client = make_client(s3, tmp_path, how=Follows(stale_seconds=60))
    fault.on = True
    look(client)
    assert degraded(client) is None


def test_a_service_that_starts_while_the_store_is_down_serves_what_it_kept(
    s3: Storage, fault: Fault, tmp_path: Path
) -> None:
    publish_live(s3, day(29), "night", mark="a")
    publish_live(s3, day(30), "night", mark="b")
    make_client(s3, tmp_path, how=AT_ONCE)
    fault.on = True
    client = make_client(s3, tmp_path, how=AT_ONCE)
    answer = client.get(OWN).json()
    assert (answer["run_date"], len(answer["items"])) == ("2011-11-30", len(ITEMS))
    assert answer["degraded"] == {"level": "stale", "reason": "there may be a newer run: the store cannot be read"}
    assert client.get("/readyz").status == 200
    fault.on = False
    look(client)
    assert degraded(client) is None


def test_a_kept_run_that_is_not_whole_is_passed_over_for_the_one_before(
    s3: Storage, fault: Fault, tmp_path: Path
) -> None:
    publish_live(s3, day(29), "night", mark="a")
    service = make_client(s3, tmp_path).service
    before = service.live("home").run.manifest
    publish_live(s3, day(30), "night", mark="b")
    service.followers["home"].look()
    newest = {file.sha256 for file in service.live("home").run.manifest.shards}
    newest -= {file.sha256 for file in before.shards}  # a shard of the same bytes is one
    (tmp_path / "home" / f"{newest.pop()}.lmdb").unlink()
    (tmp_path / "home" / f"{newest.pop()}.lmdb").write_bytes(b"cut off")
    fault.on = True
    client = make_client(s3, tmp_path)
    assert client.get(OWN).json()["run_date"] == "2011-11-29"


def test_with_nothing_kept_and_the_store_down_it_says_so_and_comes_up_with_the_store(
    s3: Storage, fault: Fault, tmp_path: Path
) -> None:
    publish_live(s3, day(29), "night")
    fault.on = True
    client = make_client(s3, tmp_path)
    answer = client.get(OWN)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert "no route to host" in answer.json()["detail"]
    fault.on = False
    look(client)
    assert degraded(client) is None


def test_a_store_that_hangs_holds_up_no_look_for_longer_than_the_deadline_and_is_asked_once(
    s3: Storage, fault: Fault, tmp_path: Path
) -> None:
    publish_live(s3, day(29), "night")
    client = make_client(s3, tmp_path, how=Follows(ask_seconds=0.05, stale_seconds=0))
    threads = threading.active_count()
    fault.hang.set()
    fault.on = True
    for expected in ("not answered within 0.05 s", "not answered what it was asked before"):
        look(client)
        assert expected in client.get("/v1/status").json()["trouble"]
    assert threading.active_count() == threads + 1
    assert client.get(OWN).json()["degraded"]["level"] == "stale"


def test_a_live_run_that_is_refused_is_said_to_readers(s3: Storage, tmp_path: Path) -> None:
    publish_live(s3, day(29), "night", mark="a")
    client = make_client(s3, tmp_path)
    damaged = publish(s3, day(30), "night", mark="b")
    s3.delete(damaged.folder + damaged.shards[0].path)
    make_live(s3, "home", damaged.run, NOW)
    look(client)
    answer = client.get(OWN).json()
    assert (answer["run_date"], answer["degraded"]["level"]) == ("2011-11-29", "stale")
    assert answer["degraded"]["reason"] == "a newer run is refused, as it cannot be read whole"
    unknown = client.get("/v1/users/nobody/recommendations").json()["degraded"]
    assert (unknown["level"], "a newer run is refused" in unknown["reason"]) == ("popular", True)
    assert count(client, "stale") == 2


def test_a_pointer_that_was_taken_away_leaves_what_it_named(s3: Storage, tmp_path: Path) -> None:
    publish_live(s3, day(29), "night")
    client = make_client(s3, tmp_path)
    pointer = s3.read("home/current.json").body
    s3.delete("home/current.json")
    look(client)
    assert degraded(client) == {"level": "stale", "reason": "the store no longer says which run is live"}
    s3.write("home/current.json", pointer)
    look(client)
    assert degraded(client) is None


@pytest.mark.parametrize("down", [True, False], ids=["and the store is down, at first", "only"])
def test_a_service_that_starts_while_the_pointer_is_gone_serves_what_it_kept(
    s3: Storage, fault: Fault, tmp_path: Path, down: bool
) -> None:
    publish_live(s3, day(29), "night")
    make_client(s3, tmp_path)
    pointer = s3.read("home/current.json").body
    s3.delete("home/current.json")
    fault.on = down
    client = make_client(s3, tmp_path)
    fault.on = False
    look(client)
    assert degraded(client) == {"level": "stale", "reason": "the store no longer says which run is live"}
    assert client.get("/readyz").status == 200
    look(client)
    s3.write("home/current.json", pointer)
    look(client)
    assert degraded(client) is None


def test_a_shard_that_is_not_here_yet_gives_the_next_level_and_is_fetched(s3: Storage, tmp_path: Path) -> None:
    pairs = segment_pairs({"country:Germany": ["de0", "de1"]})
    publish_with(s3, day(29), "night", pairs)
    client = make_client(s3, tmp_path, how=Follows(lazy=True))
    live = client.service.live("home")
    assert live.fetcher.missing == 2
    answer = client.get(f"{OWN}?segment=country:Germany")
    assert answer.json()["degraded"] == {
        "level": "segment",
        "reason": "the run of 2011-11-29 is still on its way for this user; these items are for country:Germany",
    }
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers
    live.fetcher.wait()
    assert live.fetcher.missing == 1
    assert degraded(client) is None
    assert (count(client, "awaited"), count(client, "fetched")) == (1, 1)


@pytest.mark.parametrize("down", [True, False], ids=["the store is down", "the live run is refused"])
def test_a_kept_run_gets_the_shards_that_it_lacks_once_the_store_answers(
    s3: Storage, fault: Fault, tmp_path: Path, down: bool
) -> None:
    publish_live(s3, day(29), "night")
    make_client(s3, tmp_path, how=Follows(lazy=True))
    fault.on = down
    if not down:
        s3.delete(publish_live(s3, day(30), "night", mark="b").live.manifest)
    client = make_client(s3, tmp_path, how=Follows(lazy=True, stale_seconds=0))
    live = client.service.live("home")
    assert (live.key, live.fetcher.missing, bool(live.stale)) == ("2011-11-29/night", 2, True)
    fault.on = False
    look(client)
    assert degraded(client)["level"] == "popular"
    client.service.live("home").fetcher.wait()
    assert degraded(client) == (None if down else {"level": "stale", "reason": live.stale})


def test_a_shard_that_was_asked_for_in_vain_is_fetched_once_the_store_answers_though_nobody_asks_again(
    s3: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_live(s3, day(29), "night")
    client = make_client(s3, tmp_path, how=Follows(lazy=True))
    live = client.service.live("home")
    with monkeypatch.context() as away:
        away.setattr(s3, "download", no_route)
        client.get(OWN)
        live.fetcher.wait()
    monkeypatch.setattr(shards.time, "monotonic", lambda: float("inf"))
    look(client)
    live.fetcher.wait()
    assert live.fetcher.missing == 1
    assert degraded(client) is None


def no_route(key: str, target: Path) -> None:
    raise StoreError("no route to host")


def test_the_shards_that_are_in_use_are_fetched_before_the_next_run_is_served(s3: Storage, tmp_path: Path) -> None:
    publish_live(s3, day(29), "night", mark="a")
    client = make_client(s3, tmp_path, how=Follows(lazy=True))
    client.get(OWN)
    client.service.live("home").fetcher.wait()
    publish_live(s3, day(30), "night", mark="b")
    look(client)
    live = client.service.live("home")
    assert (live.key, live.fetcher.missing) == ("2011-11-30/night", 1)
    assert degraded(client) is None


def test_a_shard_that_cannot_be_fetched_is_tried_again_later(
    s3: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_live(s3, day(29), "night")
    client = make_client(s3, tmp_path, how=Follows(lazy=True))
    live, download, tried = client.service.live("home"), s3.download, list[str]()

    def refused(key: str, target: Path) -> None:
        tried.append(key)
        raise StoreError("no route to host")

    monkeypatch.setattr(s3, "download", refused)
    for _ in range(3):
        assert degraded(client)["level"] == "popular"
        live.fetcher.wait()
    assert len(tried) == 1
    monkeypatch.setattr(s3, "download", download)
    monkeypatch.setattr(shards.time, "monotonic", lambda: float("inf"))
    assert degraded(client)["level"] == "popular"
    live.fetcher.wait()
    assert degraded(client) is None


@pytest.mark.parametrize("wrong", ["what nobody foresaw", "no thread to be had"])
def test_whatever_ends_a_fetch_the_shard_is_tried_again(
    s3: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    publish_live(s3, day(29), "night")
    client = make_client(s3, tmp_path, how=Follows(lazy=True))
    live = client.service.live("home")
    with monkeypatch.context() as broken:
        if wrong == "no thread to be had":
            broken.setattr(shards.threading.Thread, "start", no_thread)
        else:
            broken.setattr(live.run, "open_all", lambda files: 1 / 0)
        assert degraded(client)["level"] == "popular"
        live.fetcher.wait()
    monkeypatch.setattr(shards.time, "monotonic", lambda: float("inf"))
    assert degraded(client)["level"] == "popular"
    live.fetcher.wait()
    assert degraded(client) is None


def no_thread(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_two_surfaces_are_served_and_fail_apart(s3: Storage, tmp_path: Path) -> None:
    publish_live(s3, day(29), "night", mark="a", surface="home")
    client = make_client(s3, tmp_path, surfaces=("home", "mail"))
    assert client.get(f"{OWN}?surface=home").json()["surface"] == "home"
    assert client.get(f"{OWN}?surface=mail").status == 503
    publish_live(s3, day(30), "mailing", mark="b", surface="mail")
    s3.write("home/current.json", b"rubbish")
    look(client)
    assert client.get(f"{OWN}?surface=mail").json()["run_id"] == "mailing"
    assert degraded(client)["level"] == "stale"


def test_a_call_that_comes_back_in_time_is_what_it_returns_or_raises() -> None:
    timely = Timely(5)
    assert timely(lambda: 7) == 7
    with pytest.raises(KeyError):
        timely(lambda: {}["x"])
    assert timely(lambda: 8) == 8


def test_what_a_call_that_came_too_late_ended_with_is_told_by_those_after_it() -> None:
    """A store that refuses connections is tried for a minute: what is wrong with it comes after the waiting."""
    timely, go_on, again = Timely(0.05), threading.Event(), threading.Event()

    def refused() -> None:
        go_on.wait(10)
        raise StoreError("s3://store cannot be reached: connection refused")

    def hanging() -> None:
        again.wait(10)

    with pytest.raises(StoreError, match=r"^the store has not answered within 0\.05 s$"):
        timely(refused)
    with pytest.raises(StoreError, match=r"^the store has not answered what it was asked before$"):
        timely(refused)
    go_on.set()
    told = r"^the store has not answered within 0\.05 s; before that: s3://store cannot be reached: connection refused$"
    wait_until(lambda: not timely._busy.locked())
    with pytest.raises(StoreError, match=told):
        timely(hanging)
    again.set()
    wait_until(lambda: not timely._busy.locked())
    assert timely(lambda: 7) == 7
    with pytest.raises(StoreError, match=r"^the store has not answered within 0\.05 s$"):
        timely(lambda: time.sleep(0.5))


def test_a_call_for_which_there_is_no_thread_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    timely = Timely(5)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(StoreError, match="the store cannot be asked: can't start new thread"):
            timely(lambda: 7)
    with pytest.raises(RuntimeError, match="of the store's own"):
        timely(of_its_own)
    assert timely(lambda: 7) == 7


def of_its_own() -> None:
    raise RuntimeError("of the store's own")


def test_it_is_ready_once_every_surface_is(s3: Storage, fault: Fault, tmp_path: Path) -> None:
    """One where nothing was ever published keeps nobody waiting; one whose run is not here does."""
    publish_live(s3, day(29), "night")
    client = make_client(s3, tmp_path, surfaces=("home", "mail"), how=AT_ONCE)
    assert client.get("/readyz").status == 200
    publish_live(s3, day(29), "night", surface="mail")
    client = make_client(s3, tmp_path / "another", surfaces=("home", "mail"), how=AT_ONCE)
    client.service.followers["mail"].current.live = None
    refused = client.get("/readyz")
    assert (refused.status, "mail" in refused.json()["detail"]) == (503, True)
