"""Which share of the nights' time went into validation, from what the nights left behind.

    python -m benchmarks.validation_share --home var --out var/figures

A step's summary says how long it took, and what of it its checks took (`validation_seconds`), page of checks included.
Where a step that has a gate does not say, the whole of it counts: the share is an upper bound then, and marked as such.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.measure import report
from benchmarks.options import parser
from nightshift.runs.steps import STEPS

GATED = ("validate_events", "build_features", "train", "validate_lists")  # steps that check something
CLAIM = 0.05


def main(argv: list[str] | None = None) -> None:
    arguments = parser("validation_share", __doc__, repeats=False)
    arguments.add_argument("--home", type=Path, required=True, help="the NIGHTSHIFT_HOME of nights that were run")
    args = arguments.parse_args(argv)
    nights = sorted(path for path in (args.home / "nights").iterdir() if path.is_dir())
    rows = [found for night in nights if (found := share(night))]
    report("validation_share", rows, vars(args), args.out)
    if rows:
        total = sum(row["validation, s"] for row in rows) / sum(row["night, s"] for row in rows)
        print(f"\nValidation took {total:.1%} of {len(rows)} nights; the claim is under {CLAIM:.0%}.")


def share(night: Path) -> dict[str, Any] | None:
    """A night's line; None where it has no summaries."""
    summaries = {step: json.loads((night / f"{step}.json").read_text()) for step in STEPS if _left(night, step)}
    if not summaries:
        return None
    parts, told = {}, True
    for step, summary in summaries.items():
        seconds = summary.get("validation_seconds")
        if seconds is None and step in GATED:
            seconds, told = summary["seconds"], False
        if seconds is not None:
            parts[step] = seconds
    total = sum(summary["seconds"] for summary in summaries.values())
    return {
        "night": night.name,
        "steps": len(summaries),
        "night, s": round(total, 2),
        "validation, s": round(sum(parts.values()), 2),
        "share": f"{'' if told else 'at most '}{sum(parts.values()) / total:.1%}",
        "by step, s": ", ".join(f"{step} {seconds:.2f}" for step, seconds in parts.items()),
    }


def _left(night: Path, step: str) -> bool:
    return (night / f"{step}.json").is_file()


if __name__ == "__main__":
    main()
