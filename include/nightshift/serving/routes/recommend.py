"""`GET /v1/users/{user_id}/recommendations`, the general way. `express` has the shorter one."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from time import time

import orjson

from nightshift.serving.answers import UNTAGGED, Answer
from nightshift.serving.exchange import Asked
from nightshift.serving.following.live import Stamp
from nightshift.serving.routes.lists import Found, find, shown
from nightshift.serving.routes.past import PastRuns
from nightshift.serving.routes.query import OF_RUNS, OF_USERS, Queries, Query, id_in_path
from nightshift.serving.seams import Headers
from nightshift.serving.service import Service, must_be_for


class Recommend:
    """Answers the route, whatever is asked.

    Args:
        past: by surface, the runs that can be asked for beside the live one; empty: none.
    """

    def __init__(self, service: Service, past: Mapping[str, PastRuns]) -> None:
        self._service, self._past = service, past
        self.parse = Queries(OF_RUNS if past else OF_USERS, service.surfaces, service.limits.recommendations).parse

    def __call__(self, user_id: str, query_string: str, asked: Asked) -> Answer | Awaitable[Answer]:
        query = self.parse(query_string)
        surface, seams = query.surface, self._service.seams
        id_in_path(user_id, "user_id")
        must_be_for(asked.caller, surface)
        if query.run is not None:
            self._service.must_be_tester(asked.caller, "Another run than the live one")
            return self._of_past(query.run, user_id, query, asked)
        if seams.experiments is None:
            live = self._service.live(surface)
            found = find(live, user_id, query)
            stamp = live.stamp
        else:
            assignment = self._service.assigned(user_id, surface, asked)
            live, stamp, channel = self._service.variant(surface, assignment, self._service.followers[surface].of)
            found = find(live, user_id, query)
            if seams.exposures is not None and asked.shows:
                what = shown(found, query)
                seams.exposures.note(user_id, assignment, live.key, what, time(), asked.request_id, channel)
        if asked.shows:
            self._service.count(surface, live, found)
        return self._answer(user_id, stamp, found, asked.headers)

    async def _of_past(self, run: str, user_id: str, query: Query, asked: Asked) -> Answer:
        """From a run that is not live. Nobody was shown it, so it is noted nowhere."""
        past = self._past[query.surface]
        live, found = await past.ask(lambda: past.find(run, user_id, query))
        return self._answer(user_id, live.stamp, found, asked.headers)

    def _answer(self, user_id: str, stamp: Stamp, found: Found, headers: Headers) -> Answer:
        body = b"".join((stamp.of_user, orjson.dumps(user_id), found.degraded, found.entries, b"}"))
        if found.awaited:
            return 200, UNTAGGED, body
        wanted = headers.get("if-none-match")
        if wanted is not None and (unchanged := stamp.headers.if_unchanged(wanted)):
            return unchanged
        return stamp.headers.answer(body, headers, self._service.gzip_from)
