"""`POST /v1/recommendations:batch`: many users' lists from one run, in the order asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter, time
from typing import Any

import orjson

from nightshift.serving.answers import JSON, Answer, accepts_gzip, packed, plain_headers
from nightshift.serving.exchange import Asked
from nightshift.serving.following.live import LiveRun
from nightshift.serving.problems import Problem
from nightshift.serving.routes.bodies import Bodies
from nightshift.serving.routes.lists import find, shown
from nightshift.serving.routes.query import MOST_VALUES, Limits, Queries, Query, Wanted, checked_id
from nightshift.serving.seams import Headers
from nightshift.serving.service import Service, must_be_for

Serving = Callable[[str], LiveRun | None]  # what a channel serves

TURN = 0.001  # seconds of work before other requests have theirs
AT_WORK = 8  # batches whose answers are being made; the others wait, since an answer may have some MB
VARY = (("vary", "accept-encoding"),)
PLAIN = plain_headers(JSON, "no-store", VARY)
PACKED = plain_headers(JSON, "no-store", (*VARY, ("content-encoding", "gzip")))
LIKE = '{"user_ids": ["17850", "13047"], "k": 20, "surface": "home", "exclude": ["22423"], "filter": {"kind": ["a"]}}'
MEMBERS = frozenset({"user_ids", "k", "surface", "exclude", "filter"})


class Batch:
    """Answers the route. Where experiments are on, users may be answered from several runs: each list names its own."""

    def __init__(self, service: Service) -> None:
        self._service, self._bodies = service, Bodies(service.limits.body)
        self._working = asyncio.Semaphore(AT_WORK)
        self._queries = Queries((), service.surfaces, service.limits.recommendations)

    async def __call__(self, asked: Asked) -> Answer:
        async with self._bodies.read(asked.exchange, asked.headers) as body:
            user_ids, query = parse(body, self._service.limits, self._queries)
            must_be_for(asked.caller, query.surface)
            async with self._working:
                return await self._answer(user_ids, query, asked)

    async def _answer(self, user_ids: list[str], query: Query, asked: Asked) -> Answer:
        live = self._service.live(query.surface)
        serving = self._service.followers[query.surface].serving()  # one run a channel, whatever is swapped meanwhile
        results, begun = list[bytes](), perf_counter()
        for user_id in user_ids:
            if self._service.seams.experiments is None:
                results.append(b"{" + self._list(live, user_id, query)[0])
            else:
                results.append(self._in_experiments(serving.get, user_id, query, asked))
            if perf_counter() - begun > TURN:
                await asyncio.sleep(0)
                begun = perf_counter()
        answer = b"".join((live.stamp.head, b',"results":[', b",".join(results), b"]}"))
        return await self._as_asked(answer, asked.headers)

    def _list(self, live: LiveRun, user_id: str, query: Query) -> tuple[bytes, int | bytes]:
        """The JSON of a user's result, but for its stamp; and what of the list is noted."""
        found = find(live, user_id, query)
        self._service.count(query.surface, live, found)
        said = (b'"user_id":', orjson.dumps(user_id), found.degraded, found.entries, b"}")
        return b"".join(said), shown(found, query)

    def _in_experiments(self, of: Serving, user_id: str, query: Query, asked: Asked) -> bytes:
        """A user's result with the stamp of the run that their variant reads."""
        assignment = self._service.assigned(user_id, query.surface, asked)
        live, stamp, channel = self._service.variant(query.surface, assignment, of)
        said, what = self._list(live, user_id, query)
        if exposures := self._service.seams.exposures:
            exposures.note(user_id, assignment, live.key, what, time(), asked.request_id, channel)
        return stamp.head + b"," + said

    async def _as_asked(self, answer: bytes, headers: Headers) -> Answer:
        """The answer, as gzip where that is asked for; made in a thread, since it takes a while."""
        accept = headers.get("accept-encoding")
        if 0 < self._service.gzip_from < len(answer) and accept is not None and accepts_gzip(accept):
            smaller = await asyncio.to_thread(packed, answer)
            if smaller is not None:
                return 200, PACKED, smaller
        return 200, PLAIN, answer


def parse(body: bytes | bytearray, limits: Limits, queries: Queries) -> tuple[list[str], Query]:
    """The users of a batch request, and what is asked for each."""
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"The body is not JSON: {error}.") from None
    if not isinstance(members, dict) or not isinstance(members.get("user_ids"), list) or members.keys() - MEMBERS:
        raise Problem(400, f"The body must be like {LIKE}; all but user_ids may be left out.")
    user_ids = members["user_ids"]
    if len(user_ids) > limits.batch:
        raise Problem(400, f"There are {len(user_ids)} user_ids; at most {limits.batch} are allowed in one request.")
    exclude = frozenset(_ids(members.get("exclude", []), "exclude"))
    wanted = _wanted(members.get("filter", {}))
    query = Query(
        k=queries.k(members.get("k", limits.recommendations)),
        surface=queries.surface(members.get("surface")),
        exclude=exclude,
        wanted=wanted,
        as_published=not exclude and not wanted,
    )
    return _ids(user_ids, "user_ids"), query


def _ids(values: Any, name: str) -> list[str]:
    if not isinstance(values, list) or (len(values) > MOST_VALUES and name != "user_ids"):
        raise Problem(400, f"{name} must be a list of at most {MOST_VALUES} ids.")
    return [checked_id(value, f"{name}[{place}]") for place, value in enumerate(values)]


def _wanted(values: Any) -> Wanted:
    """`{"kind": ["a", "b"]}`: of every attribute, the values that will do."""
    well = isinstance(values, dict) and all(isinstance(of, list) and of and name for name, of in values.items())
    if not well or sum(map(len, values.values())) > MOST_VALUES:
        message = f'filter must be like {{"kind": ["a", "b"]}}, with at most {MOST_VALUES} values.'
        raise Problem(400, message)
    return tuple((name, frozenset(_ids(of, f"filter.{name[:40]}"))) for name, of in values.items())
