"""What a table's log says happened between two versions, read from its commits as the protocol lays them out."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEFORE_THE_FIRST = -1  # the version of a table that is not there yet


@dataclass(frozen=True)
class Since:
    """What others, and this run, committed."""

    rewritten: dict[str, int]  # run date: the last version that changed its rows
    writes: dict[str, int]  # the name that a commit of ours was given: its version


def since(folder: Path, base: int, newest: int, run_dates: Collection[str]) -> Since:
    """What the commits after version `base` did, up to `newest`. A compaction changes no rows and does not count.

    Raises:
        FileNotFoundError: the log has been cleaned up since; it does not reach back to `base`.
    """
    rewritten: dict[str, int] = {}
    writes: dict[str, int] = {}
    for version, actions in _commits(folder, base, newest):
        for action in actions:
            if name := action.get("commitInfo", {}).get("stage"):
                writes[name] = version
            changed = action.get("add") or action.get("remove") or {}
            day = str((changed.get("partitionValues") or {}).get("run_date"))
            if day in run_dates and changed["dataChange"]:
                rewritten[day] = version
    return Since(rewritten, writes)


def _commits(folder: Path, base: int, newest: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    for version in range(base + 1, newest + 1):
        file = folder / "_delta_log" / f"{version:020d}.json"
        yield version, [json.loads(line) for line in file.read_text().splitlines() if line]
