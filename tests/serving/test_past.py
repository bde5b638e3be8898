"""Lists of runs that are not live: to compare them, for testers, and without any mark on what is counted."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from nightshift.erasure.people import People
from nightshift.erasure.published import remove_old, replace_runs
from nightshift.publishing.pointer import make_live
from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import Storage, StoreError, open_storage
from nightshift.serving.following.channel import Follows
from nightshift.serving.routes import past as routes_past
from nightshift.serving.routes.past import MOST_ASKING, MOST_OPEN, PastRuns
from nightshift.serving.seams import Seams
from tests.publishing.planted import NOW, announce, as_an_earlier_release_left_it, day, publish_live
from tests.serving.asking import Client, Response, make_client
from tests.serving.running import wait_until
from tests.serving.test_seams import Plugged, with_key

OWN = "/v1/users/17850/recommendations"


def publish_nights(storage: Storage) -> Storage:
    """Four nights, of 27 to 30 November; each run's items say which it is."""
    for number, mark in ((27, "a"), (28, "b"), (29, "c"), (30, "d")):
        publish_live(storage, day(number), "night", mark=mark)
    return storage


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return publish_nights(open_storage(tmp_path_factory.mktemp("published").as_uri()))


@pytest.fixture
def client(nights: Storage, tmp_path: Path) -> Client:
    return make_client(nights, tmp_path, past=True)


def of_run(client: Client, number: int, address: str = OWN) -> Any:
    return client.get(f"{address}?run=2011-11-{number}/night").json()


def test_the_runs_that_there_are_the_latest_first(client: Client) -> None:
    found = client.get("/v1/runs").json()
    assert found["surface"] == "home"
    assert [(run["run_date"], run["run_id"], run["live"]) for run in found["runs"]] == [
        ("2011-11-30", "night", True),
        ("2011-11-29", "night", False),
        ("2011-11-28", "night", False),
        ("2011-11-27", "night", False),
    ]


def test_each_run_says_whose_it_is_and_what_became_of_it(storage: Storage, tmp_path: Path) -> None:
    client = make_client(publish_nights(storage), tmp_path, past=True)
    announce(storage, day(28), "beside")
    make_live(storage, "home", announce(storage, day(29), "challenger"), NOW, "challenger")
    roll_back(storage, "home", None, NOW)
    found = {f"{run['run_date']}/{run['run_id']}": run for run in client.get("/v1/runs").json()["runs"]}
    assert {name: (run["channel"], run["state"]) for name, run in found.items()} == {
        "2011-11-30/night": ("current", "rolled back"),
        "2011-11-29/night": ("current", "live"),
        "2011-11-29/challenger": ("challenger", "live"),
        "2011-11-28/night": ("current", "was live"),
        "2011-11-28/beside": (None, "published"),
        "2011-11-27/night": ("current", "was live"),
    }


def test_a_list_of_another_run_is_that_runs_own_and_says_so(client: Client) -> None:
    live = client.get(OWN).json()
    for number, mark in ((29, "c"), (27, "a"), (30, "d")):
        found = of_run(client, number)
        assert (found["run_date"], found["run_id"], found["degraded"]) == (f"2011-11-{number}", "night", None)
        assert found["items"][0]["title"].endswith(f"of {mark}")
    assert of_run(client, 30)["items"] == live["items"]
    assert of_run(client, 29, "/v1/users/nobody/recommendations")["degraded"]["level"] == "popular"


def test_it_keeps_as_long_as_the_live_runs_and_changes_with_the_release(nights: Storage, tmp_path: Path) -> None:
    answers = [
        make_client(nights, tmp_path, how=Follows(max_age=7, form=form), past=True).get(f"{OWN}?run=2011-11-30/night")
        for form in ("1.0", "1.1")
    ]
    assert [answer.headers["cache-control"] for answer in answers] == ["private, max-age=7"] * 2
    assert answers[0].headers["etag"] != answers[1].headers["etag"]


def test_it_is_counted_as_a_request_and_not_as_a_list(client: Client) -> None:
    of_run(client, 29)
    assert sum(times for _, name, times in client.service.metrics.events() if name == "own") == 0
    assert [route for route, _, _ in client.service.metrics.requests()] == ["recommendations"]


def test_few_are_open_at_a_time_and_few_lie_on_this_disk(storage: Storage, tmp_path: Path) -> None:
    client = make_client(publish_nights(storage), tmp_path / "cache", past=True)
    for number in (27, 28, 29, 30, 27):
        assert of_run(client, number)["run_date"] == f"2011-11-{number}"
    files = {path.name for path in (tmp_path / "cache/home/past").glob("*.lmdb")}
    manifest = client.service.live("home").run.manifest
    assert len(files) <= (MOST_OPEN + 1) * len(list(manifest.shards))


def test_a_run_that_went_with_somebody_who_was_erased_is_not_read_from_memory(storage: Storage, tmp_path: Path) -> None:
    client = make_client(publish_nights(storage), tmp_path / "cache", past=True)
    assert [of_run(client, number)["degraded"] for number in (28, 29)] == [None, None]
    replaced, _ = replace_runs(storage, People.of(["17850"]), "erased-1", NOW, tmp_path)
    remove_old(storage, replaced)
    for number in (28, 29):
        assert client.get(f"{OWN}?run=2011-11-{number}/night").status == 404
    assert not list((tmp_path / "cache/home/past").glob("*.lmdb")), "nor does it lie on this disk"
    (new,) = (each.new.run for each in replaced if each.old.run_date == day(29))
    assert client.get(f"{OWN}?run={new}").json()["degraded"]["level"] == "popular"


def test_tidying_keeps_nobody_waiting_and_is_done_once_the_store_is_back(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who follows the live run calls it after each look: neither a store that is down may end that, nor a slow one."""
    client = make_client(publish_nights(storage), tmp_path / "cache", past=True)
    past: PastRuns = client.app._recommend.answer._past["home"]  # type: ignore[attr-defined]
    monkeypatch.setattr(routes_past, "TIDY_SECONDS", 0.0)
    of_run(client, 28)
    (folder,) = (live.run.manifest.folder for live in past._open.values())
    asked, gives_up, exists = threading.Event(), threading.Event(), storage.exists

    def unreachable(key: str) -> bool:
        asked.set()
        gives_up.wait(5)
        raise StoreError("no route to host")

    monkeypatch.setattr(storage, "exists", unreachable)
    past.tidy()
    assert asked.wait(20)
    assert not gives_up.is_set()
    storage.delete_all(folder)
    monkeypatch.setattr(storage, "exists", exists)
    gives_up.set()
    wait_until(lambda: past.tidy() or not past._open)
    assert client.get(f"{OWN}?run=2011-11-28/night").status == 404


@pytest.mark.parametrize(
    "run", ["2011-11-29/other", "2011-11-29", "../../etc/passwd", "", "2011-11-29/night/x", "x" * 999]
)
def test_a_run_that_there_is_not_is_said(client: Client, run: str) -> None:
    answer = client.get(f"{OWN}?run={run}")
    assert answer.status == 404
    assert "GET /v1/runs lists those there are" in answer.json()["detail"]


def test_a_run_that_will_never_be_read_is_said_to_be_so_and_not_to_be_asked_for_again(
    storage: Storage, tmp_path: Path
) -> None:
    older = publish_live(storage, day(28), "night").live
    as_an_earlier_release_left_it(storage, older)
    damaged = publish_live(storage, day(29), "night", mark="b").live
    publish_live(storage, day(30), "night", mark="c")
    storage.write(damaged.manifest, b"half")
    client = make_client(storage, tmp_path / "cache", past=True)
    for run, says in ((older, "publish 2011-11-28 again."), (damaged, "is no manifest")):
        answer = client.get(f"{OWN}?run={run}")
        assert (answer.status, "retry-after" in answer.headers) == (409, False)
        assert says in answer.json()["detail"]
    described = client.get("/openapi.json").json()["paths"]["/v1/users/{user_id}/recommendations"]["get"]
    assert "409" in described["responses"]


def test_more_than_a_few_at_once_are_told_to_come_back(client: Client) -> None:
    (past,) = client.app._recommend.answer._past.values()  # type: ignore[attr-defined]
    for _ in range(MOST_ASKING):
        past._asking.acquire()
    busy = client.get(f"{OWN}?run=2011-11-29/night")
    assert (busy.status, busy.headers["retry-after"]) == (503, "5")
    past._asking.release()
    assert client.get(f"{OWN}?run=2011-11-29/night").status == 200


def test_a_store_that_hangs_holds_up_no_other_answer(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long batch is packed in a thread: that must not be one of those that wait for the store."""
    publish_live(storage, day(29), "night")
    client, store_answers = make_client(storage, tmp_path / "cache", past=True), threading.Event()
    monkeypatch.setattr(storage, "list", lambda prefix: store_answers.wait(20) and [])

    async def ask() -> list[Response]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(MOST_ASKING))
        waiting = [asyncio.ensure_future(client.ask("GET", f"{OWN}?run=x")) for _ in range(MOST_ASKING)]
        await asyncio.sleep(0.01)
        body = orjson.dumps({"user_ids": ["17850", "13047", "nobody"]})
        packed = await client.ask("POST", "/v1/recommendations:batch", body, {"accept-encoding": "gzip"})
        in_time = not any(one.done() for one in waiting)
        store_answers.set()
        return [packed, *await asyncio.gather(*waiting)] if in_time else []

    packed, *others = asyncio.run(ask())
    assert packed.headers["content-encoding"] == "gzip"
    assert {answer.status for answer in others} == {404}


def test_where_keys_are_asked_for_it_is_for_testers(nights: Storage, tmp_path: Path) -> None:
    guarded = make_client(nights, tmp_path, seams=Seams(guard=Plugged()), past=True)
    for address in ("/v1/runs", f"{OWN}?run=2011-11-29/night"):
        assert guarded.get(address).status == 401
        refused = guarded.get(address, headers=with_key("reader"))
        assert (refused.status, "the key of shop has the role reader" in refused.json()["detail"]) == (403, True)
        assert guarded.get(address, headers=with_key("tester")).status == 200


def test_it_can_be_turned_off(nights: Storage, tmp_path: Path) -> None:
    without = make_client(nights, tmp_path)
    assert without.get("/v1/runs").status == 404
    assert without.get(f"{OWN}?run=2011-11-29/night").status == 400
    assert "/v1/runs" not in without.get("/openapi.json").json()["paths"]
