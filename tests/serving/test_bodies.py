"""Bodies that come slowly take only so much memory between them, whoever sends them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from nightshift.publishing.storage import open_storage
from nightshift.serving.routes.bodies import AT_ONCE
from nightshift.serving.routes.query import Limits
from tests.publishing.planted import day, publish_live
from tests.serving.running import running, wait_until, write_config

BATCH = "/v1/recommendations:batch"
LARGEST = Limits(20, 10, 1).body


@pytest.fixture
def live(tmp_path: Path) -> Iterator[httpx.Client]:
    """A service that takes batches of one user."""
    address = ((tmp_path / "published").as_uri(), None)
    publish_live(open_storage(*address), day(30), "night")
    with running(write_config(tmp_path, address, max_batch=1)) as base, httpx.Client(base_url=base) as client:
        yield client


def unfinished(to: httpx.Client, size: int) -> socket.socket:
    """A connection that has announced the largest body, and sent so much of it."""
    connection = socket.create_connection((to.base_url.host, to.base_url.port or 80), timeout=5)
    head = f"POST {BATCH} HTTP/1.1\r\nHost: lookup\r\nContent-Length: {LARGEST}\r\n\r\n"
    connection.sendall(head.encode() + b" " * size)
    return connection


def asked(live: httpx.Client) -> httpx.Response:
    return live.post(BATCH, content=b'{"user_ids": ["17850"]}' + b" " * 1000)


def refused(live: httpx.Client) -> float:
    """Batches that were refused, as the metrics have it."""
    labels = 'route="recommendations_batch",status="503"'
    lines = live.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if f"requests_total{{{labels}}}" in line)


def test_beyond_a_bound_for_all_bodies_together_a_batch_is_told_to_come_again(live: httpx.Client) -> None:
    sizes = [LARGEST - 1] * (AT_ONCE - 1) + [LARGEST - 500]
    with ExitStack() as stack:
        for size in sizes:
            stack.enter_context(unfinished(live, size))
        wait_until(lambda: asked(live).status_code == 503, 9)
        answer = asked(live)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "Too many bodies are on their way" in answer.json()["detail"]
        assert live.get("/v1/users/17850/recommendations").status_code == 200
        assert live.post(BATCH, content=b'{"user_ids": ["17850"]}').status_code == 200
    assert refused(live) >= 2
    wait_until(lambda: asked(live).status_code == 200)


def test_who_announces_much_and_sends_nothing_keeps_nobody_out(live: httpx.Client) -> None:
    with ExitStack() as stack:
        for _ in range(3 * AT_ONCE):
            stack.enter_context(unfinished(live, 1))
        assert asked(live).status_code == 200
