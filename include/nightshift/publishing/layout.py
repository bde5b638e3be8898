"""Where things lie in the store: `<surface>/current.json` and `<surface>/runs/<run date>/<run id>/manifest.json`."""

from __future__ import annotations

import datetime as dt

MANIFEST = "manifest.json"


def pointer_key(surface: str) -> str:
    return f"{surface}/current.json"


def runs_folder(surface: str) -> str:
    return f"{surface}/runs/"


def run_folder(surface: str, run_date: dt.date, run_id: str) -> str:
    return f"{runs_folder(surface)}{run_date.isoformat()}/{run_id}/"


def date_of(manifest: str) -> dt.date:
    """The run date of the run whose manifest has this key."""
    return dt.date.fromisoformat(manifest.split("/")[-3])
