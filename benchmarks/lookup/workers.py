"""Do several processes carry several times as much, and share the pages of the shards?

    python -m benchmarks.lookup.workers --work var/lookup --out var/figures --workers 1 2 4

Each number of workers has as many cores, the load the others; where there are too few, the load runs on the same ones,
and takes of what they can do. Processor time a request says then what requests a second cannot: it stays as it is if
nothing is in anyone's way. `--work` as in `benchmarks.lookup`, whose runs it uses.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.lookup.__main__ import configuration, peak_of, publish
from benchmarks.lookup.load import Load
from benchmarks.lookup.planted import Size
from benchmarks.lookup.servers import Server, service
from benchmarks.measure import interleaved, median, report, say, spread
from benchmarks.options import parser


def main(argv: list[str] | None = None) -> None:
    args = arguments().parse_args(argv)
    work, here = args.work.absolute(), sorted(os.sched_getaffinity(0))
    if (most := max(args.workers)) > len(here):
        raise SystemExit(f"workers: {most} workers need {most} cores; there are {len(here)}")
    if most == len(here):
        say(f"{most} workers leave the load no core of its own")
    storage, _ = publish(work, Size(args.users, shards=args.shards))
    config = configuration(work, storage)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="home-", dir=work)))
        servers: dict[int, Server] = {}
        for count in args.workers:
            (folder := home / str(count)).mkdir()
            servers[count] = stack.enter_context(service(config, folder, set(here[:count]), count))
        what = Load(args.users, connections=args.connections)
        peaks = {
            f"{count}": peak_of(server, what, args.seconds, set(here[count:] or here))
            for count, server in servers.items()
        }
        found = interleaved(args.repeats, peaks)
        rows = [row(count, server, found) for count, server in servers.items()]
        together = sum(server.shared_mib() for server in servers.values())
    report("workers", rows, vars(args), args.out, {"together_mib": together, "peaks": found})
    print(f"\nall of these processes together hold {together:,.0f} MiB, what they share counted once")


def arguments() -> argparse.ArgumentParser:
    result = parser("lookup.workers", __doc__)
    result.add_argument("--work", type=Path, required=True, help="a folder for the published runs, 9 GB with 1M users")
    result.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of processes (1 2)")
    result.add_argument("--users", type=int, default=1_000_000, help="with a list of 20 items each (1000000)")
    result.add_argument("--shards", type=int, default=8, help="files that a run is spread over (8)")
    result.add_argument("--connections", type=int, default=64, help="of the load (64)")
    result.add_argument("--seconds", type=float, default=5, help="of every measurement (5)")
    return result


def row(count: int, server: Server, found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    rates, cpu = ([one[name] for one in found[str(count)]] for name in ("rate", "cpu_us"))
    memory = server.memory_mib()
    return {
        "workers": count,
        "requests/s": f"{median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
        "CPU µs a request": spread(cpu),
        "cores in use by them": f"{median([rate * us / 1e6 for rate, us in zip(rates, cpu, strict=True)]):.2f}",
        "mapped shards of one, MiB": round(memory["shards"]),
        "own of one, MiB": round(memory["own"]),
    }


if __name__ == "__main__":
    main()
