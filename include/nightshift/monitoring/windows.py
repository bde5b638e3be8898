"""Windows of business days, and the rows of one window that drift is measured on."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nightshift.lake import Lake
from nightshift.publishing.manifest import Run
from nightshift.publishing.pointer import Pointer, read_pointer
from nightshift.publishing.storage import open_storage
from nightshift.runs import Night

FEATURES = ("user_features", "item_features")

# Identify a row or date it, or are another column in other words: nothing to compare between windows.
NOT_COMPARED = frozenset({
    "run_date", "event_id", "user_id", "item_id", "basket_id", "neighbour_id", "similar_id", "event_date",
    "event_time", "weight", "rank", "reason", "items", "days_ago",
})  # fmt: skip


@dataclass(frozen=True)
class Window:
    """Business days from `start` to `end`, both included."""

    start: dt.date
    end: dt.date

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"a window ends on or after its start, not {self}")

    def __str__(self) -> str:
        return f"{self.start}..{self.end}"

    @property
    def days(self) -> int:
        return (self.end - self.start).days + 1

    def overlap(self, other: Window) -> int:
        """Days that both have."""
        return max(0, (min(self.end, other.end) - max(self.start, other.start)).days + 1)

    @classmethod
    def last(cls, end: dt.date, days: int) -> Window:
        """The `days` days up to `end`."""
        return cls(end - dt.timedelta(days=days - 1), end)

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read `2011-10-01..2011-10-28`.

        Raises:
            ValueError: it is not that.
        """
        start, dots, end = text.partition("..")
        try:
            days = dt.date.fromisoformat(start), dt.date.fromisoformat(end if dots else start)
        except ValueError:
            raise ValueError(f"{text!r} is not a window of days like 2011-10-01..2011-10-28") from None
        return cls(*days)


def frames(night: Night, window: Window, *, unjudged: bool = False) -> dict[str, pd.DataFrame]:
    """The rows of a window, as the lake and the nights' folders had them on the night's run date.

    Args:
        unjudged: take the night's own lists although no gate has judged them yet.

    Returns:
        `events`: quantity, price, type and attributes of each event; `user_features` and `item_features`: the latest
        snapshot that lies in the window; `lists`: score and source of each entry of the latest lists in the window
        that passed their gate. A frame for which there is nothing is left out, and so are columns that identify a row.
    """
    lake = Lake(night.home / "lake")
    found = {
        "events": _events(lake, night, window),
        **{table: _snapshot(lake, table, window) for table in FEATURES},
        "lists": _lists(night.home, window, night.folder if unjudged else None),
    }
    return {name: frame[compared(frame)] for name, frame in found.items() if frame is not None}


def compared(frame: pd.DataFrame) -> list[str]:
    """The columns of a frame that drift is measured for, in the frame's order."""
    return [column for column in frame.columns if column not in NOT_COMPARED]


def newest_event(night: Night, end: dt.date) -> dt.datetime | None:
    """The time of the newest event up to the end of business day `end`, in the files up to the run date."""
    lake = Lake(night.home / "lake")
    files = sorted(_up_to(lake.run_dates("events"), night.run_date), reverse=True)
    later = [day for day in files if day > end.isoformat()]
    newest = _newest(lake, later[-1], later[0], end) if later else None
    for day in files[len(later) :]:
        if newest and day < newest[0]:
            break  # a file holds no event of a later day than its own
        newest = max(filter(None, [newest, _newest(lake, day, day, end)]), default=None)
    return newest[1] if newest else None


def _newest(lake: Lake, first: str, last: str, end: dt.date) -> tuple[str, dt.datetime] | None:
    """Business day and time of the newest event, up to the end of `end`, in the files from `first` to `last`."""
    where = [("run_date", ">=", first), ("run_date", "<=", last), ("event_date", "<=", end.isoformat())]
    rows = lake.pandas("events", columns=["event_time", "event_date"], where=where)
    if rows.empty:
        return None
    return str(rows["event_date"].max()), pd.Timestamp(rows["event_time"].max()).to_pydatetime()


def nights_with(home: Path, file: str, window: Window) -> list[Path]:
    """The folders of the nights in the window that have `file`, the latest first."""
    folders = (home / "nights").glob("????-??-??") if (home / "nights").is_dir() else ()
    first, last = window.start.isoformat(), window.end.isoformat()
    named = [folder for folder in folders if first <= folder.name <= last and (folder / file).is_file()]
    return sorted(named, reverse=True)


def nights_live(home: Path, window: Window) -> list[Path]:
    """The folders of the nights in the window that went live and were not rolled back since, the latest first.

    A night that was published beside a newer one, as by a backfill, was never live.
    """
    published = nights_with(home, "publish.json", window)
    pointer = _pointer(_told(published[0], "publish")) if published else None
    line = _names((pointer.run, *pointer.history)) if pointer else set()
    withdrawn = _names(pointer.withdrawn) if pointer else set()

    def went_live(folder: Path) -> bool:
        told = _told(folder, "publish")
        return told.get("run") in line or (bool(told.get("moved")) and told.get("run") not in withdrawn)

    return [folder for folder in published if went_live(folder)]


def _names(runs: Iterable[Run]) -> set[str]:
    """The runs' names, as they were before an erasure gave a run another."""
    return {str(run).partition(".erased-")[0] for run in runs}


def _pointer(told: Mapping[str, Any]) -> Pointer | None:
    """The pointer of the store that a night was published to."""
    if "store" not in told:
        return None
    found = read_pointer(open_storage(told["store"], told.get("endpoint")), told["surface"])
    return found[0] if found else None


def _events(lake: Lake, night: Night, window: Window) -> pd.DataFrame | None:
    if not lake.exists("events"):
        return None
    source = night.settings.source
    columns = ["event_type", "quantity", "price", *source.item_attributes, *source.user_attributes]
    where = [
        ("run_date", ">=", window.start.isoformat()),  # a file holds no event of a later day
        ("run_date", "<=", night.run_date.isoformat()),
        ("event_date", ">=", window.start.isoformat()),
        ("event_date", "<=", window.end.isoformat()),
    ]
    return lake.pandas("events", columns=columns, where=where)


def _snapshot(lake: Lake, table: str, window: Window) -> pd.DataFrame | None:
    """The features that the latest night in the window had of its own run date."""
    days = [day for day in _up_to(lake.run_dates(table), window.end) if day >= window.start.isoformat()]
    for day in sorted(days, reverse=True):
        rows = lake.pandas(table, where=[("run_date", "=", day)])
        if len(rows):
            return rows.drop(columns="state", errors="ignore")
    return None


def _lists(home: Path, window: Window, unjudged: Path | None) -> pd.DataFrame | None:
    for folder in nights_with(home, "lists/lists.parquet", window):
        if folder == unjudged or _passed(folder):
            return pd.read_parquet(folder / "lists" / "lists.parquet", columns=["score", "source"])
    return None


def _passed(folder: Path) -> bool:
    """Whether the lists that a night's folder holds are those that its gate let pass."""
    passed = _told(folder, "validate_lists").get("sha256") or {}
    lists = folder / "lists" / "lists.parquet"
    return bool(passed.get(lists.name) == hashlib.sha256(lists.read_bytes()).hexdigest())


def _told(folder: Path, step: str) -> dict[str, Any]:
    """What a step has left in a night's folder; nothing where it has not run."""
    try:
        told: dict[str, Any] = json.loads((folder / f"{step}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return told


def _up_to(days: Iterable[str], end: dt.date) -> list[str]:
    return [day for day in days if day <= end.isoformat()]
