"""Processes of the service that are killed: what takes their place, whatever has happened to its files meanwhile."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from nightshift.publishing.storage import open_storage
from nightshift.serving.guard.keys import hash_of, new_key
from tests.publishing.planted import day, publish_live
from tests.serving.running import free_port, running, wait_until, write_config

KEY = new_key()
ENTRY = {"name": "desk", "hash": hash_of(KEY), "role": "admin"}
BEARER = {"authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the service: its key file is in it."""
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[tuple[str, str]]:
    """The address of a service with two workers that asks for keys, and that of its admin port."""
    address, admin = ((folder / "published").as_uri(), None), free_port()
    publish_live(open_storage(*address), day(29), "night")
    (folder / "keys.yaml").write_text(yaml.safe_dump({"keys": [ENTRY]}))
    config = write_config(folder, address, workers=2, admin_port=admin, guard={"keys": "keys.yaml"})
    with running(config) as base:
        wait_until(lambda: len(workers(f"http://127.0.0.1:{admin}")) == 2)
        yield base, f"http://127.0.0.1:{admin}"


def workers(admin: str) -> set[int]:
    """The workers that have begun to serve; none while the port is closed."""
    try:
        answer = httpx.get(f"{admin}/admin/v1/workers", headers=BEARER)
    except httpx.TransportError:
        return set()
    return {one["worker"] for one in answer.raise_for_status().json()["workers"]}


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children(pid: int) -> set[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for file in found for child in file.read_text().split()}


def test_a_worker_that_dies_while_the_key_file_is_broken_comes_back_with_the_last_good_keys(
    service: tuple[str, str], folder: Path
) -> None:
    base, admin = service
    (folder / "keys.yaml").write_text("keys: [")
    died = workers(admin).pop()
    os.kill(died, signal.SIGKILL)
    wait_until(lambda: len(workers(admin) - {died}) == 2)
    for _ in range(20):  # a connection each: the kernel chooses the worker
        assert httpx.get(f"{base}/v1/users/17850/recommendations", headers=BEARER).status_code == 200
        assert httpx.get(f"{base}/v1/users/17850/recommendations").status_code == 401
    (errors,) = re.findall(r"^nightshift_lookup_key_file_errors_total (.*)$", httpx.get(f"{base}/metrics").text, re.M)
    assert float(errors) >= 1


def test_an_admin_port_whose_process_dies_is_open_again_with_the_last_good_keys(
    service: tuple[str, str], folder: Path
) -> None:
    (folder / "keys.yaml").write_text("keys: [")
    serving = workers(service[1])
    (died,) = children(parent(next(iter(serving)))) - serving
    os.kill(died, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{died}").exists())
    wait_until(lambda: workers(service[1]) == serving)
