"""What happens to the busiest group: nothing, a swap, a hot user, the loss of a replica or a zone.

A part of each replica's workers is simulated, with its part of the requests: workers share nothing but the disk, so
each sees what it would see among all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from benchmarks.capacity.measured import Measured
from benchmarks.capacity.plan import Demand, Machine, Plan
from benchmarks.capacity.popularity import Popularity
from benchmarks.capacity.simulation import Cell, Failure, Outcome, degraded, quantile, simulate

AT = 2.0  # seconds after the beginning, something happens
NOTICED = 3.0  # seconds until a balancer's health checks have noticed
HOT = 0.02  # share of all requests


@dataclass(frozen=True)
class Effort:
    """How much is simulated: so many workers of each replica, for so many seconds."""

    workers: int = 4
    seconds: float = 8.0
    seed: int = 1

    def __post_init__(self) -> None:
        if self.seconds <= AT + NOTICED:
            raise ValueError(f"what happens at {AT:g} s is noticed after {NOTICED:g}: simulate more than their sum")


@dataclass(frozen=True)
class Group:
    """The busiest group of a plan, and the part of it that is simulated."""

    demand: Demand
    figures: Measured
    machine: Machine
    plan: Plan
    effort: Effort

    @property
    def zone(self) -> frozenset[int]:
        """The replicas of one zone."""
        return frozenset(range(self.plan.replicas // self.demand.zones))

    def popularity(self, hot: float) -> Popularity:
        return Popularity(self.demand.users / self.plan.groups, self.demand.popularity.exponent, hot)

    def misses(self, swapped: frozenset[int], hot: float) -> Callable[[int, np.ndarray], np.ndarray]:
        """The share of requests that wait for the disk: as ever, or where a swap at `AT` has left memory empty."""
        popularity, rate = self.popularity(hot), self.plan.rate / self.plan.replicas

        @cache
        def at(since: float) -> float:
            return popularity.misses(rate, self.machine.pages, since)

        def by_time(replica: int, times: np.ndarray) -> np.ndarray:
            if replica not in swapped:
                return np.full_like(times, at(float("inf")))
            return np.array([at(float("inf")) if time < AT else at(float(time) - AT) for time in times])

        return by_time

    def cell(self, swapped: frozenset[int] = frozenset(), hot: float = 0.0, failure: Failure | None = None) -> Cell:
        part = self.effort.workers / self.machine.cores
        rate = self.plan.rate + hot * (self.demand.qps - self.plan.rate)
        return Cell(
            replicas=self.plan.replicas,
            workers=self.effort.workers,
            rate=rate * part,
            cpu=self.figures.cpu_us / self.machine.speed / 1e6,
            read=self.machine.read_us / 1e6,
            misses=self.misses(swapped, hot * self.demand.qps / rate if rate else 0.0),
            failure=failure,
        )


def scenarios(group: Group) -> dict[str, Cell]:
    """Each as the cell in which it happens."""
    everyone, one = frozenset(range(group.plan.replicas)), frozenset({0})
    lost = Failure(AT, one, "refused", NOTICED)
    dark = Failure(AT, group.zone, "silent", NOTICED)
    return {
        "all is well": group.cell(),
        f"one user asks for {HOT:.0%} of all": group.cell(hot=HOT),
        "a swap, one zone after the other": group.cell(swapped=group.zone),
        "a swap, everywhere at once": group.cell(swapped=everyone),
        "a replica's process ends": group.cell(failure=lost),
        "a replica falls silent": group.cell(failure=replace(lost, how="silent")),
        "a zone falls silent": group.cell(failure=dark),
        "a zone falls silent in a swap": group.cell(swapped=everyone - group.zone, failure=dark),
    }


def row(name: str, cell: Cell, outcome: Outcome) -> dict[str, Any]:
    """What it is like for the seconds until a failure is noticed, and after them. Latency is that in the service."""
    then, later = outcome.of(AT, AT + NOTICED), outcome.of(AT + NOTICED, outcome.seconds)
    gone = cell.failure.replicas if cell.failure else frozenset()
    busy = max(float(outcome.busy[replica]) for replica in range(cell.replicas) if replica not in gone)
    return {
        "scenario": name,
        **{f"p{100 * share:g}, ms": _ms(quantile(then, share)) for share in (0.5, 0.99, 0.999)},
        "degraded": f"{degraded(then):.2%}",
        "p99 later, ms": _ms(quantile(later, 0.99)),
        "degraded later": f"{degraded(later):.2%}",
        "busy later": f"{busy:.0%}",
        "headroom": f"{1 / busy:.1f} x",
    }


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f}" if seconds < 100 else "none"


def play(group: Group) -> list[tuple[str, Cell, Outcome]]:
    """Every scenario, simulated."""
    found = scenarios(group)
    effort = group.effort
    return [(name, cell, simulate(cell, effort.seconds, effort.seed, AT + NOTICED)) for name, cell in found.items()]
