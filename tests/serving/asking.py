"""Ask the application itself, as Granian does, without a server."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from nightshift.publishing.storage import Storage
from nightshift.serving.app import Application
from nightshift.serving.following.channel import Follows
from nightshift.serving.following.follower import Follower
from nightshift.serving.routes.past import PastRuns
from nightshift.serving.routes.query import Limits
from nightshift.serving.seams import Seams
from nightshift.serving.service import Service
from nightshift.serving.telemetry.metrics import Metrics


@dataclass
class Scope:
    """A request as Granian tells of it: the path is decoded, whatever it is."""

    method: str
    path: str
    query_string: str
    headers: Mapping[str, str]
    client: str = "127.0.0.1:50000"


@dataclass
class Response:
    """An answer. `headers` are those that the application gave."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Exchange:
    """Takes the answer, gives the body in pieces of 1,000 bytes."""

    sent: bytes
    answers: list[Response] = field(default_factory=list)

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        assert len(dict(headers)) == len(headers)
        assert all(text.isascii() and text.isprintable() for pair in headers for text in pair)
        self.answers.append(Response(status, dict(headers), body))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.sent), 1000):
            yield self.sent[start : start + 1000]


class Client:
    """Asks one application, or only its general way."""

    def __init__(self, app: Application, general: bool = False) -> None:
        self.app, self.service, self.general = app, app.service, general

    def request(
        self, method: str, address: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Response:
        return asyncio.run(self.ask(method, address, body, headers))

    async def ask(
        self, method: str, address: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Response:
        """As `request`, of who asks several at once."""
        parts = urlsplit(address)
        scope = Scope(method, unquote(parts.path, errors="replace"), parts.query, headers or {})
        exchange = Exchange(body)
        if self.general:
            await self.app.answer(scope, exchange, perf_counter_ns())
        else:
            await self.app.__rsgi__(scope, exchange)
        (answer,) = exchange.answers
        return answer

    get = functools.partialmethod(request, "GET")

    def post(self, address: str, json: Any = None, **asked: Any) -> Response:
        return self.request("POST", address, **({"body": orjson.dumps(json)} if json is not None else {}), **asked)


def make_client(
    storage: Storage,
    cache: Path,
    *,
    surfaces: tuple[str, ...] = ("home",),
    seams: Seams | None = None,
    how: Follows | None = None,
    gzip_from: int = 1024,
    past: bool = False,
    histories: bool = True,
) -> Client:
    """A service that has looked at its pointers once: k up to 20, 10 similar items, 3 users a batch."""
    metrics, seams = Metrics(surfaces), seams or Seams()
    followers = {
        surface: Follower(storage, surface, cache / surface, metrics, channels=seams.channels, how=how)
        for surface in surfaces
    }
    for follower in followers.values():
        follower.look()
    service = Service(followers, metrics, Limits(20, 10, 3), seams, gzip_from, histories=histories)
    runs = {surface: PastRuns(storage, surface, cache / surface / "past", how) for surface in surfaces if past}
    return Client(Application(service, past=runs))
