"""What a table's log says happened between two versions, read from its commits as the protocol lays them out."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERSIONED = re.compile(r"\d{20}\.(json|checkpoint\..*parquet)")
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


def newest_version(folder: Path) -> int:
    """The version of the table in a folder, by the names in its log; BEFORE_THE_FIRST where there is no table."""
    names = (path.name for path in (folder / "_delta_log").glob("*"))
    return max((int(name[:20]) for name in names if VERSIONED.fullmatch(name)), default=BEFORE_THE_FIRST)


def log_file(folder: Path, version: int) -> Path:
    """Where a version's commit lies."""
    return folder / "_delta_log" / f"{version:020d}.json"


def _commits(folder: Path, base: int, newest: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    for version in range(base + 1, newest + 1):
        text = log_file(folder, version).read_text()
        yield version, [json.loads(line) for line in text.splitlines() if line]
