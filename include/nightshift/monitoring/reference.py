"""The reference that drift is measured against: how a model's own data looked, kept beside the model as JSON.

Beside its folder, not in it: what is in a version's folder was hashed when it was registered.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nightshift.monitoring.bins import Bins, fit
from nightshift.monitoring.windows import Window, compared, frames, nights_live
from nightshift.runs import Night, StepError
from nightshift.runs.durable import replacing

FILE = "reference.json"
FORMAT = 1


class ReferenceError(StepError):
    """A reference cannot be used: it is not one, or of another format."""


@dataclass(frozen=True)
class Reference:
    """Bins by frame and column, and where they come from."""

    origin: str
    window: Window | None
    frames: dict[str, dict[str, Bins]]


def reference(rows: Mapping[str, pd.DataFrame], window: Window | None = None) -> dict[str, Any]:
    """The bins of every column worth comparing, ready for JSON.

    Args:
        rows: rows by frame name, as `windows.frames` loads them: events, user_features, item_features, lists.
            Columns that identify a row or date it are passed over.
        window: the days that the rows are of.
    """
    return {
        "format": FORMAT,
        "window": [window.start.isoformat(), window.end.isoformat()] if window else None,
        "frames": {
            name: {column: asdict(fit(frame[column])) for column in compared(frame)}
            for name, frame in sorted(rows.items())
        },
    }


def keep(night: Night, folder: Path) -> Path:
    """Keep how the data looks tonight beside the model in `folder`, unless another night that it served has done so.

    To be called when the night's lists are written, with the folder of the model that made them: their scores are part
    of the reference.
    """
    window, file = Window.last(night.run_date, night.settings.monitoring.window_days), file_of(folder)
    if file.is_file() and _window_of(folder) != window:
        return file
    return write(folder, reference(frames(night, window, unjudged=True), window))


def file_of(folder: Path) -> Path:
    """Where the reference of the model in `folder` lies."""
    return folder.with_name(f"{folder.name}.{FILE}")


def _window_of(folder: Path) -> Window | None:
    """The days that a reference is of; None where they are not known, or the file is damaged."""
    try:
        return read(folder, str(folder)).window
    except ReferenceError:
        return None


def write(folder: Path, value: dict[str, Any]) -> Path:
    """Keep a reference beside the model in `folder`, whole or not at all."""
    target = file_of(folder)
    with replacing(target) as partial:
        partial.write_text(json.dumps(value, indent=None, sort_keys=True) + "\n", encoding="utf-8")
    return target


def read(folder: Path, origin: str) -> Reference:
    """The reference kept beside the model in `folder`; `origin` says in words whose it is.

    Raises:
        FileNotFoundError: there is none.
        ReferenceError: the file is something else.
    """
    file = file_of(folder)
    try:
        return parse(json.loads(file.read_text(encoding="utf-8")), origin)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {file}: run the night again, or give --reference FROM..TO") from None
    except (ReferenceError, ValueError) as error:
        raise ReferenceError(f"{file}: {error}; give --reference FROM..TO instead") from None


def of_served_model(home: Path, run_date: dt.date) -> Reference:
    """The reference of the model behind the lists that were live on `run_date`: the verdict of the last night that went
    live, and was not rolled back, names it (`served`), and says where its files lie.

    Raises:
        FileNotFoundError: no such night, or it kept no reference.
        ReferenceError: the file is something else.
        StoreError: the pointer to what is live cannot be read.
    """
    live = nights_live(home, Window(dt.date.min, run_date))
    if not live:
        raise FileNotFoundError(f"no night up to {run_date} is or was live: publish one, or give --reference FROM..TO")
    night = live[0]
    try:
        served = json.loads((night / "verdict.json").read_text(encoding="utf-8")).get("served") or {}
    except FileNotFoundError:
        served = {}
    folder = home / (served.get("folder") or night / "model")
    name = served.get("kind") or served.get("name") or "the model"
    version = f" version {served['version']}" if served.get("version") else ""
    return read(folder, f"{name}{version}, served by the night of {night.name}")


def parse(value: Any, origin: str) -> Reference:
    """What `reference` made, back from JSON.

    Raises:
        ReferenceError: it is not that.
    """
    found = value.get("format") if isinstance(value, dict) else None
    if found != FORMAT:
        raise ReferenceError(f"not a drift reference of format {FORMAT} (found {found!r})")
    try:
        days = value["window"]
        window = Window(*(dt.date.fromisoformat(day) for day in days)) if days else None
        frames = {
            name: {column: _bins(bins) for column, bins in columns.items()} for name, columns in value["frames"].items()
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ReferenceError(f"a damaged drift reference ({type(error).__name__}: {error})") from None
    return Reference(origin, window, frames)


def _bins(value: dict[str, Any]) -> Bins:
    bins = Bins(
        value["kind"], tuple(value["edges"]), tuple(value["categories"]), tuple(value["counts"]), value["known"]
    )
    if len(bins.counts) != len(bins.labels):
        raise ValueError(f"{len(bins.counts)} counts for {len(bins.labels)} bins")
    return bins
