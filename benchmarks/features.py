"""The same features three ways: Spark from all events, the project's increments, and DuckDB as the yardstick.

    python -m benchmarks.features --work var/bench --out var/figures --days 365 --events-a-day 5000

Each repeat lands one more day, and then computes the features as of that day in each way on the same lake, each with
a Spark server of its own that has done nothing before, another way first each time. The results are held against each
other, table by table and row by row: a way that is wrong has no figure. (Of Spark from all events, users, items and
co-occurrence are: its pairs and sequences are states, which the increments' have been compared with in the tests.)
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.company import Company, warm_engine
from benchmarks.measure import Cost, costs, median, report, say, spread
from benchmarks.options import parser, shop_of, with_history
from benchmarks.processes import ROOT, command, environment
from nightshift.features.snapshot import load_snapshot
from nightshift.lake import engine

KEYS = {
    "user_features": ["user_id"],
    "item_features": ["item_id"],
    "pairs": ["user_id", "item_id"],
    "sequences": ["user_id"],
    "cooccurrence": ["item_id", "neighbour_id"],
}
SNAPSHOT = {"user_features": "users", "item_features": "items"}  # what a snapshot calls them


def main(argv: list[str] | None = None) -> None:
    arguments = with_history(parser("features", __doc__))
    arguments.add_argument("--days", type=int, default=365, help="of history (365)")
    args = arguments.parse_args(argv)
    company = Company(args.work / f"features-{args.days}-days", shop_of(args))
    with a_fresh_server(company, args):
        pass  # where the history is prepared, if it was not
    found: dict[str, list[Cost]] = {}
    for number in range(args.repeats):
        for way, cost in one_day(company, number, args).items():
            found.setdefault(way, []).append(cost)
    events = company.lake.arrow("events", ["run_date"]).num_rows
    rows = [row(name, values, events) for name, values in found.items()]
    report("features", rows, vars(args), args.out, found)


@contextlib.contextmanager
def a_fresh_server(company: Company, args: argparse.Namespace) -> Iterator[list[int]]:
    """A Spark server that has done nothing yet, for the company's jobs. Yields its process id."""
    with warm_engine(args.work / "spark", f"local[{args.cores}]", args.memory) as section:
        company.prepare(args.days, section, args.cores)
        server = engine.running(args.work / "spark")
        yield [server["pid"]] if server else []


def one_day(company: Company, number: int, args: argparse.Namespace) -> dict[str, Cost]:
    """Land the next day, compute its features in each way, another one first each time, and see that all agree."""
    day = company.next_day
    company.deliver(day)
    with a_fresh_server(company, args):
        for step in ("ingest", "validate_events"):
            company.step(step, day)
    out = company.folder / "results"
    shutil.rmtree(out, ignore_errors=True)
    given: dict[str, Any] = {"lake": str(company.lake.root), "as_of": str(day), "config": str(company.config)}
    given |= {"cores": args.cores, "memory": args.memory.upper() + "B"}

    def from_scratch() -> Cost:
        with a_fresh_server(company, args) as server:
            return called("benchmarks.from_scratch", {**given, "out": str(out / "scratch")}, server)

    def increments() -> Cost:
        with a_fresh_server(company, args):
            return company.step("build_features", day)

    def duckdb() -> Cost:
        return called("benchmarks.yardstick", {**given, "out": str(out / "duckdb")}, [])

    ways = {"Spark, from all events": from_scratch, "increments": increments, "DuckDB, from all events": duckdb}
    found = {}
    for way in [*ways][number % 3 :] + [*ways][: number % 3]:
        say(f"features as of {day}: {way}")
        found[way] = ways[way]()
    agree(company, day, out)
    return {way: found[way] for way in ways}


def called(module: str, given: dict[str, Any], server: list[int]) -> Cost:
    """A module as a process, with its arguments on standard input."""
    with costs(*server) as cost:
        done = subprocess.run(
            command(module), cwd=ROOT, env=environment(), input=json.dumps(given), capture_output=True, text=True
        )
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stderr[-3000:]}")
    return cost


def agree(company: Company, day: dt.date, out: Path) -> None:
    """Raise where the increments, or Spark from scratch, are not what DuckDB found."""
    snapshot = load_snapshot(company.lake, day)
    for table, keys in KEYS.items():
        yardstick = pd.read_parquet(out / "duckdb" / f"{table}.parquet")
        found = {"increments": getattr(snapshot, SNAPSHOT.get(table, table))}
        if table in ("user_features", "item_features", "cooccurrence"):  # the others are states there
            found["from scratch"] = pd.read_parquet(out / "scratch" / table)
        for way, frame in found.items():
            if table == "cooccurrence":
                same(
                    f"scores by {way}",
                    ["item_id", "score"],
                    frame[["item_id", "score"]],
                    yardstick[["item_id", "score"]],
                )
                frame, other = (without_ties(each, company.settings.features.neighbours) for each in (frame, yardstick))
            else:
                other = yardstick
            same(f"{table} by {way}", keys, frame, other)


def without_ties(neighbours: pd.DataFrame, most: int) -> pd.DataFrame:
    """Without an item's last neighbours by score where it has as many as are kept: which of equals is one is chance."""
    by_item = neighbours.groupby("item_id")["score"]
    return neighbours[(by_item.transform("size") < most) | (neighbours["score"] > by_item.transform("min"))]


def same(name: str, keys: list[str], found: pd.DataFrame, yardstick: pd.DataFrame) -> None:
    columns = [column for column in yardstick if column in found]
    missing = set(found) ^ set(yardstick)
    if missing - {"sellable", "as_of", "state", "run_date"}:
        raise SystemExit(f"{name}: only one of the two has {sorted(missing)}")
    one, other = (
        frame[columns].sort_values(keys, ignore_index=True).map(lambda v: list(v) if hasattr(v, "tolist") else v)
        for frame in (found, yardstick)
    )
    try:
        pd.testing.assert_frame_equal(one, other, check_dtype=False, rtol=1e-12, atol=0)
    except AssertionError as error:
        raise SystemExit(f"{name}: the ways disagree:\n{error}") from None


def row(name: str, values: list[Cost], events: int) -> dict[str, Any]:
    seconds = [cost.seconds for cost in values]
    return {
        "way": name,
        "seconds": spread(seconds),
        "median s": round(median(seconds), 2),
        "events of history a second": int(events / median(seconds)),
        "peak memory, MiB": round(max(cost.peak_mib for cost in values)),
    }


if __name__ == "__main__":
    main()
