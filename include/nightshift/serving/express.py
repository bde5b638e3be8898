"""The way of most requests: a user's own list, as it was published, of a run that is well.

One function does all of it, since a call costs as much as most of what is done here. Whatever is out of the ordinary
goes the general way (`app`), which gives the same answer to these requests too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable
from time import perf_counter_ns, time
from typing import Any

import orjson

from nightshift.serving.answers import accepts_gzip
from nightshift.serving.exchange import Exchange, Scope
from nightshift.serving.following.live import OVERRIDE, OWN, WELL, LiveRun
from nightshift.serving.routes.query import Query
from nightshift.serving.seams import Headers
from nightshift.serving.service import Service
from nightshift.serving.telemetry.metrics import BOUNDS, OF_ROUTE, OF_STATUS

USERS, RECOMMENDATIONS = "/v1/users/", "/recommendations"
USER_AT, USER_END = len(USERS), -len(RECOMMENDATIONS)
SHORTEST = USER_AT - USER_END  # of such an address: without an id
SHORT = 256  # characters: an id of ASCII needs no further look

Rsgi = Callable[[Scope, Exchange], Awaitable[None]]
Otherwise = Callable[[Scope, Exchange, int, Headers | None, Any, Any], Awaitable[None]]


def express(service: Service, parse: Callable[[str], Query], otherwise: Otherwise, done: Awaitable[None]) -> Rsgi:
    """The application, as Granian calls it.

    Args:
        parse: reads a query string; one that it has read before quickly.
        otherwise: answers a request the general way. It is told when the request came, its headers, and whom the guard
            let in, or its refusal, as far as these are known, since a guard is asked once; and its span, where it is
            traced. What is traced goes that way, too.
        done: what to return when the answer was given.
    """
    seams, gzip_from = service.seams, service.gzip_from
    guard, access, request_ids, tracer = seams.guard, seams.access, seams.request_ids, seams.tracer
    experiments, exposures = seams.experiments, seams.exposures
    by_address = guard is not None and guard.by_address
    counts, counters = service.metrics.counts, service.metrics.route("recommendations")
    answered, nanoseconds = counters + OF_STATUS[200], counters + OF_ROUTE - 1
    surfaces = {name: (follower.current, follower.of) for name, follower in service.followers.items()}
    own = {name: service.metrics.of(name) + OWN for name in service.followers}
    dumps = orjson.dumps

    def answer(scope: Scope, exchange: Exchange) -> Awaitable[None]:
        started = perf_counter_ns()
        path, span = scope.path, None
        if tracer is not None:
            span = tracer.begin(scope.headers, scope.method)
        if not (path.startswith(USERS) and path.endswith(RECOMMENDATIONS) and len(path) > SHORTEST):
            return otherwise(scope, exchange, started, None, None, span)
        headers, user_id = scope.headers, path[USER_AT:USER_END]
        caller: Any = None
        if guard is not None:  # perf_counter and monotonic are one clock
            caller = guard.admit(headers, started / 1e9, scope.client if by_address else "")
        entries: bytes | None = None
        live: LiveRun | None = None
        try:
            query = parse(scope.query_string)
            surface = query.surface
            if (
                query.as_published
                and query.run is None
                and span is None
                and scope.method == "GET"
                and headers.get("if-none-match") is None
                and user_id.isascii()
                and len(user_id) <= SHORT
                and (caller is None or caller.surfaces is None or surface in caller.surfaces)
            ):
                channel, of = surfaces[surface]
                if experiments is None:
                    live = channel.live
                elif headers.get(OVERRIDE) is None:
                    assignment = experiments.assign(user_id, surface)
                    live = of(assignment.channel)
                if live is not None and live.stale is None:
                    entries = live.first(user_id, query.k)
        except Exception:  # the general way meets it too, and says what it is
            entries = None
        if entries is None or live is None:
            return otherwise(scope, exchange, started, headers, caller, span)
        counts[own[surface]] += 1
        stamp = live.stamp if experiments is None else live.stamp_of(assignment)
        pairs, body = stamp.headers.plain, b"".join((stamp.of_user, dumps(user_id), WELL, entries, b"}"))
        if (
            0 < gzip_from < len(body)
            and (accept := headers.get("accept-encoding")) is not None
            and accepts_gzip(accept)
        ):
            _, pairs, body = stamp.headers.answer(body, headers, gzip_from)
        request_id = ""
        if request_ids is not None:
            request_id = request_ids.of(headers)
            pairs = [*pairs, ("x-request-id", request_id)]
        if experiments is not None and exposures is not None:
            exposures.note(user_id, assignment, live.key, query.k, time(), request_id, assignment.channel)
        exchange.response_bytes(200, pairs, body)
        took = perf_counter_ns() - started
        counts[answered + bisect_left(BOUNDS, took)] += 1
        counts[nanoseconds] += took
        if access is not None:
            access.note("recommendations", 200, took / 1e9, len(body), caller.name if caller else "", request_id)
        return done

    return answer
