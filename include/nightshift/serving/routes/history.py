"""`GET /v1/users/{user_id}/history`: what a user bought, the latest first, for who has to explain a list.

It is personal, so where keys are asked for it is for callers with the role tester, or admin.
"""

from __future__ import annotations

import orjson

from nightshift.serving.answers import Answer
from nightshift.serving.exchange import Asked
from nightshift.serving.following.shards import NotHereError
from nightshift.serving.problems import Problem
from nightshift.serving.routes.query import Queries, id_in_path
from nightshift.serving.service import Service, must_be_for


class History:
    """Answers the route, from the live run: no experiment changes what was bought."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._parse = Queries(("surface",), service.surfaces).parse

    def __call__(self, user_id: str, query_string: str, asked: Asked) -> Answer:
        surface = self._parse(query_string).surface
        id_in_path(user_id, "user_id")
        must_be_for(asked.caller, surface)
        self._service.must_be_tester(asked.caller, "What a user bought")
        live = self._service.live(surface)
        try:
            bought = live.history(user_id)
        except NotHereError as absent:
            what = f"The run of {live.run.manifest.run_date} {absent.why} for this user: ask again."
            raise Problem(503, what, (("retry-after", "1"),)) from None
        if not bought:
            raise Problem(404, f"The run of {live.run.manifest.run_date} has no purchases of {user_id[:64]!r}.")
        wanted = asked.headers.get("if-none-match")
        if wanted is not None and (unchanged := live.stamp.headers.if_unchanged(wanted)):
            return unchanged
        body = b"".join((live.stamp.of_user, orjson.dumps(user_id), live.well, bought, b"}"))
        return live.stamp.headers.answer(body, asked.headers, self._service.gzip_from)
