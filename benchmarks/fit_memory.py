"""What memory a fit of the two-tower model takes as the events grow: from files, and with all events in memory.

    python -m benchmarks.fit_memory --work var/fit-memory --out var/figures

Items stay as many; customers grow with the events, and with them the distinct pairs of customer and item, which a fit
holds. A process for each fit; its memory is the most that it ever held, the libraries included.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import interleaved, median, report
from benchmarks.options import parser
from nightshift.lake import Lake

FIRST = dt.date(2024, 1, 1)
DAYS, ITEMS, EVENTS_A_USER = 90, 1000, 100


def main(argv: list[str] | None = None) -> None:
    arguments = parser("fit_memory", __doc__)
    arguments.add_argument("--work", type=Path, required=True, help="a folder for the lakes; one that is there is used")
    arguments.add_argument("--events", type=int, nargs="+", default=[300_000, 3_000_000], help="in each lake")
    args = arguments.parse_args(argv)
    prepared = {events: prepare(args.work, events) for events in args.events}
    alternatives = {
        f"{events} {way}": partial(once, prepared[events], events, way)
        for way in ("from files", "in memory")
        for events in args.events
    }
    found = interleaved(args.repeats, alternatives)
    rows = []
    for name, runs in found.items():
        events, way = name.split(" ", 1)
        size = {"events": int(events), "users": users_of(int(events)), "pairs": pairs(prepared[int(events)])}
        rows.append(size | {"way": way} | {key: median([run[key] for run in runs]) for key in runs[0]})
    report("fit_memory", rows, vars(args), args.out, found)


def users_of(events: int) -> int:
    return events // EVENTS_A_USER


def prepare(work: Path, events: int) -> Path:
    """The folder of a lake of so many purchases, evenly over the days."""
    folder = work / f"{events}-of-{users_of(events)}"
    lake = Lake(folder / "lake")
    if lake.exists("events"):
        return folder
    rng = np.random.default_rng(1)
    for begin in range(0, DAYS, 10):
        dates = [FIRST + dt.timedelta(days=day) for day in range(begin, begin + 10)]
        days = [day_of(rng, day, events // DAYS, users_of(events)) for day in dates]
        lake.replace("events", dates, pd.concat(days))
    return folder


def pairs(folder: Path) -> int:
    """Distinct pairs of user and item."""
    keys = ["user_id", "item_id"]
    return Lake(folder / "lake").arrow("events", keys).group_by(keys).aggregate([]).num_rows


def day_of(rng: np.random.Generator, day: dt.date, events: int, users: int) -> pd.DataFrame:
    user = rng.integers(0, users, events)
    item = (rng.pareto(1.2, events) * 20 % ITEMS).astype(int)
    second = rng.integers(0, 86_400, events)
    return pd.DataFrame(
        {
            "user_id": np.char.add("user-", user.astype(str)).astype(object),
            "item_id": np.char.add("item-", item.astype(str)).astype(object),
            "event_time": pd.Timestamp(day, tz="UTC") + pd.to_timedelta(second, unit="s"),
            "event_date": day,
            "basket_id": np.char.add(f"{day}-{events}-", user.astype(str)).astype(object),
            "weight": 1.0,
            "run_date": day,
        }
    )


def once(folder: Path, events: int, way: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.fit_once", str(folder), str(users_of(events)), way]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
