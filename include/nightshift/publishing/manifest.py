"""The manifest: what a published run holds, and all that made it. Written last: who finds it finds all it names."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from nightshift.config import Settings
from nightshift.publishing.layout import MANIFEST, run_folder

FORMAT = 3  # changes with what a reader must know: where a record lies, how it is written
PARTS, ITEMS, LISTS = "parts/", "items/", "lists"  # how a manifest's names of files begin


class Record(BaseModel):
    """JSON in the store. Fields that a later release adds are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> bytes:
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False).encode() + b"\n"


class Model(Record):
    """The model whose lists these are."""

    name: str
    version: str
    kind: str


class File(Record):
    """A file of the run; `path` is within the run's folder."""

    path: str
    sha256: str
    bytes: int


class Run(Record):
    """A published run, by name."""

    run_date: dt.date
    run_id: str
    manifest: str  # its key in the store
    content_hash: str

    def __str__(self) -> str:
        return f"{self.run_date}/{self.run_id}"


class Manifest(Record):
    """One run.

    Attributes:
        content_hash: sha256 over the records in key order: the same lists have the same hash, whatever the run's
            id, its time, and how many shards it has.
        files: by name: `parts/part-00000.lmdb` (records of users) and `items/part-00000.lmdb` (all others) and so on,
            `lists/part-00000.parquet` (rows of the same users), `similar.parquet`.
        counts: `users` with a list, `items` known, `lists` of any kind, `entries` in the users' lists, and in the
            `longest` of them.
        tables: the Delta version of every input table, as it was read.
        code: the release, with a hash of its source.
        config: a hash of every setting.
    """

    format: int = FORMAT
    surface: str
    run_date: dt.date
    run_id: str
    created_at: dt.datetime
    content_hash: str
    model: Model
    counts: dict[str, int]
    files: dict[str, File]
    tables: dict[str, int]
    code: str
    config: str

    @property
    def folder(self) -> str:
        return run_folder(self.surface, self.run_date, self.run_id)

    @property
    def run(self) -> Run:
        key = self.folder + MANIFEST
        return Run(run_date=self.run_date, run_id=self.run_id, manifest=key, content_hash=self.content_hash)

    @property
    def user_shards(self) -> list[File]:
        """The files of the users' records, in the order that `shard_of` counts in."""
        return self.files_in(PARTS)

    @property
    def item_shards(self) -> list[File]:
        """The files of all other records, in the same order."""
        return self.files_in(ITEMS)

    @property
    def shards(self) -> list[File]:
        """All files of records, by name: first those of the items, which every reader needs."""
        return self.item_shards + self.user_shards

    def files_in(self, folder: str) -> list[File]:
        """The files whose names begin with this, by name."""
        return [self.files[name] for name in sorted(self.files) if name.startswith(folder)]


def config_hash(settings: Settings) -> str:
    """16 hexadecimal digits that change with any setting."""

    def plain(value: Any) -> Any:
        return sorted(value) if isinstance(value, frozenset | set) else str(value)

    text = json.dumps(settings.model_dump(), sort_keys=True, default=plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
