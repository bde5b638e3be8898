"""Where things lie in the store:

<surface>/current.json                                   the pointer
<surface>/channels/<name>.json                           a pointer beside it, that an experiment's variant reads
<surface>/runs/<run date>/<run id>/manifest.json         a run; pruned.json, once it is about to be removed
<surface>/runs/<run date>/<run id>/parts/part-...lmdb    its users' records; items/ its items'; lists/ Parquet
<surface>/leases/<reader>-<random>.json                  who reads which run
"""

from __future__ import annotations

import datetime as dt

from nightshift.config.settings import CURRENT

MANIFEST = "manifest.json"
PRUNED = "pruned.json"


def pointer_key(surface: str, channel: str = CURRENT) -> str:
    return f"{surface}/current.json" if channel == CURRENT else f"{channels_folder(surface)}{channel}.json"


def channels_folder(surface: str) -> str:
    return f"{surface}/channels/"


def runs_folder(surface: str) -> str:
    return f"{surface}/runs/"


def run_folder(surface: str, run_date: dt.date, run_id: str) -> str:
    return f"{runs_folder(surface)}{run_date.isoformat()}/{run_id}/"


def run_folder_of(key: str) -> str:
    """The folder of the run that this key is part of."""
    return "/".join(key.split("/")[:4]) + "/"


def leases_folder(surface: str) -> str:
    return f"{surface}/leases/"


def date_of(manifest: str) -> dt.date:
    """The run date of the run whose manifest has this key."""
    return dt.date.fromisoformat(manifest.split("/")[-3])
