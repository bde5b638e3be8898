"""From what is asked for to machines: how many hold the data, how many carry the load, and what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.capacity.measured import Measured
from benchmarks.capacity.popularity import Popularity

GB, MIB, GIB = 1e9, 2**20, 2**30
PAGE = 4096
HOURS = 730  # of a month
RUNS_ON_DISK = 3  # the one before, for a rollback; the live one; the one that is coming
DISK_USED = 0.9
NETWORK_USED = 0.7
MEMORY_FREE = 0.85  # of a machine's memory, for the pages of its shards
HEADERS = 400  # bytes of an answer's headers and of what carries it
PART = 8 * MIB  # that a file is sent and fetched in


@dataclass(frozen=True)
class Demand:
    """What is asked for.

    Attributes:
        popularity: over the users: see there.
        zones: of availability; the service goes on without any one of them.
        busy: share of their time that workers may work, with a zone gone.
    """

    users: float
    qps: float
    popularity: Popularity
    zones: int = 3
    busy: float = 0.6

    def __post_init__(self) -> None:
        if self.zones < 2:
            raise ValueError(f"{self.zones} zone cannot be lost: give 2 or more")
        if not 0 < self.busy < 1:
            raise ValueError(f"busy must be over 0 and under 1, not {self.busy}")


@dataclass(frozen=True)
class Machine:
    """A kind of machine. `speed`: of one of its processors beside the core that was measured on."""

    name: str
    cores: int
    memory_gib: float
    disk_gb: float
    network_gbit: float
    reads: float  # random reads of a page that its disk does, a second
    read_us: float  # that one takes, with the fault that asks for it
    speed: float

    @property
    def pages(self) -> float:
        return self.memory_gib * GIB * MEMORY_FREE / PAGE


@dataclass(frozen=True)
class Prices:
    """In dollars."""

    machine_hour: float
    storage_gb_month: float
    put_thousand: float
    get_thousand: float
    zone_gb: float  # from one zone to another, both sides together


@dataclass(frozen=True)
class Plan:
    """How many machines, and what bounds their number.

    Attributes:
        groups: of replicas that hold the same users.
        replicas: of each group, alike in all zones.
        bound: what the number of replicas follows from.
        misses: the share of requests that wait for the disk, in the long run.
        service_us: that a request takes of a worker, the disk included.
        utilisation: of the busiest group's workers: with all well, and with a zone gone.
        rate: requests a second to the busiest group.
    """

    groups: int
    replicas: int
    bound: str
    misses: float
    service_us: float
    utilisation: tuple[float, float]
    rate: float

    @property
    def machines(self) -> int:
        return self.groups * self.replicas


def plan(demand: Demand, figures: Measured, machine: Machine) -> Plan:
    """The fewest machines of a kind that do it, a zone gone.

    Groups are at least as many as it takes to hold the data. More of them leave each replica fewer users, of whom more
    fit into its memory, so they are tried for as long as they can pay: each is a machine in every zone.
    """
    run = demand.users * figures.user_bytes
    least = max(1, math.ceil(run * RUNS_ON_DISK / (machine.disk_gb * GB * DISK_USED)))
    best = _in_groups(least, demand, figures, machine)
    groups = least + 1
    while groups * demand.zones < best.machines:
        best = min(best, _in_groups(groups, demand, figures, machine), key=lambda found: found.machines)
        groups += 1
    return best


def _in_groups(groups: int, demand: Demand, figures: Measured, machine: Machine) -> Plan:
    """The plan with so many groups: as many replicas of each as carry the busiest one's load, a zone gone."""
    hot = demand.popularity.hot
    rate = demand.qps * (hot + (1 - hot) / groups)
    within = Popularity(demand.users / groups, demand.popularity.exponent, demand.qps * hot / rate)
    misses = within.misses(rate, machine.pages)
    service = figures.cpu_us / machine.speed + misses * machine.read_us
    needs = {
        "processors": rate * service / 1e6 / (machine.cores * demand.busy),
        "network": rate * (figures.answer_bytes + HEADERS) * 8 / (machine.network_gbit * 1e9 * NETWORK_USED),
        "disk": rate * misses / machine.reads,
    }
    per_zone = max(1, math.ceil(max(needs.values()) / (demand.zones - 1)))
    bound = max(needs, key=lambda name: needs[name]) if per_zone > 1 else "one in each zone"
    well, one_gone = (
        rate * service / 1e6 / (machine.cores * per_zone * zones) for zones in (demand.zones, demand.zones - 1)
    )
    return Plan(groups, per_zone * demand.zones, bound, misses, service, (well, one_gone), rate)


@dataclass(frozen=True)
class Bill:
    """A month's, in dollars, and what it is for."""

    machines: float
    storage: float
    requests: float
    zones: float  # what callers in other zones would cost, were they not sent to their own
    fetch_minutes: float  # that a machine needs for a new run
    gets_a_night: float
    puts_a_night: float
    polls_a_month: float

    @property
    def month(self) -> float:
        return self.machines + self.storage + self.requests


def bill(
    demand: Demand,
    figures: Measured,
    machine: Machine,
    prices: Prices,
    found: Plan,
    keep_runs: int,
    poll_seconds: float,
) -> Bill:
    """What the plan costs: machines, the runs that are kept in the store, and all requests to it."""
    run = demand.users * figures.user_bytes
    share = run / found.groups
    puts = run / PART
    gets = found.machines * share / PART
    polls = found.machines * machine.cores * HOURS * 3600 / poll_seconds
    nights = HOURS / 24
    sent = demand.qps * (figures.answer_bytes + HEADERS) * HOURS * 3600 / GB
    return Bill(
        machines=found.machines * prices.machine_hour * HOURS,
        storage=run * keep_runs / GB * prices.storage_gb_month,
        requests=(puts * nights * prices.put_thousand + (gets * nights + polls) * prices.get_thousand) / 1000,
        zones=sent * (1 - 1 / demand.zones) * prices.zone_gb,
        fetch_minutes=share * 8 / (machine.network_gbit * 1e9 * (1 - NETWORK_USED)) / 60,
        gets_a_night=gets,
        puts_a_night=puts,
        polls_a_month=polls,
    )
