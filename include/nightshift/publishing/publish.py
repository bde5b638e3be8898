"""Publish a run: write its files, then its manifest. Nothing here is live yet; see `pointer.make_live`.

A run is immutable. Its files carry their own hash in their names, so that a publisher that was killed, or a second one
at the same time, never writes over a file that a manifest names.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from nightshift.publishing import records
from nightshift.publishing.layout import MANIFEST, run_folder
from nightshift.publishing.lists import Lists
from nightshift.publishing.manifest import File, Manifest, Model
from nightshift.publishing.read import parse_manifest
from nightshift.publishing.shards import Pair, write_shard
from nightshift.publishing.storage import ConflictError, NotThereError, Storage, StoreError

log = logging.getLogger("nightshift.publishing")


@dataclass(frozen=True)
class Origin:
    """What made a run, for its manifest: see `Manifest`."""

    model: Model
    tables: Mapping[str, int]
    code: str
    config: str


def publish_run(
    storage: Storage,
    surface: str,
    run_date: dt.date,
    run_id: str,
    lists: Lists,
    origin: Origin,
    *,
    shards: int,
    now: dt.datetime,
    work: Path,
) -> Manifest:
    """Write the run and return its manifest; where the same lists are published under this id, change nothing.

    Where other lists are published under this id, as of a night before its day's events were corrected, these get an id
    of their own beside it: `<run id>.<first 8 digits of their content hash>`.

    `work` is an empty folder of this publisher's own, with room for the files.
    """
    pairs = list(lists.records())
    content = records.content_hash(pairs)
    written: list[tuple[str, Path]] = []
    for name in (run_id, own_id := f"{run_id}.{content[:8]}"):
        folder = run_folder(surface, run_date, name)
        published = _published(storage, folder)
        if published is None:
            written = written or _write(lists, pairs, shards, work)
            manifest = Manifest(
                surface=surface,
                run_date=run_date,
                run_id=name,
                created_at=now,
                content_hash=content,
                model=origin.model,
                counts=lists.counts,
                files={file: upload(storage, folder, file, path) for file, path in written},
                tables=dict(sorted(origin.tables.items())),
                code=origin.code,
                config=origin.config,
            )
            published = _announce(storage, manifest)
        elif published.content_hash == content:
            log.info("%s is published already with these lists", published.run)
        if published.content_hash == content:
            return published
        log.warning("%s is published with other lists, and stays: these are of %s", published.run, own_id)
    raise StoreError(f"{run_date}/{own_id} is published with other lists: publish these under another --run-id")


def _published(storage: Storage, folder: str) -> Manifest | None:
    try:
        return parse_manifest(storage, folder + MANIFEST)
    except NotThereError:
        return None


def _announce(storage: Storage, manifest: Manifest) -> Manifest:
    """Write the manifest. Returns it, or that of another publisher of this id who was faster."""
    try:
        storage.create(manifest.run.manifest, manifest.to_json())
        return manifest
    except ConflictError:
        return parse_manifest(storage, manifest.run.manifest)


def _write(lists: Lists, pairs: list[Pair], shards: int, work: Path) -> list[tuple[str, Path]]:
    """The run's files in `work`, each with the name that the manifest gives it."""
    spread: list[list[Pair]] = [[] for _ in range(shards)]
    for key, value in pairs:
        spread[records.shard_of(key, shards)].append((key, value))
    written = []
    for number, part in enumerate(spread):
        name = f"parts/part-{number:05}.lmdb"
        written.append((name, work / Path(name).name))
        write_shard(written[-1][1], part)
    for name, table in (("lists.parquet", lists.users), ("similar.parquet", lists.similar)):
        written.append((name, work / name))
        pq.write_table(table, written[-1][1], compression="zstd")
    return written


def upload(storage: Storage, folder: str, name: str, path: Path) -> File:
    """Put a file of a run into its folder, its hash in its name. Returns the manifest's entry for it."""
    with open(path, "rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    stem, suffix = name.rsplit(".", 1)
    file = File(path=f"{stem}-{sha256[:12]}.{suffix}", sha256=sha256, bytes=path.stat().st_size)
    storage.upload(path, folder + file.path)
    return file
