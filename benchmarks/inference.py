"""How many users a second get their lists, in how much memory; and how near exact search comes to the machine's limit.

    python -m benchmarks.inference --home var --run-date 2011-11-30 --out var/figures

Stands on a night that was run in --home: its model, indexes and features. The lists of all users are made again in each
way, by blocks of several sizes and by one process or one a core, each in turn; what is published is left alone. A
second table is that of `benchmarks.search`: users a second that are searched for, and the machine's limit.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.index import drawn
from benchmarks.measure import Cost, costs, interleaved, median, report, spread
from benchmarks.options import parser
from benchmarks.search import compared
from jobs.infer import BY_BLOCK, maker
from nightshift.config import load
from nightshift.features.blocks import split
from nightshift.lake import Lake
from nightshift.ranking.batch import Batch
from nightshift.runs import Night
from nightshift.runs.dates import parse_run_date

USERS, ITEMS, DIMENSION, RECALL = 4096, 50_000, 256, 0.99
"""Of the search that is compared: the defaults of `benchmarks.search`. For so many items a night's filter has 1,536
dimensions."""


def main(argv: list[str] | None = None) -> None:
    arguments = parser("inference", __doc__)
    arguments.add_argument("--home", type=Path, required=True, help="the NIGHTSHIFT_HOME of a night that was run")
    arguments.add_argument("--run-date", type=parse_run_date, required=True, help="of the night")
    arguments.add_argument("--config", help="the configuration file (NIGHTSHIFT_CONFIG, else nightshift.yaml)")
    arguments.add_argument("--kinds", nargs="*", default=["hnsw", "ivf_pq"], help="of index beside exact search (both)")
    args = arguments.parse_args(argv)
    night = Night(load(args.config), args.run_date, "benchmark", args.home.absolute())
    work = night.home / "benchmark"
    users = len(Lake(night.home / "lake").arrow("user_features", ["user_id"], [("run_date", "=", args.run_date)]))
    ways = {
        "one block, one process, all threads": (users, 1),
        "blocks of 1,000, one process, all threads": (1000, 1),
        "blocks of 1,000, a process a core": (1000, 0),
    }
    found = interleaved(args.repeats, {name: partial(lists, night, work, *way) for name, way in ways.items()})
    shutil.rmtree(work, ignore_errors=True)
    rows = [row(name, values, users) for name, values in found.items()]
    report("inference", rows, vars(args), args.out, found)
    print()
    items, queries = drawn(ITEMS, DIMENSION, USERS, night.settings.seed)
    rows, times = compared(items, queries, args.kinds, RECALL, args.repeats)
    report("search", rows, vars(args), args.out, times)


def lists(night: Night, work: Path, size: int, processes: int) -> Cost:
    """The lists of all users, as the job makes them."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    tables, served = night.read_json("build_features")["tables"], night.read_json("verdict")["served"]
    with costs() as cost:
        blocks = split(Lake(night.home / "lake"), night.run_date, tables, size, work / "users")
        make = partial(maker, night.home / served["folder"], served["kind"], night.settings, night.folder / "index", {})
        Batch(blocks, work, make, BY_BLOCK).run(processes)
    return cost


def row(name: str, values: list[Cost], users: int) -> dict[str, Any]:
    seconds = [value.seconds for value in values]
    return {
        "way": name,
        "users": users,
        "seconds": spread(seconds),
        "users a second": round(users / median(seconds)),
        "peak, MiB": round(max(value.peak_mib for value in values)),
    }


if __name__ == "__main__":
    main()
