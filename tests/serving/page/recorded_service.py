"""A small HTTP server that answers what the page asks as the service's contract has it, from recorded answers.

The lists are the sample's, of two runs. What a test sets makes it refuse, hang or answer as a malicious store would.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import nightshift.serving

PAGE = Path(nightshift.serving.__file__).parent / "page"
RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded.json").read_text(encoding="utf-8"))
LIVE, BEFORE = "2011-11-30/scheduled__2011-12-01", "2011-11-29/scheduled__2011-11-30"
KINDS = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

EVIL = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>&lt;b&gt;"


class Refused(Exception):
    """Answered as a problem."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class RecordedService:
    """Listens until `close`.

    Attributes:
        live: the run that is live.
        key: that callers must send, if any.
        down: the status that all is refused with, if any.
        go_on: lists are sent once it is set.
        asked: the addresses that were asked for.
    """

    def __init__(self) -> None:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                service.serve(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.reset()
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def reset(self) -> None:
        self.live, self.key, self.down, self.surfaces = LIVE, "", 0, ["home"]
        self.asked: list[str] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def close(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        address = urlsplit(handler.path)
        if address.path in ("/", "/index.html") or (PAGE / address.path[1:]).is_file():
            file = PAGE / (address.path[1:] or "index.html")
            return self._send(handler, 200, KINDS[file.suffix], file.read_bytes())
        try:
            found = self._answer(address.path, parse_qs(address.query), handler.headers)
        except Refused as refused:
            body = {"type": "about:blank", "title": "", "status": refused.status, "detail": refused.detail}
            return self._send(handler, refused.status, "application/problem+json", json.dumps(body).encode())
        return self._send(handler, 200, "application/json", json.dumps(found).encode())

    def _send(self, handler: BaseHTTPRequestHandler, status: int, kind: str, body: bytes) -> None:
        handler.send_response(status)
        handler.send_header("content-type", kind)
        handler.send_header("content-length", str(len(body)))
        handler.send_header("content-security-policy", POLICY)
        handler.send_header("x-content-type-options", "nosniff")
        handler.send_header("cache-control", "no-store")
        handler.end_headers()
        handler.wfile.write(body)

    def _answer(self, path: str, query: dict[str, list[str]], headers: Any) -> Any:
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            raise Refused(401, "A key is needed: send Authorization: Bearer KEY, or X-Api-Key: KEY.")
        if self.down:
            raise Refused(self.down, "There is no run to answer from: nothing is published for home. Run a night.")
        parts = [unquote(part) for part in path.split("/")[1:]]
        match parts:
            case ["v1", "status"]:
                return self._status()
            case ["v1", "runs"]:
                names = [dict(zip(("run_date", "run_id"), run.split("/"), strict=True)) for run in (LIVE, BEFORE)]
                return {"surface": "home", "runs": [{**run, "live": at == 0} for at, run in enumerate(names)]}
            case ["v1", "users", user, "recommendations"]:
                self.go_on.wait(20)
                return self._list(user, query, headers.get("x-nightshift-override"))
            case ["v1", "users", user, "history"]:
                return self._history(user)
            case ["v1", "items", item, "similar"]:
                return self._similar(item)
        raise Refused(404, "There is no such page. GET /docs lists those there are.")

    def _stamp(self, run: str, variant: str = "control") -> dict[str, Any]:
        date, run_id = run.split("/")
        model = dict(RECORDED["model"], version="5" if run == LIVE else "4")
        return {"surface": "home", "run_date": date, "run_id": run_id, "model": model, "variant": variant}

    def _status(self) -> dict[str, Any]:
        live = {**self._stamp(self.live), "counts": RECORDED["counts"]}
        well = {"live": live, "stale": None, "refused": None, "trouble": None}
        experiments = {"ranking": ["control", "challenger"]}
        return {"surface": "home", "surfaces": self.surfaces, "store": "file:///", "experiments": experiments, **well}

    def _list(self, user: str, query: dict[str, list[str]], override: str | None) -> dict[str, Any]:
        run, variant = query.get("run", [self.live])[0], "control"
        if run not in RECORDED["lists"]:
            raise Refused(404, f"There is no run {run}.")
        lists = RECORDED["lists"][run]
        if override:
            variant = override.partition("=")[2]
            lists = RECORDED["lists"][f"variant:{variant}"]
        items, degraded = lists.get(user), None
        if user == EVIL:
            items = [dict.fromkeys(("item_id", "title", "source", "reason"), EVIL) | {"score": 1.0}]
        elif items is None:
            items = RECORDED["popular"]
            reason = f"the run of {run.split('/')[0]} does not know this user; these items are popular"
            degraded = {"level": "popular", "reason": EVIL if "<" in user else reason}
        k = int(query.get("k", ["1000"])[0])
        return {**self._stamp(run, variant), "user_id": user, "degraded": degraded, "items": items[:k]}

    def _history(self, user: str) -> dict[str, Any]:
        items = RECORDED["history"].get(user)
        if user == EVIL:
            items = [{"item_id": EVIL, "title": EVIL, "bought_on": EVIL, "times": 2}]
        if items is None:
            raise Refused(404, f"The run of 2011-11-30 has no purchases of {user!r}.")
        return {**self._stamp(self.live), "user_id": user, "items": items}

    def _similar(self, item: str) -> dict[str, Any]:
        found = RECORDED["similar"].get(item)
        if item == EVIL:
            found = {"title": EVIL, "items": [{"item_id": EVIL, "title": EVIL, "score": 0.5}]}
        if found is None:
            raise Refused(404, f"Item {item!r} is not known to the run of 2011-11-30.")
        return {**self._stamp(self.live), "item_id": item, **found}
