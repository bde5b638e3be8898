"""A night of a million events upon a hundred million of history: how long, how much memory, and where the time goes.

    python -m benchmarks.scale --work var/scale --out var/figures

The first night meets a Spark server that is up and cold, the next a warm one. The memory is that of all processes
together: the step, the Spark server, and what they start. --limit is a claim that is checked, not enforced.
"""

from __future__ import annotations

import argparse
import re
from itertools import pairwise
from typing import Any

from benchmarks.company import NIGHTLY, Company, warm_engine
from benchmarks.measure import Cost, costs, report
from benchmarks.options import parser, shop_of, with_history
from nightshift.lake import engine
from nightshift.runs.steps import STEPS

LINE = re.compile(r"^(\d\d):(\d\d):(\d\d) (.*)")


def main(argv: list[str] | None = None) -> None:
    arguments = with_history(parser("scale", __doc__))
    arguments.set_defaults(events_a_day=1_000_000, users=1_000_000, items=50_000, repeats=2, memory="3g")
    arguments.add_argument("--days", type=int, default=100, help="of history (100)")
    arguments.add_argument("--limit", type=float, default=8.0, help="GiB that the night may take (8)")
    arguments.add_argument("--through", choices=STEPS, default=NIGHTLY[-1], help="the last step (build_features)")
    args = arguments.parse_args(argv)
    company = Company(args.work / f"scale-{args.days}-days", shop_of(args))
    steps = STEPS[: STEPS.index(args.through) + 1]
    rows: list[dict[str, Any]] = []
    with warm_engine(args.work / "spark", f"local[{args.cores}]", args.memory) as section:
        company.prepare(args.days, section, args.cores)
    with warm_engine(args.work / "spark", f"local[{args.cores}]", args.memory) as section:  # its memory counts anew
        company.prepare(args.days, section, args.cores)
        nights = [one_night(company, steps, args) for _ in range(args.repeats)]
    rows = [row for number, night in enumerate(nights, 1) for row in table(number, night)]
    report("scale", rows, vars(args), args.out, nights)
    peak = max(cost.peak_mib for night in nights for cost in night.values()) / 1024
    history = company.lake.arrow("events", ["run_date"]).num_rows
    verdict = "under" if peak < args.limit else "NOT under"
    print(f"\nPeak {peak:.1f} GiB, {verdict} {args.limit:g} GiB; the lake holds {history:,} events.")


def one_night(company: Company, steps: tuple[str, ...], args: argparse.Namespace) -> dict[str, Cost]:
    """The next day's steps; each cost includes the Spark server's memory."""
    day = company.next_day
    company.deliver(day)
    server = engine.running(args.work / "spark")
    found = {}
    for step in steps:
        with costs(*([server["pid"]] if server else [])) as cost:
            cost.told = company.step(step, day).told
        found[step] = cost
    return found


def table(number: int, night: dict[str, Cost]) -> list[dict[str, Any]]:
    total = sum(cost.seconds for cost in night.values())
    return [
        {
            "night": number,
            "step": step,
            "seconds": round(cost.seconds, 1),
            "share": f"{cost.seconds / total:.0%}",
            "peak, MiB": round(cost.peak_mib),
            "longest part": longest(cost.told.get("log", [])),
        }
        for step, cost in night.items()
    ]


def longest(log: list[str]) -> str:
    """The log line that was waited for longest, with the seconds: a hint at where in the step the time goes."""
    found = [LINE.match(line) for line in log]
    at = [(int(m[1]) * 3600 + int(m[2]) * 60 + int(m[3]), m[4]) for m in found if m]
    waits = [((b[0] - a[0]) % 86400, b[1]) for a, b in pairwise(at)]
    return "{} s until: {:.60}".format(*max(waits)) if waits else ""


if __name__ == "__main__":
    main()
