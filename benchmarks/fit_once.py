"""One fit, as a process of its own, that fit_memory.py starts: `python -m benchmarks.fit_once FOLDER USERS WAY`."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from pathlib import Path

import pandas as pd

from benchmarks.fit_memory import DAYS, FIRST, ITEMS
from nightshift.config import load
from nightshift.features.histories import Histories
from nightshift.features.snapshot import Snapshot, load_interactions
from nightshift.lake import Lake
from nightshift.models.fitting import fit


def main(folder: Path, users: int, way: str) -> None:
    lake, as_of = Lake(folder / "lake"), FIRST + dt.timedelta(days=DAYS - 1)
    base = load("nightshift.yaml")
    small = {"dimension": 16, "epochs": 1, "refresh_epochs": 1, "batch_baskets": 1024, "memory": "256MB"}
    settings = base.model_copy(update={"two_tower": base.two_tower.model_copy(update=small)})
    before, begun = peak_mib(), time.perf_counter()
    if way == "in memory":
        fit(catalogue(as_of, users), load_interactions(lake, as_of), settings)
    else:
        fit(catalogue(as_of, users), Histories(lake, None, folder / "sort", "256MB"), settings, folder=folder / "fit")
    found = {"seconds": round(time.perf_counter() - begun, 1), "peak MiB": peak_mib(), "of libraries": before}
    print(json.dumps(found))


def peak_mib() -> int:
    """Of this program alone: `getrusage` would count what the process held that has started it."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024


def catalogue(as_of: dt.date, count: int) -> Snapshot:
    """What a fit reads of the features, of so many users."""
    users = pd.DataFrame({"user_id": sorted(f"user-{number}" for number in range(count))})
    items = pd.DataFrame({"item_id": sorted(f"item-{number}" for number in range(ITEMS))})
    items = items.assign(title=items["item_id"], mean_price=1.0, days_since_first=DAYS, days_since_last=1)
    nothing = pd.DataFrame()
    return Snapshot(as_of, users, items, nothing, nothing, nothing)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
