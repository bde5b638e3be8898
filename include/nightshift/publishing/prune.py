"""Delete old runs. Never the live one, never those that a rollback would go to, never what is being written."""

from __future__ import annotations

import datetime as dt
import logging

from nightshift.publishing.layout import MANIFEST, runs_folder
from nightshift.publishing.pointer import read_pointer
from nightshift.publishing.read import list_manifests
from nightshift.publishing.storage import Storage

log = logging.getLogger("nightshift.publishing")

ABANDONED = dt.timedelta(days=1)  # a run without a manifest, untouched for so long, was killed


def prune(storage: Storage, surface: str, keep: int, now: dt.datetime) -> list[str]:
    """Keep the `keep` runs that were published last, the live run, and the `keep` runs that were live before it.

    Returns the folders that were deleted. A manifest goes before its files, so that no reader finds half a run.
    """
    found = read_pointer(storage, surface)
    live = {run.manifest for run in (found[0].run, *found[0].history[:keep])} if found else set()
    manifests = [item.key for item in list_manifests(storage, surface)]
    old = [key.removesuffix(MANIFEST) for key in manifests[keep:] if key not in live]
    gone = sorted(old + _abandoned(storage, surface, manifests, now))
    for folder in gone:
        log.info("pruning %s", folder)
        storage.delete(folder + MANIFEST)
        storage.delete_all(folder)
    return gone


def _abandoned(storage: Storage, surface: str, manifests: list[str], now: dt.datetime) -> list[str]:
    touched: dict[str, dt.datetime] = {}
    for item in storage.list(runs_folder(surface)):
        folder = "/".join(item.key.split("/")[:4]) + "/"
        touched[folder] = max(item.modified, touched.get(folder, item.modified))
    whole = {key.removesuffix(MANIFEST) for key in manifests}
    return [folder for folder, last in touched.items() if folder not in whole and now - last > ABANDONED]
