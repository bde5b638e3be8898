"""What it takes to audit and to commit a run date's events, by their number.

    python -m benchmarks.commit --out var/figures --rows 10000 100000 1000000 10000000

Events are written as a stage first (not by Spark: its time is no part of this), then audited by the events' suite,
then committed, in a lake that has other run dates already. Sizes take turns.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.events import Shop
from benchmarks.events.files import write_config
from benchmarks.events.fill import events_table, fill_lake, write_partition
from benchmarks.measure import Cost, costs, interleaved, median, report, spread
from benchmarks.options import parser
from nightshift.config import load
from nightshift.contracts import check
from nightshift.lake import Lake
from nightshift.lake.stages import open_stage
from nightshift.runs import Night, open_night

HISTORY_DAYS = 60


def main(argv: list[str] | None = None) -> None:
    arguments = parser("commit", __doc__)
    arguments.add_argument(
        "--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000], help="of a run date"
    )
    args = arguments.parse_args(argv)
    beside = args.out.parent if args.out and args.out.parent.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="commit-", dir=beside) as f:
        folder = Path(f)
        shop = Shop(events_a_day=2_000)
        settings = load(write_config(shop, folder, "parquet"))
        night = open_night(settings, shop.first_day + dt.timedelta(days=HISTORY_DAYS), home=folder / "home")
        lake = Lake(night.home / "lake")
        days = [shop.first_day + dt.timedelta(days=n) for n in range(HISTORY_DAYS)]
        fill_lake(shop, lake, settings.source, days)
        one_size(night, lake, 1_000)  # what is imported and made ready once is not counted
        found = interleaved(
            args.repeats, {str(size): partial(one_size, night, lake, size) for size in sorted(args.rows)}
        )
    rows = [row(values) for values in found.values()]
    report("commit", rows, vars(args), args.out, found)


def one_size(night: Night, lake: Lake, size: int) -> dict[str, Cost]:
    """Write, audit and commit about `size` events of the night's run date."""
    plain = Shop(events_a_day=size)
    factor = plain.baskets(night.run_date) * plain.lines_a_basket / size  # of the season, on that day
    shop = Shop(events_a_day=max(10, round(size / factor)), users=max(1_000, size // 5))
    staged = open_stage(lake.path("events"), (night.run_date.isoformat(),))
    with costs() as write:
        rows = write_partition(shop, lake.path("events") / staged.folder, night.run_date)
    write.told = {"rows": rows, "bytes": sum(file.stat().st_size for file in lake.staged_files(staged))}
    types = [kind.name for kind in night.settings.source.event_types]
    with costs() as audit:
        check(night, "validate_events", {"events": lake.staged_files(staged)}, event_types=types)
    with costs() as commit:
        lake.commit(staged, events_table)
    return {"write": write, "audit": audit, "commit": commit}


def row(values: list[dict[str, Cost]]) -> dict[str, Any]:
    rows = values[0]["write"].told["rows"]
    audit = [value["audit"].seconds for value in values]
    return {
        "rows": rows,
        "MiB": round(values[0]["write"].told["bytes"] / 2**20, 1),
        "audit, s": spread(audit),
        "commit, s": spread([value["commit"].seconds for value in values]),
        "rows audited a second": int(rows / median(audit)),
        "peak memory, MiB": round(max(v["audit"].peak_mib for v in values)),
    }


if __name__ == "__main__":
    main()
