"""What the service counts: whole numbers in memory that all its processes share. See `exposition` for what they say.

On the way of a request only numbers are added to; everything else is done when somebody reads.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence

from nightshift.serving.following.live import LEVELS
from nightshift.serving.telemetry.board import Board

ROUTES = (
    *("recommendations", "recommendations_batch", "history", "similar", "runs", "status", "healthz", "readyz"),
    *("metrics", "openapi", "docs", "page", "unknown"),
)
STATUSES = (200, 304, 400, 401, 403, 404, 405, 408, 409, 413, 414, 429, 500, 503)
BOUNDS = tuple(
    microseconds * 1000
    for microseconds in (10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 1_000_000)
)  # nanoseconds
EVENTS = (
    *(*LEVELS, "stale", "refilled", "channel_missing"),
    *("opened", "refused", "store_errors", "fetched", "awaited", "damaged"),
)

LOSSES = ("exposures_dropped", "access_lines_dropped", "key_file_errors")  # of a process, whatever the surface

BUCKETS = len(BOUNDS) + 1
OF_STATUS = {status: place * BUCKETS for place, status in enumerate(STATUSES)}
OTHER = len(STATUSES) * BUCKETS
OF_ROUTE = (len(STATUSES) + 1) * BUCKETS + 1  # counts by status and bucket, then nanoseconds in all


class Metrics:
    """The counters of one process, and the sums over all of them.

    Attributes:
        counts: the counters; `route` and `of` say where.
    """

    def __init__(self, surfaces: Sequence[str], board: Board | None = None) -> None:
        self.surfaces, self.board = tuple(surfaces), board
        self._losses = len(ROUTES) * OF_ROUTE + len(self.surfaces) * len(EVENTS)
        size = self._losses + len(LOSSES)
        self.counts = board.counts(size) if board else memoryview(array("Q", bytes(8 * size)))

    def route(self, name: str) -> int:
        """Where a route's counters begin."""
        return ROUTES.index(name) * OF_ROUTE

    def of(self, surface: str) -> int:
        """Where a surface's counters of `EVENTS` begin."""
        return len(ROUTES) * OF_ROUTE + self.surfaces.index(surface) * len(EVENTS)

    def happened(self, surface: str, event: str) -> None:
        self.counts[self.of(surface) + EVENTS.index(event)] += 1

    def lost(self, losses: Mapping[str, int]) -> None:
        """Take what was dropped or failed in this process until now."""
        for place, name in enumerate(LOSSES, self._losses):
            self.counts[place] = losses[name]

    def losses(self) -> dict[str, int]:
        """The same, of all processes."""
        return dict(zip(LOSSES, self.totals()[self._losses :], strict=True))

    def totals(self) -> Sequence[int]:
        return self.board.totals() if self.board else self.counts.tolist()

    def requests(self) -> Iterator[tuple[str, str, list[int]]]:
        """Of every route and status that occurred: how many requests took how long, by bucket."""
        totals = self.totals()
        for name in ROUTES:
            for place, status in enumerate((*STATUSES, "other")):
                begin = self.route(name) + place * BUCKETS
                buckets = list(totals[begin : begin + BUCKETS])
                if any(buckets):
                    yield name, str(status), buckets

    def seconds(self) -> dict[str, float]:
        """Seconds in all, by route."""
        totals = self.totals()
        return {name: totals[self.route(name) + OF_ROUTE - 1] / 1e9 for name in ROUTES}

    def events(self) -> Iterator[tuple[str, str, int]]:
        """Surface, event, how often."""
        totals = self.totals()
        for surface in self.surfaces:
            for place, event in enumerate(EVENTS):
                yield surface, event, totals[self.of(surface) + place]
