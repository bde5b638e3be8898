"""Bodies that come slowly take only so much memory between them, whoever sends them."""

from __future__ import annotations

import asyncio
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from nightshift.publishing.storage import open_storage
from nightshift.serving.exchange import Asked
from nightshift.serving.problems import Problem
from nightshift.serving.routes.batch import AT_WORK, Batch
from nightshift.serving.routes.bodies import AT_ONCE, Bodies
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


def fill(live: httpx.Client, stack: ExitStack) -> None:
    """Have bodies on their way that leave room for 507 bytes. One is refused if another batch has these just then."""
    for pause in (0.1, 0.5, 1, 2, 3):
        with ExitStack() as some:
            for size in [LARGEST - 1] * (AT_ONCE - 1) + [LARGEST - 500]:
                some.enter_context(unfinished(live, size))
            time.sleep(pause)
            if asked(live).status_code == 503:
                stack.push(some.pop_all())
                return
    raise AssertionError("no batch was refused")


def test_beyond_a_bound_for_all_bodies_together_a_batch_is_told_to_come_again(live: httpx.Client) -> None:
    with ExitStack() as stack:
        fill(live, stack)
        answer = asked(live)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "too many bodies here now" in answer.json()["detail"]
        assert live.get("/v1/users/17850/recommendations").status_code == 200
        assert live.post(BATCH, content=b'{"user_ids": ["17850"]}').status_code == 200
    assert refused(live) >= 2
    wait_until(lambda: asked(live).status_code == 200)


def test_who_announces_much_and_sends_nothing_keeps_nobody_out(live: httpx.Client) -> None:
    with ExitStack() as stack:
        for _ in range(3 * AT_ONCE):
            stack.enter_context(unfinished(live, 1))
        assert asked(live).status_code == 200


def test_a_body_takes_its_room_once() -> None:
    size, piece = 2**23, b" " * 2**16

    async def sent() -> AsyncIterator[bytes]:
        for _ in range(size // len(piece)):
            yield piece

    async def most() -> int:
        async with Bodies(size).read(sent(), {}) as body:
            assert len(body) == size
            return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        assert asyncio.run(most()) < 1.3 * size
    finally:
        tracemalloc.stop()


def test_few_answers_are_made_at_once_and_bodies_take_their_room_until_then() -> None:
    limits = Limits(20, 10, 1)
    batch = Batch(SimpleNamespace(limits=limits, surfaces=("home",)))  # type: ignore[arg-type]
    at_work: list[int] = []
    here = 0

    async def answer(*_: Any) -> Any:
        nonlocal here
        here += 1
        at_work.append(here)
        await asyncio.sleep(0.01)
        here -= 1
        return 200, [], b""

    async def body() -> AsyncIterator[bytes]:
        yield b'{"user_ids": ["17850"]}' + b" " * (limits.body // 2)

    async def ask() -> int:
        try:
            return (await batch(Asked(body(), {}, 0)))[0]  # type: ignore[arg-type]
        except Problem as problem:
            return problem.status

    async def many() -> list[int]:
        return await asyncio.gather(*(ask() for _ in range(2 * AT_ONCE)))

    batch._answer = answer  # type: ignore[method-assign]
    answers = asyncio.run(many())
    assert max(at_work) == AT_WORK
    assert answers == [200] * (2 * AT_ONCE - 1) + [503]  # each takes a little more than half of the largest
