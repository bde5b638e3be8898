"""A suite that a test writes, in the place of those that ship, and a night to check it in."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nightshift.config import load
from nightshift.runs import Night, open_night

ROOT = Path(__file__).parents[2]
RUN_DATE = dt.date(2011, 11, 30)

Entry = tuple[str, dict[str, Any], dict[str, Any]]  # type, kwargs, meta


def night_of(home: Path, run_date: dt.date = RUN_DATE, **validation: Any) -> Night:
    settings = load(ROOT / "nightshift.yaml")
    if validation:
        changed = settings.validation.model_validate({**settings.validation.model_dump(), **validation})
        settings = settings.model_copy(update={"validation": changed})
    return open_night(settings, run_date, home=home)


def write_suite(folder: Path, name: str, entries: Sequence[Entry], columns: dict[str, str] | None = None) -> None:
    expectations = [{"type": kind, "kwargs": kwargs, "meta": meta} for kind, kwargs, meta in entries]
    suite = {"name": name, "expectations": expectations, "meta": {"columns": columns or {}}}
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(suite))
