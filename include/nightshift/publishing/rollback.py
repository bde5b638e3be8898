"""Go back: make a run live that was live before. One pointer move; nothing is written or deleted besides."""

from __future__ import annotations

import contextlib
import datetime as dt

from nightshift.config.settings import CURRENT
from nightshift.publishing.layout import pointer_key
from nightshift.publishing.manifest import Run
from nightshift.publishing.pointer import Move, Pointer, back, must_have_moved, put_pointer, read_pointer
from nightshift.publishing.prune import bring_back
from nightshift.publishing.read import CorruptRunError, list_manifests, must_be_readable, parse_manifest, read_manifest
from nightshift.publishing.storage import ConflictError, Storage, StoreError


def roll_back(storage: Storage, surface: str, to: str | None, now: dt.datetime, channel: str = CURRENT) -> Move:
    """Move the channel's pointer to the run that was live before, or to `to`: a run id, a run date, or `date/id`.

    Doing it again goes back further. Runs that pruning has removed, or that no reader can use, are passed over.

    Raises:
        StoreError: nothing to go back to; or `to` is empty, none, or more than one, of the published runs, or one of an
            earlier release; or the store failed, and the message says what is live.
    """
    found = read_pointer(storage, surface, channel)
    if found is None:
        where = f"{storage.address}/{pointer_key(surface, channel)}"
        raise StoreError(f"nothing is published for {surface} at {where}: there is no run to go back from")
    pointer, etag = found
    run = _before(storage, pointer) if to is None else _named(storage, surface, to)
    if run == pointer.run:
        raise StoreError(f"{run} is live already")
    try:
        put_pointer(storage, back(pointer, run, now), etag)
    except ConflictError:
        raise StoreError("a publish moved the pointer meanwhile: look at what is live now, and decide again") from None
    except StoreError as error:
        then = "look at what is live when the store answers, and decide again"
        must_have_moved(storage, surface, run, channel, pointer.run, error, then)
    why = f"{run} is live again, {pointer.run} is not"
    try:
        bring_back(storage, run)
    except StoreError as error:
        raise StoreError(f"{why}; but nobody can say whether its manifest is there: {error}") from error
    return Move(True, run, pointer.run, why)


def _before(storage: Storage, pointer: Pointer) -> Run:
    for run in pointer.history:
        with contextlib.suppress(CorruptRunError):
            must_be_readable(read_manifest(storage, run))
            return run
    raise StoreError(f"no run was live before {pointer.run}, or none that can still be read; name one with --to")


def _named(storage: Storage, surface: str, name: str) -> Run:
    if not name:
        raise StoreError("--to is empty: name a run id, a run date, or date/id; without --to it is the run before")
    keys = [item.key for item in list_manifests(storage, surface)]
    names = [tuple(key.split("/")[-3:-1]) for key in keys]
    fits = [key for key, (date, run_id) in zip(keys, names, strict=True) if name in (run_id, date, f"{date}/{run_id}")]
    if len(fits) == 1:
        manifest = parse_manifest(storage, fits[0])
        must_be_readable(manifest)
        return manifest.run
    published = ", ".join("/".join(run) for run in names[:20]) or "none"
    raise StoreError(f"{len(fits)} published runs are called {name!r}; name one of them as date/id: {published}")
