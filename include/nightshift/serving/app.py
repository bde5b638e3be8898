"""The lookup application: which address answers what. It speaks RSGI, Granian's own interface, with no framework.

Build it with `Application(service)`; everything it needs is passed in. Most requests take the short way of `express`.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter_ns
from types import MappingProxyType
from typing import Any

from nightshift.serving.answers import Answer, run_of
from nightshift.serving.exchange import Asked, Exchange, Scope
from nightshift.serving.express import RECOMMENDATIONS, SHORTEST, USER_AT, USER_END, USERS, express
from nightshift.serving.problems import CRASHED, Problem, not_allowed, not_there
from nightshift.serving.routes import openapi
from nightshift.serving.routes.batch import Batch
from nightshift.serving.routes.history import History
from nightshift.serving.routes.pages import Page, Pages, page_files
from nightshift.serving.routes.past import PastRuns, Runs
from nightshift.serving.routes.recommend import Recommend
from nightshift.serving.routes.similar import Similar
from nightshift.serving.seams import Caller, Headers, Span
from nightshift.serving.service import Service
from nightshift.serving.telemetry.metrics import BOUNDS, OF_ROUTE, OF_STATUS, OTHER

log = logging.getLogger("nightshift.serving")

HISTORY = "/history"
ITEMS, SIMILAR = "/v1/items/", "/similar"
BATCH = "/v1/recommendations:batch"
HISTORY_END = -len(HISTORY)
ITEM_AT, ITEM_END = len(ITEMS), -len(SIMILAR)
READ, SENT = ("GET", "HEAD"), ("POST",)


OfBody = Callable[[Asked], Awaitable[Answer]]
OfAddress = Callable[[str, str, Asked], "Answer | Awaitable[Answer]"]


@dataclass(frozen=True, slots=True)
class Route:
    """An address, by its name in metrics and logs.

    Attributes:
        address: with the name of the id in it.
        counters, nanoseconds: where its metrics begin, and where the time in all is.
        guarded: whether a key is asked for, where keys are.
        answer: of the id in the path, the query string, and what else was asked; now, or in a while.
        answer_body: of what was asked, where it takes a body.
    """

    name: str
    address: str
    methods: tuple[str, ...]
    counters: int
    nanoseconds: int
    guarded: bool
    answer: OfAddress
    answer_body: OfBody | None = None


class Application:
    """What Granian calls: `__rsgi_init__` at the start, `__rsgi__` for every request, `__rsgi_del__` at the end.

    Args:
        poll_seconds: how often the pointers are looked at.
        when_up: called once the first look is over, and the server is about to listen.
        past: by surface, the runs that can be asked for beside the live one; empty: none.
    """

    def __init__(
        self,
        service: Service,
        poll_seconds: float = 1.0,
        when_up: Callable[[], None] = lambda: None,
        past: Mapping[str, PastRuns] = MappingProxyType({}),
    ) -> None:
        self.service, self._poll_seconds, self._when_up = service, poll_seconds, when_up
        seams = service.seams
        self._guard, self._access, self._request_ids = seams.guard, seams.access, seams.request_ids
        self._counts = service.metrics.counts
        self._done = _done()
        recommend = Recommend(service, past)
        self._unknown = self._route("unknown", "", (), _nothing, guarded=False)
        self._recommend = self._route("recommendations", f"{USERS}{{user_id}}{RECOMMENDATIONS}", READ, recommend)
        self._history = self._route("history", f"{USERS}{{user_id}}{HISTORY}", READ, History(service))
        self._similar = self._route("similar", f"{ITEMS}{{item_id}}{SIMILAR}", READ, Similar(service))
        description = openapi.describe(service.limits, service.surfaces, bool(past), service.histories)
        self._exact = self._by_path(Pages(service, description), past)
        self.__rsgi__ = express(service, recommend.parse, self.answer, self._done)

    @property
    def routes(self) -> dict[str, Route]:
        """What there is, by its address; the files of the page aside."""
        histories = (self._history,) if self.service.histories else ()
        found = (self._recommend, *histories, self._similar, *self._exact.values())
        return {route.address: route for route in found if route.name != "page"}

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        for part in self.service.seams.threads:
            part.start()
        for follower in self.service.followers.values():
            follower.start(self._poll_seconds)
        for follower in self.service.followers.values():
            follower.wait()
        self._when_up()

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        for follower in self.service.followers.values():
            follower.stop()
        for part in self.service.seams.threads:
            part.stop()

    def answer(
        self,
        scope: Scope,
        exchange: Exchange,
        started: int,
        headers: Headers | None = None,
        admitted: Any = None,
        span: Span | None = None,
    ) -> Awaitable[None]:
        """Answer any request. Most answers are at hand, so they are given by now, and what is awaited is done.

        Args:
            started: nanoseconds of perf_counter when the request came.
            headers, admitted: the request's, and whom the guard let in, or its refusal, where it was asked already.
            span: of a request that is traced.
        """
        asked, route = Asked(exchange, headers or scope.headers, started, span), self._unknown
        asked.shows = scope.method != "HEAD"
        if self._request_ids is not None:
            asked.request_id = self._request_ids.of(asked.headers)
        found: Answer | Awaitable[Answer]
        try:
            route, name = self._find(scope.path)
            if scope.method not in route.methods:
                raise not_allowed(scope.method, ", ".join(route.methods))
            if self._guard is not None and route.guarded:
                asked.caller = self._let_in(admitted or self._guard.admit(asked.headers, started / 1e9, scope.client))
            if route.answer_body is not None:
                found = route.answer_body(asked)
            else:
                found = route.answer(name, scope.query_string, asked)
        except Exception as error:
            found = _failed(route, error)
        if not isinstance(found, tuple):
            return self._later(route, asked, found)
        self._send(route, asked, found)
        return self._done

    async def _later(self, route: Route, asked: Asked, coming: Awaitable[Answer]) -> None:
        try:
            found = await coming
        except Exception as error:
            found = _failed(route, error)
        self._send(route, asked, found)

    def _send(self, route: Route, asked: Asked, answer: Answer) -> None:
        """Give the answer to the server, and count and note it."""
        (status, pairs, body), span = answer, asked.span
        if asked.request_id:
            pairs = [*pairs, ("x-request-id", asked.request_id)]
        if span is not None:
            pairs = [*pairs, ("traceparent", span.traceparent)]
        asked.exchange.response_bytes(status, pairs, body)
        took, counts = perf_counter_ns() - asked.started, self._counts
        counts[route.counters + OF_STATUS.get(status, OTHER) + bisect_left(BOUNDS, took)] += 1
        counts[route.nanoseconds] += took
        who = asked.caller.name if asked.caller else ""
        if self._access is not None:
            self._access.note(route.name, status, took / 1e9, len(body), who, asked.request_id)
        if span is not None:
            about = {"caller": who or None, "request_id": asked.request_id or None, **run_of(pairs, body)}
            span.end(route.address, status, len(body), **about)

    def _find(self, path: str) -> tuple[Route, str]:
        """The route of an address, and the id in it. Raises a `Problem` where there is none."""
        if path.startswith(USERS) and path.endswith(RECOMMENDATIONS) and len(path) >= SHORTEST:
            return self._recommend, path[USER_AT:USER_END]
        if (route := self._exact.get(path)) is not None:
            return route, ""
        if path.startswith(ITEMS) and path.endswith(SIMILAR) and len(path) >= ITEM_AT - ITEM_END:
            return self._similar, path[ITEM_AT:ITEM_END]
        of_history = path.startswith(USERS) and path.endswith(HISTORY) and len(path) >= USER_AT - HISTORY_END
        if of_history and self.service.histories:
            return self._history, path[USER_AT:HISTORY_END]
        raise not_there(path)

    @staticmethod
    def _let_in(admitted: Any) -> Caller:
        if getattr(admitted, "role", None) is None:
            raise Problem(admitted.status, admitted.detail, admitted.headers)
        return admitted

    def _route(
        self,
        name: str,
        address: str,
        methods: tuple[str, ...],
        answer: OfAddress,
        guarded: bool = True,
        body: OfBody | None = None,
    ) -> Route:
        counters = self.service.metrics.route(name)
        return Route(name, address, methods, counters, counters + OF_ROUTE - 1, guarded, answer, body)

    def _by_path(self, pages: Pages, past: Mapping[str, PastRuns]) -> dict[str, Route]:
        """The routes whose address holds no id."""

        def of_page(name: str, address: str, page: Page) -> Route:
            return self._route(
                name, address, READ, lambda _, query_string, asked: page(query_string, asked.headers), False
            )

        routes = [
            *(of_page("page", address, page) for address, page in page_files(self.service.gzip_from).items()),
            self._route("recommendations_batch", BATCH, SENT, _nothing, body=Batch(self.service)),
            *([self._route("runs", "/v1/runs", READ, Runs(self.service, past))] if past else []),
            self._route("status", "/v1/status", READ, pages.status),
            of_page("healthz", "/healthz", pages.healthz),
            of_page("readyz", "/readyz", pages.readyz),
            of_page("metrics", "/metrics", pages.metrics),
            of_page("openapi", "/openapi.json", pages.openapi),
            of_page("docs", "/docs", pages.docs),
        ]
        return {route.address: route for route in routes}


def _done() -> asyncio.Future[None]:
    """What is there already for who awaits it, as often as it is awaited."""
    loop = asyncio.new_event_loop()
    done = loop.create_future()
    done.set_result(None)
    loop.close()
    return done


def _failed(route: Route, error: Exception) -> Answer:
    """What is answered where this was raised: the problem that it is, or 500."""
    if isinstance(error, Problem):
        return error.answer()
    log.error("a request to %s failed", route.name, exc_info=error)
    return CRASHED.answer()


def _nothing(name: str, query_string: str, asked: Asked) -> Answer:
    raise AssertionError("this route answers otherwise")
