"""`GET /v1/items/{item_id}/similar`: the items like an item."""

from __future__ import annotations

import orjson

from nightshift.publishing.records import NOTHING, array_of, first
from nightshift.serving.answers import Answer
from nightshift.serving.exchange import Asked
from nightshift.serving.problems import Problem
from nightshift.serving.routes.lists import must_have, selected
from nightshift.serving.routes.query import OF_ITEMS, Queries, id_in_path
from nightshift.serving.service import Service, must_be_for


class Similar:
    """Answers the route, from the live run: no experiment changes what is like an item."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._parse = Queries(OF_ITEMS, service.surfaces, service.limits.similar).parse

    def __call__(self, item_id: str, query_string: str, asked: Asked) -> Answer:
        query = self._parse(query_string)
        id_in_path(item_id, "item_id")
        must_be_for(asked.caller, query.surface)
        live = self._service.live(query.surface)
        title = live.title(item_id)
        if title is None:
            raise Problem(404, f"Item {item_id[:64]!r} is not known to the run of {live.run.manifest.run_date}.")
        found = live.similar(item_id) or NOTHING
        if query.as_published:
            entries = first(found, query.k)
        else:
            must_have(live, query)
            entries = array_of(entry for entry, _ in selected(live, query, [found]))
        wanted = asked.headers.get("if-none-match")
        if wanted is not None and (unchanged := live.stamp.headers.if_unchanged(wanted)):
            return unchanged
        said = (live.stamp.head, b',"item_id":', orjson.dumps(item_id), b',"title":', title, live.well, entries, b"}")
        return live.stamp.headers.answer(b"".join(said), asked.headers, self._service.gzip_from)
