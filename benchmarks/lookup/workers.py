"""Do several processes carry several times as much, and share the pages of the shards?

    python -m benchmarks.lookup.workers --work var/lookup --out var/figures --workers 1 2 4

Each number of workers has as many cores, the load the others; where there are too few, the load runs on the same ones,
and takes of what they can do. So beside the workers of one service there are as many services of one worker, each on a
port of its own, which share nothing but the files: what these carry together is what the machine has to give, and
workers that are in each other's way carry less. `--work` as in `benchmarks.lookup`, whose runs it uses.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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

        def started(name: str, count: int, workers: int) -> Server:
            (folder := home / name).mkdir()
            return stack.enter_context(service(config, folder, set(here[:count]), workers))

        several = [count for count in args.workers if count > 1]
        servers = {f"{count}": [started(f"{count}", count, count)] for count in args.workers}
        for count in several:
            servers[apart(count)] = [started(f"{count}-{number}", count, 1) for number in range(count)]
        peaks = {
            name: peak_together(of, Load(args.users, connections=args.connections // len(of)), args.seconds, here)
            for name, of in servers.items()
        }
        found = interleaved(args.repeats, peaks)
        rows = [row(name, of, found[name]) for name, of in servers.items()]
        together = sum(server.shared_mib() for of in servers.values() for server in of)
    shares = {
        f"{count}": [one["rate"] / by["rate"] for one, by in zip(found[f"{count}"], found[apart(count)], strict=True)]
        for count in several
    }
    report("workers", rows, vars(args), args.out, {"together_mib": together, "of_apart": shares, "peaks": found})
    for count, share in shares.items():
        print(f"\n{count} workers: {spread(share)} of the requests/s of as many services of one worker")
    print(f"all of these processes together hold {together:,.0f} MiB, what they share counted once")


def apart(count: int) -> str:
    return f"1 each, of {count} services"


def peak_together(
    servers: Sequence[Server], what: Load, seconds: float, here: Sequence[int]
) -> Callable[[], dict[str, float]]:
    """Measures requests a second and processor time a request of these servers, all of them under load at once."""
    used = sum(len(server.workers) for server in servers)
    peaks = [peak_of(server, what, seconds, set(here[used:] or here)) for server in servers]

    def measured() -> dict[str, float]:
        with ThreadPoolExecutor(len(peaks)) as pool:
            found = [future.result() for future in [pool.submit(peak) for peak in peaks]]
        rate = sum(one["rate"] for one in found)
        return {"rate": rate, "cpu_us": sum(one["cpu_us"] * one["rate"] for one in found) / rate}

    return measured


def arguments() -> argparse.ArgumentParser:
    result = parser("lookup.workers", __doc__)
    result.add_argument("--work", type=Path, required=True, help="a folder for the published runs, 9 GB with 1M users")
    result.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of processes (1 2)")
    result.add_argument("--users", type=int, default=1_000_000, help="with a list of 20 items each (1000000)")
    result.add_argument("--shards", type=int, default=8, help="files that a run is spread over (8)")
    result.add_argument("--connections", type=int, default=64, help="of the load (64)")
    result.add_argument("--seconds", type=float, default=5, help="of every measurement (5)")
    return result


def row(name: str, servers: Sequence[Server], found: Sequence[dict[str, float]]) -> dict[str, Any]:
    rates, cpu = ([one[of] for one in found] for of in ("rate", "cpu_us"))
    memory = servers[0].memory_mib()
    return {
        "workers": name,
        "requests/s": f"{median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
        "CPU µs a request": spread(cpu),
        "cores in use by them": f"{median([rate * us / 1e6 for rate, us in zip(rates, cpu, strict=True)]):.2f}",
        "mapped shards of one, MiB": round(memory["shards"]),
        "own of one, MiB": round(memory["own"]),
    }


if __name__ == "__main__":
    main()
