"""Files that nobody sees yet: a folder `stage-*` in the table's own, and a marker beside it that says whose it is.

Whoever is killed before the commit leaves both. The next stage for one of its run dates sweeps them, unless the run
they belong to is still at work.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import shutil
import socket
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nightshift.lake.log import BEFORE_THE_FIRST, newest_version, since
from nightshift.lake.processes import is_alive, started
from nightshift.runs import StepError

log = logging.getLogger("nightshift.lake")

ABANDONED = dt.timedelta(hours=24)  # a stage that nobody touched for so long is nobody's


class LakeError(StepError):
    """A table is not there, or what was staged is not what its table declares, or another run was faster."""


@dataclass(frozen=True)
class Staged:
    """Files written for some run dates of a table, not visible yet. `as_dict` survives the process that wrote them."""

    table: str
    folder: str  # inside the table's folder
    run_dates: tuple[str, ...]
    base: int = BEFORE_THE_FIRST  # the table's version when they were staged

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, value: dict[str, Any]) -> Staged:
        return cls(**{**value, "run_dates": tuple(value["run_dates"])})


@dataclass(frozen=True)
class Owner:
    """What a marker says: which process is at work on the stage, for which run dates, and since when."""

    run_dates: tuple[str, ...]
    base: int
    host: str
    pid: int
    started: int  # the kernel's ticks
    at: str  # UTC, ISO 8601

    def is_at_work(self, now: dt.datetime) -> bool:
        """Whether another process may still need the stage. Of another machine's only the age is known."""
        if (self.host, self.pid, self.started) == _this_process():
            return False
        if now - dt.datetime.fromisoformat(self.at) > ABANDONED:
            return False
        return self.host != socket.gethostname() or is_alive(self.pid, self.started)


def _this_process() -> tuple[str, int, int]:
    return socket.gethostname(), os.getpid(), started(os.getpid())


def open_stage(folder: Path, run_dates: tuple[str, ...]) -> Staged:
    """A new stage for these run dates in a table's folder, after what killed runs left for them is swept."""
    folder.mkdir(parents=True, exist_ok=True)
    now = dt.datetime.now(dt.UTC)
    for marker, owner in markers(folder):
        if owner and set(owner.run_dates) & set(run_dates):
            if owner.is_at_work(now):
                log.warning("%s: process %d on %s is at work on it too", marker.parent.name, owner.pid, owner.host)
            else:
                sweep(marker, owner)
    staged = Staged(folder.name, f"stage-{uuid.uuid4().hex}", run_dates, newest_version(folder))
    claim(folder, staged)
    return staged


def claim_again(folder: Path, staged: Staged) -> None:
    """Say that this process is at work on a stage now, which another wrote. A committed one is let be."""
    if _marker(folder, staged.folder).exists():
        claim(folder, staged)


def claim(folder: Path, staged: Staged) -> None:
    """Leave the marker of a stage that this process is at work on."""
    owner = Owner(staged.run_dates, staged.base, *_this_process(), dt.datetime.now(dt.UTC).isoformat())
    _marker(folder, staged.folder).write_text(json.dumps(asdict(owner)))


def release(folder: Path, staged: Staged) -> None:
    """Say that a stage has been committed: it is the table's now."""
    _marker(folder, staged.folder).unlink(missing_ok=True)


def markers(folder: Path) -> list[tuple[Path, Owner | None]]:
    """The markers in a table's folder; None for one that is cut off or of another form."""
    found: list[tuple[Path, Owner | None]] = []
    for marker in sorted(folder.glob("stage-*.uncommitted")):
        try:
            value = json.loads(marker.read_text())
            found.append((marker, Owner(**{**value, "run_dates": tuple(value["run_dates"])})))
        except FileNotFoundError:
            continue  # committed, or swept by another, meanwhile
        except (ValueError, TypeError, KeyError):
            found.append((marker, None))
    return found


def sweep(marker: Path, owner: Owner | None) -> None:
    """Remove a stage that was never committed. Of one that may have been, only the marker goes."""
    folder, stage = marker.parent, marker.stem
    try:
        base = owner.base if owner else BEFORE_THE_FIRST
        was_committed = stage in since(folder, base, newest_version(folder), ()).writes
    except FileNotFoundError:  # the log does not reach back: the vacuum knows which files a version still needs
        was_committed = True
    if not was_committed:
        log.info("sweeping %s, which a run before this one left", folder / stage)
        shutil.rmtree(folder / stage, ignore_errors=True)
    marker.unlink(missing_ok=True)


def _marker(folder: Path, stage: str) -> Path:
    return folder / f"{stage}.uncommitted"
