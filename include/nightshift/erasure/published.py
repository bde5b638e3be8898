"""Remove people from published runs. A published run never changes: a new one takes its place, then it goes.

First every run is published again without them, under an id of its own; then the pointer names the new ones in the
place of the old, live, past and withdrawn alike, in one move; only `remove_old`, later, deletes what no pointer names.
A run that cannot be read whole cannot be published without them: no pointer names it any more, and it goes.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightshift.config.settings import CURRENT
from nightshift.erasure.people import People
from nightshift.publishing import records
from nightshift.publishing.layout import MANIFEST, run_folder, run_folder_of, runs_folder
from nightshift.publishing.manifest import LISTS, Manifest, Run
from nightshift.publishing.pointer import ATTEMPTS, Pointer, channels_of, put_pointer, read_pointer
from nightshift.publishing.publish import upload_all
from nightshift.publishing.read import (
    CorruptRunError,
    LaterFormatError,
    fetch,
    list_manifests,
    parse_manifest,
    tidy,
)
from nightshift.publishing.shards import Pair, content_hash, open_shard, room_for, write_ordered
from nightshift.publishing.storage import ConflictError, Storage, StoreError

log = logging.getLogger("nightshift.erasure")

BEFORE = re.compile(r"\.erased-[0-9a-z]+(-[0-9a-z]+)?$")  # at the end of the id of a run that took another's place


@dataclass(frozen=True)
class Replaced:
    """A run that held these people, and the one that has taken its place."""

    surface: str
    old: Manifest
    new: Manifest


@dataclass(frozen=True)
class Damaged:
    """A run that cannot be read whole, by its folder, and why."""

    surface: str
    folder: str
    why: str


def surfaces_of(storage: Storage) -> list[str]:
    """Every surface that has anything in the store."""
    return sorted({item.key.split("/", 1)[0] for item in storage.list("") if "/" in item.key})


def holding(storage: Storage, people: People, work: Path) -> tuple[list[tuple[str, Manifest]], list[Damaged]]:
    """The published runs that hold these people, with their surfaces; and those of which nobody can make another.

    Raises:
        LaterFormatError: a later release has published one.
    """
    theirs, damaged = [], []
    for surface in surfaces_of(storage):
        for item in list_manifests(storage, surface):
            try:
                manifest = parse_manifest(storage, item.key)
                if users_in(storage, manifest, people, work):
                    for file in manifest.files.values():
                        fetch(storage, manifest, file, work)
                    theirs.append((surface, manifest))
            except LaterFormatError:
                raise
            except CorruptRunError as error:
                damaged.append(Damaged(surface, run_folder_of(item.key), str(error)))
    return theirs, damaged


def users_in(storage: Storage, manifest: Manifest, people: People, work: Path) -> int:
    """How many records and rows of a run are of these people."""
    tidy(work, keep=[manifest])  # of the run before
    keys = records.keys_of(people.ids)
    found = sum(key in keys for key, _ in pairs_of(storage, manifest, work))
    theirs = pa.array(sorted(people.ids))
    for file in manifest.files_in(LISTS):
        users = pq.read_table(fetch(storage, manifest, file, work), columns=["user_id"], partitioning=None)["user_id"]
        found += int(pc.sum(pc.is_in(users, value_set=theirs).cast(pa.int64())).as_py() or 0)
    return found


def replace_runs(
    storage: Storage, people: People, request: str, now: dt.datetime, work: Path
) -> tuple[list[Replaced], list[Damaged]]:
    """Publish each run that holds these people again without them, and let the pointers name the new ones.

    Returns what was replaced, and the runs that could not be read whole, which are gone.

    Raises:
        StoreError: one of those is live; nothing is changed.
    """
    theirs, damaged = holding(storage, people, work)
    _remove_damaged(storage, damaged, now)
    replaced = []
    for surface, old in sorted(theirs, key=lambda found: found[1].created_at):
        replaced.append(Replaced(surface, old, _published_without(storage, old, people, request, work)))
        log.info("%s: %s is published without them as %s", surface, old.run, replaced[-1].new.run)
    for surface in sorted({each.surface for each in replaced}):
        new = {each.old.run.manifest: each.new.run for each in replaced if each.surface == surface}
        _point(storage, surface, new, now)
    return replaced, damaged


def remove_old(storage: Storage, replaced: Sequence[Replaced]) -> None:
    """Delete the runs whose place was taken."""
    for each in replaced:
        _remove(storage, each.old.folder)


def unnamed(storage: Storage) -> list[str]:
    """The keys among the runs that no manifest names, and the writes that have not ended: what was put away to be
    removed, what a killed publisher left, or a killed end of a run."""
    found = [write.key for write in storage.unfinished("")]
    for surface in surfaces_of(storage):
        named: set[str] = set()
        for item in list_manifests(storage, surface):
            try:
                manifest = parse_manifest(storage, item.key)
            except CorruptRunError:  # what it names nobody knows
                named |= {beside.key for beside in storage.list(run_folder_of(item.key))}
                continue
            named |= {item.key, *(manifest.folder + file.path for file in manifest.files.values())}
        found += [item.key for item in storage.list(runs_folder(surface)) if item.key not in named]
    return found


def remove_unnamed(storage: Storage) -> int:
    """Delete what no manifest names; nobody publishes meanwhile. Returns how many files there were."""
    gone = unnamed(storage)
    for write in storage.unfinished(""):
        storage.abort(write)
    for key in gone:
        storage.delete(key)
    return len(gone)


def pairs_of(storage: Storage, manifest: Manifest, work: Path) -> Iterator[Pair]:
    """Every record of a run."""
    for file in manifest.shards:
        yield from open_shard(fetch(storage, manifest, file, work)).pairs()


def _published_without(storage: Storage, old: Manifest, people: People, request: str, work: Path) -> Manifest:
    """The run as it would be without them. Published a second time by the same request, it is the same."""
    run_id = id_without(old, request)
    folder = run_folder(old.surface, old.run_date, run_id)
    gone: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(dir=work) as fresh:
        files = {}
        for name, file in sorted(old.files.items()):
            source, files[name] = fetch(storage, old, file, work), Path(fresh) / name.replace("/", "-")
            if files[name].suffix == ".lmdb":
                gone["users"] += _records_without(source, files[name], people)
            else:
                gone["entries"] += _rows_without(source, files[name], people)
        content = content_hash(path for path in files.values() if path.suffix == ".lmdb")
        uploaded = upload_all(storage, folder, files)
    gone["lists"] = gone["users"]
    counts = {name: count - gone[name] for name, count in old.counts.items()}
    changed = {"run_id": run_id, "content_hash": content, "counts": counts, "files": uploaded}
    manifest = old.model_copy(update=changed)
    storage.create(folder + MANIFEST, manifest.to_json())
    return manifest


def id_without(old: Manifest, request: str) -> str:
    """What the run is called that takes the place of `old`: however often, its id grows by one request only."""
    return f"{BEFORE.sub('', old.run_id)}.{request}-{old.content_hash[:8]}"


def _records_without(source: Path, target: Path, people: People) -> int:
    """Write a shard without them. Returns how many lists are gone."""
    keys = records.keys_of(people.ids)
    shard = open_shard(source)

    def kept() -> Iterator[Pair]:
        return (pair for pair in shard.pairs() if pair[0] not in keys)

    write_ordered(target, kept(), sum(room_for(*pair) for pair in kept()))
    return sum(shard.get(records.user_key(name)) is not None for name in people.ids)


def _rows_without(source: Path, target: Path, people: People) -> int:
    """Write a table without them, a row group at a time. Returns how many rows are gone."""
    theirs, gone = pa.array(sorted(people.ids)), 0
    with pq.ParquetFile(source) as file, pq.ParquetWriter(target, file.schema_arrow, compression="zstd") as writer:
        for number in range(file.num_row_groups):
            rows = file.read_row_group(number)
            if "user_id" in rows.column_names:
                kept = rows.filter(pc.invert(pc.is_in(rows["user_id"], value_set=theirs)))
                rows, gone = kept, gone + rows.num_rows - kept.num_rows
            writer.write_table(rows)
    return gone


def _remove_damaged(storage: Storage, damaged: Sequence[Damaged], now: dt.datetime) -> None:
    """Take them out of the pointers, then delete them; before anything is published, as under the id of one of them."""
    for each in damaged:
        _refuse_if_live(storage, each)
    for surface in sorted({each.surface for each in damaged}):
        _point(storage, surface, {each.folder + MANIFEST: None for each in damaged if each.surface == surface}, now)
    for each in damaged:
        log.warning("%s is removed: it cannot be read whole, nor be published without them: %s", each.folder, each.why)
        _remove(storage, each.folder)


def _refuse_if_live(storage: Storage, damaged: Damaged) -> None:
    for channel in channels_of(storage, damaged.surface):
        found = read_pointer(storage, damaged.surface, channel)
        if found and found[0].manifest == damaged.folder + MANIFEST:
            run, by_channel = found[0].run, "" if channel == CURRENT else f"_channels --channel {channel}"
            raise StoreError(
                f"{run} is live for {damaged.surface}, channel {channel}, and cannot be read whole ({damaged.why}): "
                f"publish its night again under another id (`python -m jobs.publish{by_channel} --run-date "
                f"{run.run_date} --run-id again`), or go back (`python -m jobs.rollback --surface {damaged.surface} "
                f"--channel {channel}`)"
            )


def _remove(storage: Storage, folder: str) -> None:
    """Delete a run; the manifest first, so that no reader finds half of it."""
    storage.delete(folder + MANIFEST)
    storage.delete_all(folder)


def _point(storage: Storage, surface: str, new: Mapping[str, Run | None], now: dt.datetime) -> None:
    """Let the surface's pointers name the new runs wherever they name old ones, and none where there is none.

    Args:
        new: by the old run's manifest.
    """
    for channel in channels_of(storage, surface):
        _point_channel(storage, surface, channel, new, now)


def _point_channel(
    storage: Storage, surface: str, channel: str, new: Mapping[str, Run | None], now: dt.datetime
) -> None:
    def named(runs: Sequence[Run]) -> tuple[Run, ...]:
        return tuple(run for old in runs if (run := new.get(old.manifest, old)))

    for _ in range(ATTEMPTS):
        found = read_pointer(storage, surface, channel)
        if found is None:
            return
        pointer, etag = found
        moved = Pointer(
            **(new.get(pointer.manifest) or pointer.run).model_dump(),
            surface=surface,
            channel=channel,
            moved_at=now,
            moved_by=pointer.moved_by,
            history=named(pointer.history),
            withdrawn=named(pointer.withdrawn),
        )
        try:
            put_pointer(storage, moved, etag)
        except ConflictError:
            continue
        return
    raise StoreError(f"the pointer of {surface} changes all the time: erase when nothing is being published")
