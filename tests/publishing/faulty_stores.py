"""A store that is seen through a faulty server, and what publishers and readers do to it."""

from __future__ import annotations

import copy
import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from nightshift.publishing.manifest import Manifest
from nightshift.publishing.patience import Patience
from nightshift.publishing.pointer import Move, make_live, parse_pointer
from nightshift.publishing.prune import prune_if_possible
from nightshift.publishing.read import read_run
from nightshift.publishing.storage import Storage
from nightshift.publishing.storage_s3 import S3Storage
from tests.publishing import faults
from tests.publishing.faults import FaultyServer
from tests.publishing.planted import NOW, USERS, day, publish, publish_live
from tests.publishing.stores import BUCKET, inside, put_inside

PART_BYTES = 8_000  # the shards are in parts, the rest is not


@pytest.fixture(scope="module")
def server(s3_endpoint: str) -> Iterator[FaultyServer]:
    yield from faults.serve(s3_endpoint)


@pytest.fixture(scope="module")
def yesterday(s3_endpoint: str) -> dict[str, bytes]:
    """What lies in a store with a run that is live."""
    publish_live(S3Storage(BUCKET, "yesterday", s3_endpoint), day(29), "yesterday", mark="a")
    return inside("yesterday/")


@pytest.fixture(scope="module")
def client(server: FaultyServer) -> S3Storage:
    return S3Storage(BUCKET, "", server.endpoint, deadline=hurried(server), part_bytes=PART_BYTES)


@pytest.fixture
def storage(
    server: FaultyServer, yesterday: dict[str, bytes], client: S3Storage, tmp_path: Path
) -> Iterator[S3Storage]:
    """A store where yesterday is live, seen through the faulty server."""
    put_inside(f"{tmp_path.name}/", yesterday)
    found = copy.copy(client)
    found.prefix, found.address = f"{tmp_path.name}/", f"s3://{BUCKET}/{tmp_path.name}"
    found.client = copy.copy(client.client)
    server.arm("", None)
    yield found
    server.arm("", None)


def hurried(server: FaultyServer) -> Patience:
    """Patience whose waits take no time; and whose time is up as soon as an answer trickles."""
    time = [0.0]

    def until_it_trickles(_: float, what: Callable[[], Any]) -> Any:
        before, outcome = server.trickled, Future[Any]()

        def work() -> None:
            try:
                outcome.set_result(what())
            except BaseException as error:
                outcome.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        while server.trickled == before:
            try:
                return outcome.result(0.01)
            except TimeoutError:
                continue
        raise TimeoutError

    def sleep(seconds: float) -> None:
        time[0] += seconds

    return Patience(3, lambda: time[0], sleep, within=until_it_trickles)


def publish_today(storage: Storage) -> Move:
    """All that `jobs.publish` does to the store."""
    move = make_live(storage, "home", publish(storage, day(30), "today", "b", shards=1).run, NOW)
    prune_if_possible(storage, "home", 30, NOW)
    return move


def read_all(storage: S3Storage, cache: Path) -> int:
    """All that a batch reader does: it holds a lease, reads every row, and looks a user up."""
    with read_run(storage, "home", reader="newsletter", cache=cache) as run:
        assert run.user(USERS[0])
        return sum(batch.num_rows for batch in run.batches())


def live(storage: S3Storage) -> str:
    """The run that readers see, once each of its files has been held against its manifest."""
    objects = inside(storage.prefix)
    pointer = parse_pointer(objects["home/current.json"], "the pointer")
    manifest = Manifest.model_validate_json(objects[pointer.manifest])
    for file in manifest.files.values():
        assert hashlib.sha256(objects[manifest.folder + file.path]).hexdigest() == file.sha256
    assert manifest.run == pointer.run
    return manifest.run_id
