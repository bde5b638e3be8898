"""What every benchmark shares: time and peak memory of a piece of work, repeats, a Markdown table, a JSON file."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from nightshift.runs import code_version

SAMPLE_SECONDS = 0.2

T = TypeVar("T")


@dataclass
class Cost:
    """What a piece of work took: wall-clock seconds, and the most that its processes held together, in MiB.

    Memory is resident sets added up, so what processes share counts once for each: an upper bound.
    """

    seconds: float = 0.0
    peak_mib: float = 0.0
    told: dict[str, Any] = field(default_factory=dict)


@contextlib.contextmanager
def costs(*others: int) -> Iterator[Cost]:
    """Measure the body: this process and all it starts, and the trees of `others` (pids), like a Spark server's."""
    cost, done = Cost(), threading.Event()
    roots = (os.getpid(), *others)

    def sample() -> None:
        while not done.is_set():
            cost.peak_mib = max(cost.peak_mib, tree_mib(roots))
            done.wait(SAMPLE_SECONDS)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    started = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - started
        done.set()
        sampler.join()


def tree_mib(roots: Sequence[int]) -> float:
    """Resident memory of processes and all their descendants, in MiB; those that are gone hold nothing."""
    children, resident = _processes()
    waiting, seen = list(roots), set[int]()
    while waiting:
        pid = waiting.pop()
        if pid not in seen:
            seen.add(pid)
            waiting += children.get(pid, [])
    return sum(resident.get(pid, 0) for pid in seen) / 2**20


def _processes() -> tuple[dict[int, list[int]], dict[int, int]]:
    """Children by parent, and bytes resident by process."""
    children: dict[int, list[int]] = {}
    resident: dict[int, int] = {}
    page = os.sysconf("SC_PAGE_SIZE")
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):  # it ended meanwhile
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            pid = int(folder.name)
            children.setdefault(int(fields[1]), []).append(pid)
            resident[pid] = int(fields[21]) * page
    return children, resident


def interleaved(repeats: int, alternatives: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Each alternative `repeats` times, one after the other in turn, so that the machine's moods hit all alike."""
    found: dict[str, list[T]] = {name: [] for name in alternatives}
    for number in range(repeats):
        for name, work in alternatives.items():
            say(f"repeat {number + 1} of {repeats}: {name}")
            found[name].append(work())
    return found


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """Median, and the lowest and highest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def say(line: str) -> None:
    print(f"{dt.datetime.now():%H:%M:%S} {line}", file=sys.stderr, flush=True)


def report(
    name: str, rows: Sequence[dict[str, Any]], arguments: dict[str, Any], out: Path | None, raw: Any = None
) -> None:
    """Print the rows as a Markdown table, and keep them as `<name>.json` in `out` with what they were measured on.

    Args:
        out: None: print only.
        raw: the single measurements behind the rows.
    """
    print(markdown(rows))
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{name}.json"
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in arguments.items()}
    content = {"benchmark": name, "arguments": plain, "machine": machine(), "rows": rows, "raw": raw}
    file.write_text(json.dumps(content, indent=1, default=_plain) + "\n", encoding="utf-8")
    say(f"kept as {file}")


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A table of the rows' keys and values; numbers to the right."""
    if not rows:
        return "(no rows)"
    names = list(rows[0])
    marks = ["---:" if isinstance(rows[0][name], int | float) else "---" for name in names]
    lines = [names, marks, *[[_shown(row[name]) for name in names] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "when": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "code": code_version(),
    }


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _plain(value: Any) -> Any:
    return asdict(value) if isinstance(value, Cost) else str(value)
