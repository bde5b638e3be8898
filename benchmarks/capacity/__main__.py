"""How many machines carry so many users and requests, what they cost, and what happens when some fail.

    python -m benchmarks.capacity --users 1e9 --qps 1e6 --out figures
    python -m benchmarks.capacity --users 2e7 --qps 5e4 --measured figures/lookup.json --machine-hour 0.9 --out figures

Figures of a request come from `benchmarks.lookup` (`--measured`); without it, from Measured in measured.py. Everything
else is an argument, and its default is said below with where it is from. The same arguments give the same figures.
Latencies are those in the service: the way there and back comes on top.
"""

from __future__ import annotations

import argparse
import contextlib
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.capacity.measured import Measured, measured
from benchmarks.capacity.picture import draw
from benchmarks.capacity.plan import Bill, Demand, Machine, Plan, Prices, bill, plan
from benchmarks.capacity.popularity import Popularity
from benchmarks.capacity.scenarios import Effort, Group, play, row
from benchmarks.measure import markdown, report
from benchmarks.options import parser

AWS = "AWS, us-east-1, on demand, list price of 2025"
I4I = "of an i4i.4xlarge, as AWS describes it"


def main(argv: list[str] | None = None) -> None:
    args = arguments().parse_args(argv)
    try:
        figures = measured(args.measured)
        demand, machine, prices = asked(args)
    except ValueError as error:
        arguments().error(str(error))
    found = plan(demand, figures, machine)
    costs = bill(demand, figures, machine, prices, found, args.keep_runs, args.poll_seconds)
    print(f"A request takes {figures.cpu_us:.1f} µs ({figures.source}).\n")
    print(markdown(table(demand, figures, machine, found, costs)), end="\n\n")
    group = Group(demand, figures, machine, found, Effort(args.workers, args.seconds, args.seed))
    played = play(group)
    rows = [row(*one) for one in played]
    raw = {"measured": asdict(figures), "plan": asdict(found), "bill": asdict(costs)}
    report("capacity", rows, vars(args), args.out, raw)
    shown = {name: outcome for name, _, outcome in played if name in PICTURED}
    if picture := args.picture or (args.out and args.out / "capacity.png"):
        draw(by_rate(demand, figures, machine), shown, picture)


PICTURED = (
    "all is well",
    "a swap, everywhere at once",
    "a replica's process ends",
    "a zone falls silent",
)


def arguments() -> argparse.ArgumentParser:
    result = parser("capacity", __doc__, repeats=False)
    add = result.add_argument
    add("--users", type=positive, required=True, help="with a list each")
    add("--qps", type=positive, required=True, help="requests a second at the busiest time of the year")
    add("--measured", type=Path, help="lookup.json of benchmarks.lookup")
    add("--user-bytes", type=positive, help=f"of a run on disk ({Measured.user_bytes:,.0f}: 20 items a list)")
    add("--exponent", type=float, default=0.8, help="of Zipf's law, by which users come (0.8: an assumption)")
    add("--zones", type=whole, default=3, help="of availability, of which any one may be lost (3)")
    add("--busy", type=positive, default=0.6, help="share of their time that workers may work, a zone gone (0.6)")
    add("--machine", default="i4i.4xlarge", help="its name (i4i.4xlarge)")
    add("--cores", type=whole, default=16, help=f"processors, a worker on each (16: {I4I})")
    add("--speed", type=positive, default=0.6, help="of one beside the core measured (0.6: half a hyperthreaded core)")
    add("--memory-gib", type=positive, default=128, help=f"(128: {I4I})")
    add("--disk-gb", type=positive, default=3750, help=f"local NVMe (3750: {I4I})")
    add("--reads", type=positive, default=400_000, help=f"random 4 KiB reads a second (400000: {I4I})")
    add("--read-us", type=positive, default=120, help="of a page from that disk, fault included (120: an assumption)")
    add("--network-gbit", type=positive, default=9, help="that hold on (9; AWS says up to 25 for a while)")
    add("--machine-hour", type=price, default=1.373, help=f"dollars (1.373: {AWS})")
    add("--storage-gb-month", type=price, default=0.023, help=f"dollars, of S3 (0.023: {AWS})")
    add("--put-thousand", type=price, default=0.005, help=f"dollars, of S3 (0.005: {AWS})")
    add("--get-thousand", type=price, default=0.0004, help=f"dollars, of S3 (0.0004: {AWS})")
    add("--zone-gb", type=price, default=0.02, help=f"dollars, from zone to zone, both sides (0.02: {AWS})")
    add("--keep-runs", type=whole, default=7, help="in the store (7)")
    add("--poll-seconds", type=positive, default=10, help="from one look at the pointer to the next (10)")
    add("--workers", type=whole, default=Effort.workers, help="of each replica that are simulated (4)")
    add("--seconds", type=positive, default=Effort.seconds, help="that are simulated (8)")
    add("--seed", type=int, default=Effort.seed, help="of all that is random (1)")
    add("--picture", type=Path, help="where to (capacity.png in --out)")
    return result


def price(text: str) -> float:
    """A number from 0: what is there already costs nothing. Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0")
    return value


def positive(text: str) -> float:
    """A number above 0. Raises ArgumentTypeError."""
    with contextlib.suppress(argparse.ArgumentTypeError):
        if value := price(text):
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")


def whole(text: str) -> int:
    """A whole number from 1. Raises ArgumentTypeError."""
    value = positive(text)
    if value != int(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(value)


def asked(args: argparse.Namespace) -> tuple[Demand, Machine, Prices]:
    demand = Demand(args.users, args.qps, Popularity(args.users, args.exponent), args.zones, args.busy)
    of_machine = ("cores", "memory_gib", "disk_gb", "network_gbit", "reads", "read_us", "speed")
    machine = Machine(args.machine, **{name: getattr(args, name) for name in of_machine})
    of_prices = ("machine_hour", "storage_gb_month", "put_thousand", "get_thousand", "zone_gb")
    return demand, machine, Prices(**{name: getattr(args, name) for name in of_prices})


def table(demand: Demand, figures: Measured, machine: Machine, found: Plan, costs: Bill) -> list[dict[str, Any]]:
    run = demand.users * figures.user_bytes / 1e12
    return [
        {"what": what, "figure": figure}
        for what, figure in (
            ("a run", f"{run:,.2f} TB"),
            ("groups of replicas", f"{found.groups:,}, {run / found.groups:,.2f} TB of a run each"),
            ("replicas of a group", f"{found.replicas:,} in {demand.zones} zones; bound by: {found.bound}"),
            ("machines", f"{found.machines:,} {machine.name}"),
            ("requests that wait for the disk", f"{found.misses:.0%}"),
            ("a request takes of a worker", f"{found.service_us:.0f} µs"),
            ("workers busy: all well, a zone gone", " and ".join(f"{share:.0%}" for share in found.utilisation)),
            ("memory, all machines", f"{found.machines * machine.memory_gib / 1024:,.1f} TiB"),
            ("a machine fetches a run in", f"{costs.fetch_minutes:,.0f} min"),
            ("requests to the store, a night", f"{costs.puts_a_night:,.0f} puts, {costs.gets_a_night:,.0f} gets"),
            ("looks at the pointer, a month", f"{costs.polls_a_month:,.0f}"),
            ("a month: machines", f"${costs.machines:,.0f}"),
            ("a month: runs in the store", f"${costs.storage:,.0f}"),
            ("a month: requests to the store", f"${costs.requests:,.0f}"),
            ("a month, all of it", f"${costs.month:,.0f}"),
            ("a million requests, at that rate", f"${costs.month / (demand.qps * 730 * 3600) * 1e6:.5f}"),
            ("a month more, if callers cross zones", f"${costs.zones:,.0f}"),
        )
    ]


def by_rate(demand: Demand, figures: Measured, machine: Machine) -> dict[str, list[tuple[float, int]]]:
    """Machines by requests a second, for numbers of users around the one asked for."""
    rates = [demand.qps * 10 ** (step / 8) for step in range(-16, 9)]
    found = {}
    for users in (demand.users / 100, demand.users / 10, demand.users):
        popularity = Popularity(users, demand.popularity.exponent)
        points = [
            (rate, plan(replace(demand, users=users, qps=rate, popularity=popularity), figures, machine).machines)
            for rate in rates
        ]
        found[f"{users:,.0f} users"] = points
    return found


if __name__ == "__main__":
    main()
