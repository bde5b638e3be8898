"""`GET /v1/items/{item_id}/similar`: the items like an item."""

from __future__ import annotations

import orjson

from nightshift.publishing.records import NOTHING, array_of, encode, first
from nightshift.serving.answers import UNTAGGED, Answer
from nightshift.serving.exchange import Asked
from nightshift.serving.following.live import POPULAR, LiveRun
from nightshift.serving.following.shards import NotHereError
from nightshift.serving.problems import Problem
from nightshift.serving.routes.lists import must_have, selected
from nightshift.serving.routes.query import OF_ITEMS, Queries, Query, id_in_path
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
        try:
            title, found = live.title(item_id), live.similar(item_id) or NOTHING
        except NotHereError as absent:
            why = live.degraded(POPULAR, f"{absent.why} for this item; these items are popular")
            return 200, UNTAGGED, _body(live, item_id, b"null", why, _popular(live, query))
        if title is None:
            raise Problem(404, f"Item {item_id[:64]!r} is not known to the run of {live.run.manifest.run_date}.")
        if query.as_published:
            entries = first(found, query.k)
        else:
            must_have(live, query)
            entries = array_of(entry for entry, _ in selected(live, query, [found]))
        wanted = asked.headers.get("if-none-match")
        if wanted is not None and (unchanged := live.stamp.headers.if_unchanged(wanted)):
            return unchanged
        body = _body(live, item_id, title, live.well, entries)
        return live.stamp.headers.answer(body, asked.headers, self._service.gzip_from)


def _body(live: LiveRun, item_id: str, title: bytes, said: bytes, entries: bytes) -> bytes:
    return b"".join((live.stamp.head, b',"item_id":', orjson.dumps(item_id), b',"title":', title, said, entries, b"}"))


def _popular(live: LiveRun, query: Query) -> bytes:
    """The popular list, with what the lists of this route have of an item."""
    must_have(live, query)
    taken = [orjson.loads(entry) for entry, _ in selected(live, query, [live.popular])]
    return encode({name: entry[name] for name in ("item_id", "title", "score")} for entry in taken)
