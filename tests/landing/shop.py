"""A small company whose files a test writes line by line, and whose nights it runs up to the committed events."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs import command
from jobs.ingest import ingest
from jobs.validate_events import validate_events
from nightshift.config import Settings
from nightshift.config.settings import Engine
from nightshift.lake import Lake
from nightshift.runs import Night, open_night

HEADER = "order,buyer,sku,name,units,cost,at,land"

SOURCE = {
    "address": "days/{run_date}.csv",
    "format": "csv",
    "timezone": "Europe/London",
    "first_day": "2011-06-01",
    "when_missing": "empty",
    "types": {"units": "double", "cost": "double", "at": "timestamp"},
    "columns": {"user": "buyer", "item": "sku", "time": "at", "quantity": "units", "price": "cost", "basket": "order"},
    "event_types": [
        {"name": "cancellation", "when": "order like 'C%'", "weight": -1},
        {"name": "purchase", "when": "units > 0", "weight": 1},
    ],
    "contract": {"buyer is known": "buyer <> ''", "cost is positive": "cost > 0"},
    "item_attributes": {"title": "name"},
    "user_attributes": {"country": "land"},
}


def june(number: int) -> dt.date:
    """The `number`th of June 2011."""
    return dt.date(2011, 6, number)


def line(order: str, buyer: str, sku: str, at: str, units: object = 1, cost: object = 2.5) -> str:
    """A row of the file; `at` is like `01 09:30`, a day of June and a time in London."""
    return f"{order},{buyer},{sku},Thing {sku},{units},{cost},2011-06-{at}:00,GB"


@dataclass
class Shop:
    """One company in one folder: `deliver` its files, `land` its days, and look at its `events`."""

    home: Path
    engine: Engine
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        values = {"name": "shop", "source": {**SOURCE, **self.source}, "engine": self.engine, "folder": self.home}
        return Settings.model_validate(values)

    @property
    def lake(self) -> Lake:
        return Lake(self.home / "var" / "lake")

    def night(self, day: int) -> Night:
        return open_night(self.settings, june(day), "test", self.home / "var")

    def deliver(self, day: int, lines: Sequence[str], header: str | None = HEADER) -> Path:
        """Write the file of a day, in the place of the one before."""
        file = self.home / self.settings.source.address.format(run_date=june(day))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join([*([header] if header else []), *lines]) + "\n", encoding="utf-8")
        return file

    def ingest(self, day: int) -> dict[str, Any]:
        return command.execute(ingest, self.night(day), time.monotonic())

    def validate(self, day: int) -> dict[str, Any]:
        return command.execute(validate_events, self.night(day), time.monotonic())

    def land(self, day: int) -> dict[str, Any]:
        """Ingest a day, and commit it if it passes. Returns what ingest told."""
        told = self.ingest(day)
        self.validate(day)
        return told

    def events(self) -> list[tuple[Any, ...]]:
        """The whole table, in an order of its own."""
        return self._rows("events")

    def kept(self) -> list[tuple[str, str, str]]:
        """Run date, basket and item of every event."""
        frame = self.lake.pandas("events")
        return sorted(
            (day.isoformat(), *rest)
            for day, *rest in frame[["run_date", "basket_id", "item_id"]].itertuples(index=False)
        )

    def quarantined(self) -> list[tuple[str, str]]:
        """Reason and raw line of every refused row."""
        return sorted(self.lake.pandas("quarantine")[["reason", "raw"]].itertuples(index=False, name=None))

    def counts(self) -> list[tuple[Any, ...]]:
        """Run date, and rows in, kept, quarantined and repeated."""
        return self._rows("ingest_counts", ["run_date", "rows_in", "kept", "quarantined", "duplicates"])

    def _rows(self, table: str, columns: list[str] | None = None) -> list[tuple[Any, ...]]:
        frame = self.lake.pandas(table, columns)
        return sorted(map(tuple, frame[columns or sorted(frame)].astype(str).to_numpy()))
