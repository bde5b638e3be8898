"""What a request and a user's list cost, as measured: by `benchmarks.lookup`, or as it was when this was written."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path

ALL_ON = "with everything on"  # the row of `benchmarks.lookup` to plan with


@dataclass(frozen=True)
class Measured:
    """Of one process of the lookup service on one core, with keys, access log, experiments and exposures on.

    Attributes:
        cpu_us: processor time of a request, the kernel's part of sending it included.
        answer_bytes: of an answer, without its headers.
        user_bytes: of a published run on disk, by user.
        process_mib: that a process holds besides what it maps.
    """

    cpu_us: float = 55.8
    answer_bytes: int = 3401
    user_bytes: float = 4208.0
    process_mib: float = 139.0
    source: str = "benchmarks.lookup with everything on: 20 items a list; bytes a user of a run of 1,000,000 users"


def measured(file: Path | None) -> Measured:
    """From the JSON that `benchmarks.lookup --out` leaves; without a file, what is known.

    Raises:
        ValueError: the file is not one of that benchmark.
    """
    if file is None:
        return Measured()
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))["raw"]
        runs, told = raw["peaks"][ALL_ON], raw["told"]
        return Measured(
            cpu_us=statistics.median(run["cpu_us"] for run in runs),
            answer_bytes=told["answer_bytes"],
            process_mib=told["memory_mib"][ALL_ON]["own"],
            source=str(file.name),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is not what `python -m benchmarks.lookup --out` leaves: {error!r}") from None
