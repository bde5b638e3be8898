"""What the service counts, for Prometheus."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nightshift.publishing.manifest import Manifest

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0)


class Metrics:
    """One registry a service, so that two can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        of: Any = {"namespace": "nightshift", "subsystem": "lookup", "registry": self.registry}
        self.requests = Counter("requests", "Requests answered.", ["route", "status"], **of)
        self.seconds = Histogram("request_seconds", "Time to an answer.", ["route"], buckets=BUCKETS, **of)
        self.lists = Counter("lists", "Users' lists handed out: their own, or the popular one.", ["list"], **of)
        self.live = Gauge("live_run", "1 for the run that is served.", ["surface", "run_date", "run_id", "model"], **of)
        self.live_date = Gauge("live_run_date_seconds", "Run date of the run that is served, as Unix time.", **of)
        self.opened = Counter("runs_opened", "Runs that came to be served.", **of)
        self.refused = Counter("runs_refused", "Times that the live run was refused as corrupt or incomplete.", **of)
        self.unreachable = Counter("store_errors", "Times that the pointer could not be read.", **of)
        self.looked = Gauge("pointer_read_seconds", "When the pointer was last read, as Unix time.", **of)

    def serves(self, manifest: Manifest) -> None:
        """Say which run is served from now on."""
        run = manifest.run
        self.live.clear()
        self.live.labels(manifest.surface, run.run_date.isoformat(), run.run_id, manifest.model.version).set(1)
        self.live_date.set(dt.datetime.combine(run.run_date, dt.time(), dt.UTC).timestamp())
        self.opened.inc()


class Measured:
    """Counts and times every request under the name of its route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.perf_counter(), 500

        async def noting_the_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting_the_status)
        finally:
            route = getattr(scope.get("endpoint"), "__name__", "unknown")
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - started)
