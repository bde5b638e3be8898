"""Write the daily files of an imagined shop, with a configuration that reads them and the truth that is planted.

    python -m benchmarks.events --out var/shop --days 365 --events-a-day 100000 --format parquet

Leaves `<run date>.parquet` (or .csv.gz) a day, `nightshift.yaml` and `planted.json`. The same arguments write the same
bytes, and a day that is made alone (--only) is the same as in a series.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time
from pathlib import Path

from benchmarks.events.files import write_config, write_day, write_truth
from benchmarks.events.shop import Drift, Flaws, Shop


def main(argv: list[str] | None = None) -> None:
    args = arguments().parse_args(argv)
    shop = shop_of(args)
    days = [args.only] if args.only else [args.first_day + dt.timedelta(days=n) for n in range(args.days)]
    args.out.mkdir(parents=True, exist_ok=True)
    write_config(shop, args.out, args.format)
    started, deliveries = time.monotonic(), []
    for number, day in enumerate(days, 1):
        deliveries.append(write_day(shop, day, args.out, args.format))
        if number % 10 == 0 or number == len(days):
            rows = sum(delivery.rows for delivery in deliveries)
            rate = rows / max(time.monotonic() - started, 1e-9)
            print(f"{day}: {number} of {len(days)} days, {rows:,} rows, {rate:,.0f} rows/s", file=sys.stderr)
    if not args.only:
        write_truth(shop, args.out, deliveries)
    print(args.out / "nightshift.yaml")


def arguments() -> argparse.ArgumentParser:
    default = Shop()
    parser = argparse.ArgumentParser(
        "python -m benchmarks.events", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to write into")
    parser.add_argument("--days", type=int, default=365, help="how many days (365)")
    parser.add_argument("--only", type=dt.date.fromisoformat, help="write the file of this day alone")
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv", help="of the files (csv, packed)")
    parser.add_argument("--first-day", type=dt.date.fromisoformat, default=default.first_day, help="(2022-01-01)")
    add_shop_arguments(parser)
    return parser


def add_shop_arguments(parser: argparse.ArgumentParser) -> None:
    """What shapes a shop."""
    default, drift, flaws = Shop(), Drift(), Flaws()
    parser.add_argument("--events-a-day", type=int, default=default.events_a_day, help="on a mean day (100000)")
    parser.add_argument("--users", type=int, default=default.users, help="(200000)")
    parser.add_argument("--items", type=int, default=default.items, help="of the grown catalogue (20000)")
    parser.add_argument("--seed", type=int, default=default.seed, help="of all that is drawn (7)")
    parser.add_argument("--late", type=float, default=flaws.late, help="share of rows that come 1 to 3 days late")
    parser.add_argument("--repeated", type=float, default=flaws.repeated, help="share of rows that come twice")
    parser.add_argument("--broken", type=float, default=flaws.broken, help="share of rows that are no events")
    parser.add_argument("--drift-from", type=dt.date.fromisoformat, help="the day on which the shop changes (never)")
    parser.add_argument("--drift-taste", type=float, default=drift.taste, help="share of users whose taste turns")
    parser.add_argument("--drift-price", type=float, default=drift.price, help="factor on prices")
    parser.add_argument("--drift-volume", type=float, default=drift.volume, help="factor on baskets")


def shop_of(args: argparse.Namespace) -> Shop:
    return Shop(
        seed=args.seed,
        first_day=args.first_day,
        events_a_day=args.events_a_day,
        users=args.users,
        items=args.items,
        drift=Drift(args.drift_from, args.drift_taste, args.drift_price, args.drift_volume),
        flaws=Flaws(args.late, args.repeated, args.broken),
    )


if __name__ == "__main__":
    main()
