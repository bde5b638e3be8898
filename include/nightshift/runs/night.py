"""A night at work: its folder, the summaries its steps leave, and the cut-offs it learns and is tested at."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nightshift.config import Settings
from nightshift.config.settings import CURRENT
from nightshift.runs.durable import replacing
from nightshift.runs.home import home_of


@dataclass(frozen=True)
class Night:
    """One run over one run date. Everything it writes by itself lies in `folder`, and may be written again.

    Attributes:
        channel: for which lists are made. Any other than `current` has a folder of its own in the night's, and reads
            there what the night left, as far as it did not do the step itself.
    """

    settings: Settings
    run_date: dt.date
    run_id: str
    home: Path
    channel: str = CURRENT

    @property
    def folder(self) -> Path:
        night = self.home / "nights" / self.run_date.isoformat()
        return night if self.channel == CURRENT else night / "channels" / self.channel

    @property
    def test_cutoff(self) -> dt.date:
        """The last day that the tested model may know; the days after it, up to the run date, are the test."""
        return self.run_date - dt.timedelta(days=self.settings.evaluation.test_days)

    @property
    def ranker_cutoff(self) -> dt.date:
        """The last day behind the ranker's training candidates; the days up to `test_cutoff` are their labels."""
        return self.test_cutoff - dt.timedelta(days=self.settings.evaluation.test_days)

    @property
    def cutoffs(self) -> tuple[dt.date, dt.date, dt.date]:
        """The days as of which features are needed, in time's order."""
        return self.ranker_cutoff, self.test_cutoff, self.run_date

    def write_json(self, name: str, value: Any) -> None:
        """Put `name`.json into the folder, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"{name}.json"
        with replacing(target) as partial:
            partial.write_text(json.dumps(value, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")

    def read_json(self, name: str) -> Any:
        """What a step before this one left.

        Raises:
            FileNotFoundError: it has not run for this run date; the message names the command.
        """
        try:
            return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            if self.channel != CURRENT:
                return replace(self, channel=CURRENT).read_json(name)
            command = f"python -m jobs.{name} --run-date {self.run_date}"
            raise FileNotFoundError(f"{name} has left nothing for {self.run_date}: run `{command}` first") from None

    def fresh_folder(self, name: str) -> Path:
        """An empty folder to write `name` in; `keep_folder` makes it the night's."""
        partial = self.folder / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        return partial

    def keep_folder(self, name: str) -> Path:
        """Put what was written under `fresh_folder(name)` in the place of what the night had under that name."""
        final = self.folder / name
        shutil.rmtree(final, ignore_errors=True)
        (self.folder / f"{name}.partial").rename(final)
        return final


def open_night(settings: Settings, run_date: dt.date, run_id: str = "by-hand", home: Path | None = None) -> Night:
    """The night of `run_date`, in `home`, else where all state lies."""
    return Night(settings, run_date, safe_run_id(run_id), (home or home_of(settings)).absolute())


def safe_run_id(run_id: str) -> str:
    """A run id that can be a folder's name; what had to be replaced is told apart by a hash."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", run_id).strip(".-") or "run"
    if safe != run_id or len(safe) > 100:
        safe = f"{safe[:90]}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"
    return safe
