"""The metrics as Prometheus reads them, and what each means."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from nightshift.serving.following.live import LEVELS
from nightshift.serving.telemetry.metrics import BOUNDS, Metrics

PREFIX = "nightshift_lookup_"
ENDS = (*(f"{bound / 1e9:g}" for bound in BOUNDS), "+Inf")
COUNTED = {
    "stale": ("stale_answers", "Lists from a run that may not be the one that is live now."),
    "refilled": ("refilled", "Lists that exclusions or filters left short, and other lists made up."),
    "channel_missing": ("channel_missing", "Lists of the live run, as the variant's own channel has none."),
    "opened": ("runs_opened", "Runs that came to be served, by all processes."),
    "refused": ("runs_refused", "Times that a run was refused as corrupt or incomplete."),
    "store_errors": ("store_errors", "Times that a pointer could not be read."),
    "fetched": ("shards_fetched", "Shards that came after their run was served."),
    "awaited": ("shards_awaited", "Lists of others, as the user's own shard was not here yet."),
    "damaged": ("shards_damaged", "Times that a shard of a run that is served could not be read."),
}
LOST = {
    "exposures_dropped": "Exposures of experiments that were not kept.",
    "access_lines_dropped": "Lines of the access log that were not written.",
    "key_file_errors": "Times that a changed key file could not be used.",
}


class Exposition(Collector):
    """Everything that `metrics` and the processes' states say.

    Args:
        states: what the processes serve, as they say it on the board.
    """

    def __init__(self, metrics: Metrics, states: Callable[[], Iterable[dict[str, Any]]]) -> None:
        self._metrics, self._states = metrics, states
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        yield from self._requests()
        yield from self._events()
        yield from self._losses()
        yield from self._runs()

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(f"{PREFIX}requests", "Requests answered.", labels=["route", "status"])
        took = HistogramMetricFamily(
            f"{PREFIX}request_seconds", "Time in the service's own code, to an answer.", labels=["route"]
        )
        seconds, by_route = self._metrics.seconds(), dict[str, list[int]]()
        for route, status, buckets in self._metrics.requests():
            requests.add_metric([route, status], sum(buckets))
            before = by_route.get(route, [0] * len(buckets))
            by_route[route] = [one + other for one, other in zip(before, buckets, strict=True)]
        for route, buckets in by_route.items():
            took.add_metric([route], list(zip(ENDS, accumulate(buckets), strict=True)), seconds[route])
        yield requests
        yield took

    def _events(self) -> Iterator[Metric]:
        about = "Users' lists handed out: their own, their segment's, the popular one."
        lists = CounterMetricFamily(f"{PREFIX}lists", about, labels=["surface", "list"])
        others = {
            event: CounterMetricFamily(f"{PREFIX}{name}", about, labels=["surface"])
            for event, (name, about) in COUNTED.items()
        }
        for surface, event, count in self._metrics.events():
            if event in LEVELS:
                lists.add_metric([surface, event], count)
            else:
                others[event].add_metric([surface], count)
        yield lists
        yield from others.values()

    def _losses(self) -> Iterator[Metric]:
        for name, count in self._metrics.losses().items():
            yield CounterMetricFamily(f"{PREFIX}{name}", LOST[name], count)

    def _runs(self) -> Iterator[Metric]:
        of = ["worker", "surface", "channel"]
        run = GaugeMetricFamily(
            f"{PREFIX}live_run", "1 for the run that is served.", labels=[*of, "run_date", "run_id", "model"]
        )
        date = GaugeMetricFamily(f"{PREFIX}live_run_date_seconds", "Run date of that run, as Unix time.", labels=of)
        made = GaugeMetricFamily(f"{PREFIX}live_run_created_seconds", "When it was published, as Unix time.", labels=of)
        stale = GaugeMetricFamily(
            f"{PREFIX}stale", "1 where the run that should be served cannot be read; an older one is.", labels=of
        )
        looked = GaugeMetricFamily(
            f"{PREFIX}pointer_read_seconds", "When the pointer was last read, as Unix time.", labels=of
        )
        missing = GaugeMetricFamily(f"{PREFIX}shards_missing", "Shards of that run that are not here.", labels=of)
        resident = GaugeMetricFamily(f"{PREFIX}resident_bytes", "Memory, mapped shards included.", labels=["worker"])
        for state in self._states():
            worker = str(state["worker"])
            resident.add_metric([worker], _resident(state["worker"]))
            for one in state["channels"]:
                labels = [worker, one["surface"], one["channel"]]
                looked.add_metric(labels, one["pointer_read"] or 0)
                if live := one["live"]:
                    run.add_metric([*labels, live["run_date"], live["run_id"], live["model"]], 1)
                    date.add_metric(labels, dt.datetime.fromisoformat(f"{live['run_date']}T00:00+00:00").timestamp())
                    made.add_metric(labels, dt.datetime.fromisoformat(live["created_at"]).timestamp())
                    missing.add_metric(labels, live["missing"])
                    stale.add_metric(labels, one["stale"] is not None)
        yield from (run, date, made, stale, looked, missing, resident)


def _resident(pid: int) -> int:
    """Bytes; 0 where the system does not say."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
