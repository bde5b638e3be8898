"""Remove people from published runs. A published run never changes: a new one takes its place, then it goes.

First every run is published again without them, under an id of its own; then the pointer names the new ones in the
place of the old, live, past and withdrawn alike, in one move; only `remove_old`, later, deletes what no pointer names.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightshift.erasure.people import People
from nightshift.publishing import records
from nightshift.publishing.layout import MANIFEST, run_folder, runs_folder
from nightshift.publishing.manifest import File, Manifest, Run
from nightshift.publishing.pointer import ATTEMPTS, Pointer, put_pointer, read_pointer
from nightshift.publishing.publish import upload
from nightshift.publishing.read import fetch, list_manifests, parse_manifest
from nightshift.publishing.shards import Pair, open_shard, write_shard
from nightshift.publishing.storage import ConflictError, Storage, StoreError

log = logging.getLogger("nightshift.erasure")

USERS = "lists.parquet"
BEFORE = re.compile(r"\.erased-[0-9a-z]+(-[0-9a-z]+)?$")  # at the end of the id of a run that took another's place


@dataclass(frozen=True)
class Replaced:
    """A run that held these people, and the one that has taken its place."""

    surface: str
    old: Manifest
    new: Manifest


def surfaces_of(storage: Storage) -> list[str]:
    """Every surface that has anything in the store."""
    return sorted({item.key.split("/", 1)[0] for item in storage.list("") if "/" in item.key})


def holding(storage: Storage, people: People, work: Path) -> Iterator[tuple[str, Manifest]]:
    """The published runs that hold these people, with their surfaces."""
    for surface in surfaces_of(storage):
        for item in list_manifests(storage, surface):
            manifest = parse_manifest(storage, item.key)
            if users_in(storage, manifest, people, work):
                yield surface, manifest


def users_in(storage: Storage, manifest: Manifest, people: People, work: Path) -> int:
    """How many records and rows of a run are of these people."""
    keys = {records.user_key(name) for name in people.ids}
    found = sum(key in keys for key, _ in pairs_of(storage, manifest, work))
    users = pq.read_table(fetch(storage, manifest, manifest.files[USERS], work), columns=["user_id"])["user_id"]
    return found + int(pc.sum(pc.is_in(users, value_set=pa.array(sorted(people.ids))).cast(pa.int64())).as_py() or 0)


def replace_runs(storage: Storage, people: People, request: str, now: dt.datetime, work: Path) -> list[Replaced]:
    """Publish each run that holds these people again without them, and let the pointers name the new ones."""
    replaced = []
    oldest_first = sorted(holding(storage, people, work), key=lambda found: found[1].created_at)
    for surface, old in oldest_first:
        replaced.append(Replaced(surface, old, _published_without(storage, old, people, request, work)))
        log.info("%s: %s is published without them as %s", surface, old.run, replaced[-1].new.run)
    for surface in sorted({each.surface for each in replaced}):
        _point(storage, surface, {each.old.run: each.new.run for each in replaced if each.surface == surface}, now)
    return replaced


def remove_old(storage: Storage, replaced: list[Replaced]) -> None:
    """Delete the runs whose place was taken; the manifest first, so that no reader finds half a run."""
    for each in replaced:
        storage.delete(each.old.folder + MANIFEST)
        storage.delete_all(each.old.folder)


def unnamed(storage: Storage) -> list[str]:
    """The keys among the runs that no manifest names: what a killed publisher, or a killed end of a run, left."""
    found = []
    for surface in surfaces_of(storage):
        named: set[str] = set()
        for item in list_manifests(storage, surface):
            manifest = parse_manifest(storage, item.key)
            named |= {item.key, *(manifest.folder + file.path for file in manifest.files.values())}
        found += [item.key for item in storage.list(runs_folder(surface)) if item.key not in named]
    return found


def remove_unnamed(storage: Storage) -> int:
    """Delete what no manifest names; nobody publishes meanwhile. Returns how many files there were."""
    gone = unnamed(storage)
    for key in gone:
        storage.delete(key)
    for surface in surfaces_of(storage):
        runs = storage.local(runs_folder(surface))
        for partial in runs.rglob(".*.partial") if runs else ():  # of a write that was cut off: no reader sees it
            partial.unlink()
            gone.append(partial.name)
    return len(gone)


def pairs_of(storage: Storage, manifest: Manifest, work: Path) -> Iterator[Pair]:
    """Every record of a run."""
    for file in manifest.shards:
        yield from open_shard(fetch(storage, manifest, file, work)).pairs()


def _published_without(storage: Storage, old: Manifest, people: People, request: str, work: Path) -> Manifest:
    """The run as it would be without them. Published a second time by the same request, it is the same."""
    run_id = id_without(old, request)
    folder = run_folder(old.surface, old.run_date, run_id)
    keys = {records.user_key(name) for name in people.ids}
    pairs = [pair for pair in pairs_of(storage, old, work) if pair[0] not in keys]
    files: dict[str, File] = {}
    with tempfile.TemporaryDirectory(dir=work) as fresh:
        for name, path in _files_without(storage, old, pairs, people, work, Path(fresh)):
            files[name] = upload(storage, folder, name, path)
        users = pq.read_table(Path(fresh) / USERS, columns=["user_id"])
    left = len(users["user_id"].unique())
    gone = old.counts["users"] - left
    counts = old.counts | {"users": left, "lists": old.counts["lists"] - gone, "entries": users.num_rows}
    content = records.content_hash(pairs)
    changed = {"run_id": run_id, "content_hash": content, "counts": counts, "files": files}
    manifest = old.model_copy(update=changed)
    storage.create(folder + MANIFEST, manifest.to_json())
    return manifest


def id_without(old: Manifest, request: str) -> str:
    """What the run is called that takes the place of `old`: however often, its id grows by one request only."""
    return f"{BEFORE.sub('', old.run_id)}.{request}-{old.content_hash[:8]}"


def _files_without(
    storage: Storage, old: Manifest, pairs: list[Pair], people: People, work: Path, fresh: Path
) -> Iterator[tuple[str, Path]]:
    """The new run's files in `fresh`, by the names that the manifest gives them."""
    number_of_shards = len(old.shards)
    spread: list[list[Pair]] = [[] for _ in range(number_of_shards)]
    for pair in pairs:
        spread[records.shard_of(pair[0], number_of_shards)].append(pair)
    for name, file in sorted(old.files.items()):
        target = fresh / Path(name).name
        if name.startswith("parts/"):
            write_shard(target, spread[sorted(n for n in old.files if n.startswith("parts/")).index(name)])
        else:
            table = pq.read_table(fetch(storage, old, file, work))
            if "user_id" in table.column_names:
                theirs = pc.is_in(table["user_id"], value_set=pa.array(sorted(people.ids)))
                table = table.filter(pc.invert(theirs))
            pq.write_table(table, target, compression="zstd")
        yield name, target


def _point(storage: Storage, surface: str, new: dict[Run, Run], now: dt.datetime) -> None:
    """Let the pointer name the new runs wherever it names old ones."""
    for _ in range(ATTEMPTS):
        found = read_pointer(storage, surface)
        if found is None:
            return
        pointer, etag = found
        moved = Pointer(
            **(new.get(pointer.run, pointer.run).model_dump()),
            surface=surface,
            moved_at=now,
            moved_by=pointer.moved_by,
            history=tuple(new.get(run, run) for run in pointer.history),
            withdrawn=tuple(new.get(run, run) for run in pointer.withdrawn),
        )
        try:
            put_pointer(storage, moved, etag)
        except ConflictError:
            continue
        return
    raise StoreError(f"the pointer of {surface} changes all the time: erase when nothing is being published")
