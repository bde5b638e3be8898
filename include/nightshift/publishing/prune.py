"""Remove old runs. Never a channel's live one, never those that a rollback would go to, never what is written or read.

A run goes in two steps, a day apart. First its manifest is put away as `pruned.json`: nobody finds the run any more. A
day later, if no lease names it, its files go. So a reader that found it a moment before has that day, whether it holds
a lease or not; and it does not matter if a listing is some minutes behind, or a clock is. A folder that was put away is
never written to again.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass, field

from nightshift.publishing.layout import MANIFEST, PRUNED, run_folder_of, runs_folder
from nightshift.publishing.leases import leased
from nightshift.publishing.manifest import Run
from nightshift.publishing.pointer import Pointer, channels_of, read_pointer
from nightshift.publishing.storage import ForbiddenError, NotThereError, Storage, StoreError

log = logging.getLogger("nightshift.publishing")

ABANDONED = dt.timedelta(days=1)  # what is half-written, and untouched for so long, was killed
GRACE = dt.timedelta(days=1)  # between the two steps


@dataclass(frozen=True)
class Pruned:
    """What was done: folders put away, folders whose files are gone, and half-written files of killed publishers."""

    put_away: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    why_not: str | None = None  # what kept us from it


def prune_if_possible(storage: Storage, surface: str, keep: int, now: dt.datetime) -> Pruned:
    """`prune`, after a publish: what keeps us from it does not undo the publish, and is the next one's to do."""
    try:
        return prune(storage, surface, keep, now)
    except StoreError as error:
        log.warning("old runs stay until the next publish: %s", error)
        return Pruned(why_not=str(error))


def prune(storage: Storage, surface: str, keep: int, now: dt.datetime, grace: dt.timedelta = GRACE) -> Pruned:
    """Keep the `keep` runs that were published last, each channel's live run, the `keep` that were live before it, and
    leased ones; put the others away, remove what was put away a `grace` ago, and abort uploads nobody goes on with.

    Raises:
        StoreError: the store cannot be read or written; or a lease cannot be read. What was done stays done.
    """
    pointers = _pointers(storage, surface)
    for pointer in pointers:
        bring_back(storage, pointer.run)  # where a rollback could not, as when the store fell silent
    live = {run_folder_of(run.manifest) for pointer in pointers for run in (pointer.run, *pointer.history[:keep])}
    held = leased(storage, surface, now)
    folders = _folders(storage, surface)
    done = Pruned(aborted=_abort(storage, surface, now))
    for folder in _latest_first(folders)[keep:]:
        if folder not in live | held:
            _put_away(storage, folder, done)
    for folder, items in folders.items():
        marked = items.get(folder + PRUNED)
        if folder + MANIFEST in items:
            continue
        if marked is None and now - max(items.values()) > ABANDONED:
            if not storage.exists(folder + MANIFEST):  # a listing may be behind
                _put_away(storage, folder, done)
        elif marked is not None and now - marked >= grace:
            _remove(storage, surface, folder, now, done)
    for pointer in _pointers(storage, surface):
        if run_folder_of(pointer.manifest) in done.put_away:
            bring_back(storage, pointer.run)  # a rollback went there meanwhile
    return done


def _pointers(storage: Storage, surface: str) -> list[Pointer]:
    """Of every channel."""
    return [found[0] for name in channels_of(storage, surface) if (found := read_pointer(storage, surface, name))]


def bring_back(storage: Storage, run: Run) -> None:
    """Give a run its manifest back that was put away while somebody made it live."""
    if not storage.exists(run.manifest):
        log.warning("%s is brought back: it was put away while it went live", run)
        storage.create(run.manifest, storage.read(run_folder_of(run.manifest) + PRUNED).body)


def _folders(storage: Storage, surface: str) -> dict[str, dict[str, dt.datetime]]:
    """The runs' folders, and in each the keys with their times."""
    folders: dict[str, dict[str, dt.datetime]] = {}
    for item in storage.list(runs_folder(surface)):
        folders.setdefault(run_folder_of(item.key), {})[item.key] = item.modified
    return folders


def _latest_first(folders: dict[str, dict[str, dt.datetime]]) -> list[str]:
    """The folders of published runs, by when they were published."""
    published = [(items[folder + MANIFEST], folder) for folder, items in folders.items() if folder + MANIFEST in items]
    return [folder for _, folder in sorted(published, reverse=True)]


def _put_away(storage: Storage, folder: str, done: Pruned) -> None:
    log.info("pruning %s", folder)
    try:
        body = storage.read(folder + MANIFEST).body
    except NotThereError:
        body = b"{}\n"
    storage.write(folder + PRUNED, body)
    storage.delete(folder + MANIFEST)
    done.put_away.append(folder)


def _remove(storage: Storage, surface: str, folder: str, now: dt.datetime, done: Pruned) -> None:
    """Remove a folder that was put away, unless somebody reads it, or it has a manifest the listing did not show."""
    if folder in leased(storage, surface, now) or storage.exists(folder + MANIFEST):
        return
    log.info("removing the files of %s", folder)
    for item in storage.list(folder):
        if item.key != folder + PRUNED:  # last: a publisher must not take what is left for its own
            storage.delete(item.key)
    storage.delete_all(folder)
    done.removed.append(folder)


def _abort(storage: Storage, surface: str, now: dt.datetime) -> list[str]:
    try:
        old = [found for found in storage.unfinished(runs_folder(surface)) if now - found.touched > ABANDONED]
    except ForbiddenError as error:
        log.warning("uploads that were cut off stay, and cost: %s", error)
        return []
    for found in old:
        storage.abort(found)
    return [found.key for found in old]
