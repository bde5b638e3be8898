"""The addresses that answer about the service itself, and the pages for people."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from nightshift.serving.answers import JSON, Answer, Tagged, plain_headers, tag_of
from nightshift.serving.exchange import Asked
from nightshift.serving.routes.docs_page import STYLE, page
from nightshift.serving.routes.query import Queries
from nightshift.serving.seams import Headers
from nightshift.serving.service import Service, must_be_for
from nightshift.serving.telemetry.exposition import Exposition

NOW = plain_headers(JSON, "no-store")
METRICS = plain_headers(CONTENT_TYPE_LATEST, "no-store")
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FRAMES = "; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
OWN_FILES = (("content-security-policy", f"default-src 'self'{FRAMES}"),)
HOUR = "public, max-age=3600"

Page = Callable[[str, Headers], Answer]


class Pages:
    """Each answers a query string and headers."""

    def __init__(self, service: Service, description: Mapping[str, Any]) -> None:
        self._service = service
        self._exposition = Exposition(service.metrics, service.states)
        self._parse = Queries(("surface",), service.surfaces).parse
        digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
        policy = (("content-security-policy", f"default-src 'none'; style-src 'sha256-{digest}'{FRAMES}"),)
        self.openapi = _fixed(JSON, orjson.dumps(description), (), service.gzip_from)
        self.docs = _fixed(KINDS[".html"], page(description).encode(), policy, service.gzip_from)

    def status(self, _: str, query_string: str, asked: Asked) -> Answer:
        """What a surface serves: the manifest of its live run; and why not a newer one."""
        surface = self._parse(query_string).surface
        must_be_for(asked.caller, surface)
        follower = self._service.followers[surface]
        live = follower.live
        found = {
            "surface": surface,
            "surfaces": self._service.surfaces,
            "store": follower.storage.address,
            "live": {**live.run.manifest.model_dump(exclude={"files"}), "since": live.since} if live else None,
            "stale": live.stale if live else None,
            "refused": follower.refusal,
            "trouble": follower.current.trouble,
            "channels": {state["channel"]: state for state in follower.states()},
            "experiments": self._service.seams.variants,
        }
        return 200, NOW, orjson.dumps(found)

    def healthz(self, query_string: str, headers: Headers) -> Answer:
        return 200, NOW, b'{"status":"alive"}'

    def readyz(self, query_string: str, headers: Headers) -> Answer:
        live = self._service.live(self._service.surfaces[0])
        for surface, follower in self._service.followers.items():
            if follower.live is None and not follower.has_nothing:
                raise self._service.nothing(surface)
        return 200, NOW, b'{"status":"ready",' + live.stamp.head[1:] + b"}"

    def metrics(self, query_string: str, headers: Headers) -> Answer:
        self._service.metrics.lost(self._service.seams.losses())
        return 200, METRICS, generate_latest(self._exposition.registry)


def page_files(gzip_from: int) -> dict[str, Page]:
    """The files of the package `page`, by their address; `index.html` is at /. They are read once."""
    folder = files("nightshift.serving") / "page"
    if not folder.is_dir():
        return {}
    found: dict[str, Page] = {}
    for file in folder.iterdir():
        kind = KINDS.get(f".{file.name.rpartition('.')[2]}")
        if kind:
            address = "/" if file.name == "index.html" else f"/{file.name}"
            found[address] = _fixed(kind, file.read_bytes(), OWN_FILES, gzip_from)
    return found


def _fixed(kind: str, body: bytes, more: tuple[tuple[str, str], ...], gzip_from: int) -> Page:
    """Answers with what never changes while the process lives."""
    tagged = Tagged(kind, HOUR, tag_of(body), more)

    def answer(query_string: str, headers: Headers) -> Answer:
        wanted = headers.get("if-none-match")
        if wanted is not None and (unchanged := tagged.if_unchanged(wanted)):
            return unchanged
        return tagged.answer(body, headers, gzip_from)

    return answer
