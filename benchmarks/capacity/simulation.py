"""Requests, one by one, through replicas of which some fail: a discrete-event simulation of one group of replicas.

Requests come at random (Poisson), go to any replica that is believed to be well, and there to one of its workers, each
of which answers one request at a time, in order. A replica that fails goes on being asked until that is noticed. A
request that it does not answer is sent to another, at once where the connection is refused, or after the client's
patience where there is silence, as the project's client does. What has no answer by the client's deadline is degraded:
the client's own fallback is shown.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from nightshift.client.retries import LISTS

REFUSED_SECONDS = 0.001  # until a connection to a process that is gone is refused


@dataclass(frozen=True)
class Failure:
    """Replicas that are gone from `at` on. `how`: their machine still refuses connections, or there is silence."""

    at: float
    replicas: frozenset[int]
    how: Literal["refused", "silent"]
    noticed_after: float  # seconds until they are asked no more


@dataclass(frozen=True)
class Cell:
    """A group of replicas that hold the same users.

    Attributes:
        rate: requests a second to all of them together.
        workers: of each replica; each has a queue of its own, or all `share` one.
        cpu: mean seconds of processor time of a request.
        variation: deviation by mean of the processor time; 1: exponential, 0: constant.
        read: mean seconds that a page takes to come from disk, exponential; the worker waits for it.
        misses: the share of requests that wait for it, by replica and time.
    """

    replicas: int
    workers: int
    rate: float
    cpu: float
    variation: float = 0.5
    read: float = 0.0
    misses: Callable[[int, np.ndarray], np.ndarray] = lambda replica, at: np.zeros_like(at)
    share: bool = False
    failure: Failure | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of the requests, in the order they came.

    Attributes:
        at: when each came, in seconds from the beginning.
        took: seconds to its answer; infinite where there was none in time.
        seconds: that requests came for.
        busy: share of its time that each replica worked, on average of its workers, from a time on.
        tries: that were made, retries included.
    """

    at: np.ndarray
    took: np.ndarray
    seconds: float
    busy: np.ndarray
    tries: int

    def of(self, begin: float, end: float) -> np.ndarray:
        """What the requests took that came from `begin` up to `end`."""
        return self.took[(self.at >= begin) & (self.at < end)]


def degraded(took: np.ndarray) -> float:
    """The share of requests without an answer by the client's deadline."""
    return float(np.mean(took > LISTS.deadline)) if len(took) else 0.0


def quantile(took: np.ndarray, share: float) -> float:
    """Seconds; infinite where more than the rest had no answer."""
    return float(np.quantile(took, share, method="higher"))


@dataclass
class _Draws:
    """All that is random of each try, drawn beforehand: which replica, which worker, how long."""

    random: np.random.Generator
    cell: Cell
    size: int
    replica: list[float] = field(init=False)
    worker: list[int] = field(init=False)
    cpu: list[float] = field(init=False)
    luck: list[float] = field(init=False)
    read: list[float] = field(init=False)

    def __post_init__(self) -> None:
        cell = self.cell
        self.replica = self.random.random(self.size).tolist()
        self.worker = self.random.integers(0, cell.workers, self.size).tolist()
        self.luck = self.random.random(self.size).tolist()
        self.read = self.random.exponential(cell.read, self.size).tolist()
        if cell.variation:
            shape = cell.variation**-2
            self.cpu = self.random.gamma(shape, cell.cpu / shape, self.size).tolist()
        else:
            self.cpu = [cell.cpu] * self.size


def simulate(cell: Cell, seconds: float, seed: int, busy_from: float = 0.0) -> Outcome:
    """Let requests come for so many seconds, and see what becomes of each. The same seed, the same outcome.

    Args:
        busy_from: second from which on it is counted how busy replicas are.
    """
    random = np.random.default_rng(seed)
    count = int(random.poisson(cell.rate * seconds))
    at = np.sort(random.uniform(0, seconds, count))
    draws = _Draws(random, cell, 3 * count + 100)
    # by the tenth of a second: how likely a request waits for the disk
    grid = np.arange(0, seconds + 1, 0.1)
    misses = [cell.misses(replica, grid).tolist() for replica in range(cell.replicas)]
    took = [float("inf")] * count
    busy = [0.0] * cell.replicas
    queues = 1 if cell.share else cell.workers
    free = [[[0.0] * (cell.workers if cell.share else 1) for _ in range(queues)] for _ in range(cell.replicas)]
    failure = cell.failure
    everyone = list(range(cell.replicas))
    others = [replica for replica in everyone if not failure or replica not in failure.replicas]
    retries: list[tuple[float, int]] = []
    coming, tries = 0, 0
    arrivals = at.tolist()
    while coming < count or retries:
        if retries and (coming == count or retries[0][0] < arrivals[coming]):
            now, request = heapq.heappop(retries)
            if now - arrivals[request] > LISTS.deadline:
                continue
        else:
            now, request = arrivals[coming], coming
            coming += 1
        draw = tries
        tries += 1
        asked = everyone if failure is None or now < failure.at + failure.noticed_after else others
        replica = asked[int(draws.replica[draw] * len(asked))]
        fails_at = failure.at if failure and replica in failure.replicas else float("inf")
        if now >= fails_at:
            heapq.heappush(retries, (now + _patience(failure), request))
            continue
        work = draws.cpu[draw]
        if draws.luck[draw] < misses[replica][int(now * 10)]:
            work += draws.read[draw]
        workers = free[replica][0 if cell.share else draws.worker[draw]]
        done = max(now, workers[0]) + work
        if done > fails_at:  # it was in the machine when that failed
            heapq.heappush(retries, (max(now, fails_at) + _patience(failure), request))
            continue
        heapq.heapreplace(workers, done)
        if now >= busy_from:
            busy[replica] += work
        took[request] = done - arrivals[request]
    return Outcome(at, np.array(took), seconds, np.array(busy) / cell.workers / (seconds - busy_from), tries)


def _patience(failure: Failure | None) -> float:
    return REFUSED_SECONDS if failure and failure.how == "refused" else LISTS.attempt
