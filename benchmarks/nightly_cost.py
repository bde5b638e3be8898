"""What a night of data costs after ever more history: ingest, validation and features, through the command lines.

    python -m benchmarks.nightly_cost --work var/bench --out var/figures

For each length of history a lake is filled and the features as of its last day are built; then the next nights are run,
one after the other, the lengths in turn. All share one warm Spark server, and the first night of each is not counted.
The claim: after the longest history a night takes at most a fifth longer than after the shortest. The customers are the
same throughout, nearly all of them known after 30 days: a night writes a row a customer, whatever the history. With
--users 200000 the customers become more as the history gets longer, and the night longer with them.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from benchmarks.company import NIGHTLY, Company, warm_engine
from benchmarks.measure import Cost, interleaved, median, report, spread
from benchmarks.options import parser, shop_of, with_history

FLAT = 1.2
DAY = dt.timedelta(days=1)


def main(argv: list[str] | None = None) -> None:
    arguments = with_history(parser("nightly_cost", __doc__))
    arguments.set_defaults(events_a_day=5000, users=20_000)
    arguments.add_argument("--history", type=int, nargs="+", default=[30, 90, 365, 1000], help="lengths, in days")
    args = arguments.parse_args(argv)
    shop = shop_of(args)
    with warm_engine(args.work / "spark", f"local[{args.cores}]", args.memory) as engine:
        companies = {}
        for days in sorted(args.history):
            company = companies[str(days)] = Company(args.work / f"after-{days}-days", shop)
            company.prepare(days, engine, args.cores)
            company.night()
        nights = interleaved(args.repeats, {name: company.night for name, company in companies.items()})
    rows = [row(companies[name], name, found) for name, found in nights.items()]
    shortest = rows[0]["median s"]
    for found in rows:
        found["against the shortest"] = round(found["median s"] / shortest, 3)
    report("nightly_cost", rows, vars(args), args.out, nights)
    longest = rows[-1]["against the shortest"]
    verdict = "flat within" if longest <= FLAT else "NOT flat within"
    print(
        f"\nA night after {rows[-1]['history, days']} days is {longest:.2f} of one after the shortest: {verdict} 20%."
    )


def row(company: Company, days: str, nights: list[dict[str, Cost]]) -> dict[str, Any]:
    """A line of the table: the night, its steps, and what it had behind it."""
    totals = [sum(cost.seconds for cost in night.values()) for night in nights]
    customers = company.lake.arrow("user_features", ["user_id"], [("run_date", "=", company.next_day - DAY)])
    events = sum(company.lake.arrow("ingest_counts", ["kept"])["kept"].to_pylist())
    return {
        "history, days": int(days),
        "events in the lake": events,
        "customers": customers.num_rows,
        "a night, s": spread(totals),
        "median s": round(median(totals), 2),
        **{f"{step}, s": spread([night[step].seconds for night in nights]) for step in NIGHTLY},
        "new rows": int(median([night["ingest"].told["rows_in"] for night in nights])),
        "peak of the steps, MiB": round(max(cost.peak_mib for night in nights for cost in night.values())),
    }


if __name__ == "__main__":
    main()
