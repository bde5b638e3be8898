"""The lookup application: which address answers what. Build it with `make_app`; everything it needs is passed in."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nightshift.publishing import records
from nightshift.serving import openapi
from nightshift.serving.follower import Follower, LiveRun
from nightshift.serving.metrics import Measured, Metrics
from nightshift.serving.problems import Problem, on_crash, on_problem

ID_BYTES = 1024


@dataclass(frozen=True)
class Limits:
    """The longest lists that can be asked for, and the most users in one batch."""

    recommendations: int
    similar: int
    batch: int

    @property
    def body(self) -> int:
        """Bytes of a batch request: every character of an id may be written as six (backslash u)."""
        return 4096 + self.batch * (6 * ID_BYTES + 8)


@dataclass(frozen=True)
class Service:
    """What the routes work with."""

    follower: Follower
    metrics: Metrics
    limits: Limits

    def live(self) -> LiveRun:
        """The run to answer from; take it once a request."""
        live = self.follower.live
        if live is None:
            why = self.follower.refusal or f"nothing is published for {self.follower.surface}"
            raise Problem(503, f"There is no run to answer from: {why}. Run a night, or see /v1/status.")
        return live

    @cached_property
    def description(self) -> dict[str, Any]:
        return openapi.describe(self.limits.recommendations, self.limits.similar, self.limits.batch, ID_BYTES)


class AnyId(Convertor[str]):
    """Any text: an id may hold slashes and line ends (percent-encoded in the address)."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("id", AnyId())


async def recommendations(request: Request) -> Response:
    service: Service = request.app.state.service
    user_id, k = _id_in_path(request, "user_id"), _k(request, service.limits.recommendations)
    live = service.live()
    return _json(b"{" + live.stamp + b"," + _list_of(service, live, user_id, k) + b"}")


async def recommendations_batch(request: Request) -> Response:
    service: Service = request.app.state.service
    user_ids, k = _asked(await _body(request, service.limits.body), service.limits)
    live = service.live()
    results = b",".join(b"{" + _list_of(service, live, user_id, k) + b"}" for user_id in user_ids)
    return _json(b"{" + live.stamp + b',"results":[' + results + b"]}")


async def similar(request: Request) -> Response:
    service: Service = request.app.state.service
    item_id, k = _id_in_path(request, "item_id"), _k(request, service.limits.similar)
    live = service.live()
    title = live.run.title(item_id)
    if title is None:
        raise Problem(404, f"Item {item_id!r} is not known to the run of {live.run.manifest.run_date}.")
    items = records.first(live.run.similar(item_id) or b"", k)
    asked = b'"item_id":' + orjson.dumps(item_id) + b',"title":' + title
    return _json(b"{" + live.stamp + b"," + asked + b',"items":' + items + b"}")


async def status(request: Request) -> Response:
    follower: Follower = request.app.state.service.follower
    live = follower.live
    found = {
        "surface": follower.surface,
        "store": follower.storage.address,
        "live": {**live.run.manifest.model_dump(exclude={"files"}), "since": live.since} if live else None,
        "refused": follower.refusal,
    }
    return _json(orjson.dumps(found))


async def healthz(request: Request) -> Response:
    return _json(b'{"status":"alive"}')


async def readyz(request: Request) -> Response:
    live = request.app.state.service.live()
    return _json(b'{"status":"ready",' + live.stamp + b"}")


async def metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def openapi_json(request: Request) -> Response:
    return _json(orjson.dumps(request.app.state.service.description))


async def docs(request: Request) -> Response:
    return Response(openapi.page(request.app.state.service.description), media_type="text/html; charset=utf-8")


Endpoint = Callable[[Request], Awaitable[Response]]
ROUTES: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", "/v1/users/{user_id:id}/recommendations", recommendations),
    ("POST", "/v1/recommendations:batch", recommendations_batch),
    ("GET", "/v1/items/{item_id:id}/similar", similar),
    ("GET", "/v1/status", status),
    ("GET", "/healthz", healthz),
    ("GET", "/readyz", readyz),
    ("GET", "/metrics", metrics),
    ("GET", "/openapi.json", openapi_json),
    ("GET", "/docs", docs),
)


def make_app(service: Service, poll_seconds: float, when_up: Callable[[], None] = lambda: None) -> Starlette:
    """The application; while it runs, it looks at the pointer every `poll_seconds`."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.follower.start(poll_seconds)
        when_up()
        yield
        service.follower.stop()

    app = Starlette(
        routes=[Route(path, endpoint, methods=[method]) for method, path, endpoint in ROUTES],
        middleware=[Middleware(Measured, metrics=service.metrics)],
        exception_handlers={HTTPException: on_problem, Exception: on_crash},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app


def _list_of(service: Service, live: LiveRun, user_id: str, k: int) -> bytes:
    """The JSON members of one user's answer."""
    own = live.run.user(user_id)
    service.metrics.lists.labels("popular" if own is None else "own").inc()
    asked = b'"user_id":' + orjson.dumps(user_id)
    if own is not None:
        return asked + b',"items":' + records.first(own, k)
    reason = f"the run of {live.run.manifest.run_date} does not know this user; these items are popular"
    fallback = b',"fallback":"popular","reason":' + orjson.dumps(reason)
    return asked + fallback + b',"items":' + records.first(live.run.popular(), k)


def _id_in_path(request: Request, name: str) -> str:
    try:
        unquote_to_bytes(request.scope.get("raw_path", b"")).decode()
    except UnicodeDecodeError:
        raise Problem(400, f"{name} is not UTF-8 text, percent-encoded.") from None
    return _checked_id(request.path_params[name], name)


def _checked_id(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise Problem(400, f"{name} must be a string of 1 to {ID_BYTES} bytes.")
    if (size := len(value.encode(errors="replace"))) > ID_BYTES:
        raise Problem(400, f"{name} has {size} bytes; at most {ID_BYTES} are allowed.")
    return value


def _k(request: Request, most: int) -> int:
    text = request.query_params.get("k", str(most))
    if not re.fullmatch("[0-9]{1,6}", text) or not 1 <= int(text) <= most:
        raise Problem(400, f"k must be a whole number from 1 to {most}, not {text[:40]!r}.")
    return int(text)


async def _body(request: Request, most: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise Problem(413, f"The body has more than {most} bytes.")
    return bytes(body)


def _asked(body: bytes, limits: Limits) -> tuple[list[str], int]:
    """The users and the k of a batch request."""
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"The body is not JSON: {error}.") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("user_ids"), list) or asked.keys() - {"user_ids", "k"}:
        raise Problem(400, 'The body must be like {"user_ids": ["17850", "13047"], "k": 20}.')
    user_ids, k = asked["user_ids"], asked.get("k", limits.recommendations)
    if len(user_ids) > limits.batch:
        raise Problem(400, f"There are {len(user_ids)} user_ids; at most {limits.batch} are allowed in one request.")
    if type(k) is not int or not 1 <= k <= limits.recommendations:
        raise Problem(400, f"k must be a whole number from 1 to {limits.recommendations}, not {str(k)[:40]!r}.")
    return [_checked_id(user_id, f"user_ids[{place}]") for place, user_id in enumerate(user_ids)], k


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
