"""Several workers on one port: all answer, their metrics are one, and one that dies is replaced. And the admin port."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from nightshift.config.settings import Guard
from nightshift.publishing.storage import Storage, open_storage
from nightshift.serving.admin import Admin
from nightshift.serving.guard.admission import guard_of
from nightshift.serving.telemetry.board import Board
from tests.publishing.planted import day, publish_live
from tests.serving.running import free_port, running, wait_until, write_config

OWN = "/v1/users/17850/recommendations"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    storage = open_storage((tmp_path_factory.mktemp("store") / "published").as_uri())
    publish_live(storage, day(28), "night", mark="a")
    return storage


@pytest.fixture(scope="module")
def service(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a service with two workers that hardly ever look by themselves, and that of its admin port."""
    folder, admin = tmp_path_factory.mktemp("service"), free_port()
    config = write_config(folder, (storage.address, None), workers=2, admin_port=admin, poll_seconds=3600)
    with running(config) as base:
        wait_until(lambda: len(workers(f"http://127.0.0.1:{admin}")) == 2)
        yield base, f"http://127.0.0.1:{admin}"


def workers(admin: str) -> dict[int, list[str]]:
    """The runs that each worker serves."""
    found: list[dict[str, Any]] = httpx.get(f"{admin}/admin/v1/workers").json()["workers"]
    return {one["worker"]: [of["live"]["run_date"] for of in one["channels"]] for one in found}


def answered(base: str) -> float:
    """How many requests for lists all workers have answered, as whichever is asked says."""
    lines = httpx.get(f"{base}/metrics").text.splitlines()
    counts = [line for line in lines if line.startswith('nightshift_lookup_requests_total{route="recommendations"')]
    return sum(float(line.split()[-1]) for line in counts)


def test_a_look_is_taken_by_all_workers_when_it_is_asked_for(service: tuple[str, str], storage: Storage) -> None:
    _, admin = service
    publish_live(storage, day(29), "night", mark="b")
    assert set(map(tuple, workers(admin).values())) == {("2011-11-28",)}
    looked = httpx.post(f"{admin}/admin/v1/look", timeout=30).json()
    assert looked["rung"] == 2
    assert {of["live"]["run_date"] for one in looked["workers"] for of in one["channels"]} == {"2011-11-29"}


def test_any_worker_gives_the_metrics_of_all_and_those_of_one_that_died_stay(service: tuple[str, str]) -> None:
    base, admin = service
    before = answered(base)
    for _ in range(40):
        assert httpx.get(f"{base}{OWN}").status_code == 200  # a connection each: the kernel chooses the worker
    assert {answered(base) for _ in range(10)} == {before + 40}
    died = next(iter(workers(admin)))
    os.kill(died, signal.SIGKILL)
    wait_until(lambda: len(workers(admin).keys() - {died}) == 2)
    assert {answered(base) for _ in range(10)} == {before + 40}
    assert all(httpx.get(f"{base}{OWN}").status_code == 200 for _ in range(10))


def test_workers_map_the_same_pages(service: tuple[str, str]) -> None:
    base, admin = service
    for _ in range(20):
        httpx.get(f"{base}{OWN}")
    mapped = [shards_of(pid) for pid in workers(admin)]
    assert mapped[0]
    assert mapped[0] == mapped[1]


def shards_of(pid: int) -> set[str]:
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split()[-1] for line in lines if line.endswith(".lmdb")}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/admin/v1/look", 405), ("POST", "/admin/v1/workers", 405), ("GET", OWN, 404)],
)
def test_what_the_admin_port_does_not_know_is_a_problem(
    service: tuple[str, str], method: str, path: str, status: int
) -> None:
    answer = httpx.request(method, f"{service[1]}{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_where_only_rates_are_limited_the_admin_port_asks_for_no_key(tmp_path: Path) -> None:
    guard = guard_of(Guard(rate=1), tmp_path)
    with Admin(0, Board(tmp_path), guard) as admin:
        threading.Thread(target=admin.serve_forever, daemon=True).start()
        answers = [httpx.get(f"http://127.0.0.1:{admin.server_port}/admin/v1/workers").status_code for _ in range(3)]
        admin.shutdown()
    assert answers == [200] * 3


def test_readers_cannot_reach_the_admin_routes(service: tuple[str, str]) -> None:
    assert httpx.post(f"{service[0]}/admin/v1/look").status_code == 404
