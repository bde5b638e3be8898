"""Which runs there are, and which one is live."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from nightshift.config.settings import CURRENT
from nightshift.publishing.layout import MANIFEST, date_of, runs_folder
from nightshift.publishing.manifest import FORMAT, Manifest, Run
from nightshift.publishing.pointer import read_pointer
from nightshift.publishing.storage import Listed, NotThereError, Storage, StoreError


class CorruptRunError(StoreError):
    """A run is not what its manifest says. It must not be served."""


class LaterFormatError(CorruptRunError):
    """A run that a later release published, and can read."""


def live_manifest(storage: Storage, surface: str, channel: str = CURRENT) -> Manifest | None:
    """The manifest of the run that the channel's readers are to read now; None before the first publish."""
    found = read_pointer(storage, surface, channel)
    while found:
        try:
            return read_manifest(storage, found[0].run)
        except CorruptRunError:
            before, found = found, read_pointer(storage, surface, channel)
            if found == before:
                raise  # and not because the pointer has moved on since it was read
    return None


def find_manifest(
    storage: Storage, surface: str, run_date: dt.date | None = None, run_id: str | None = None
) -> Manifest:
    """The manifest of the live run; or of the run with this id, of this date if given, that was published last; or,
    of this date alone, of the run that is live or was so last, and was not rolled back.

    Raises:
        StoreError: there is none; the message names those there are.
    """
    if run_date is None and run_id is None:
        if live := live_manifest(storage, surface):
            return live
        raise StoreError(f"nothing is published for {surface} at {storage.address}")
    keys = [item.key for item in list_manifests(storage, surface)]
    fits = [key for key in keys if run_date in (None, date_of(key)) and run_id in (None, key.split("/")[-2])]
    if fits and run_date and run_id is None:
        return _live_of_date(storage, surface, run_date, fits)
    if fits:
        return parse_manifest(storage, fits[0])
    there = ", ".join("/".join(key.split("/")[-3:-1]) for key in keys[:20]) or "none"
    asked = "/".join(str(part) for part in (run_date, run_id) if part)
    raise StoreError(f"no run {asked} is published for {surface} at {storage.address}; there are: {there}")


def _live_of_date(storage: Storage, surface: str, run_date: dt.date, keys: Sequence[str]) -> Manifest:
    """Of the date's manifests the one that readers of the live run were to read last."""
    found = read_pointer(storage, surface)
    line = (found[0].run, *found[0].history) if found else ()
    for run in line:
        if run.run_date == run_date and storage.exists(run.manifest):
            return read_manifest(storage, run)
    there = ", ".join(key.split("/")[-2] for key in keys)
    raise StoreError(
        f"no run of {run_date} is live for {surface}, or was and has not been rolled back: those published are of an "
        f"experiment, rolled back, or beside a newer one; ask for one of them by --run-id: {there}"
    )


def manifests_between(
    storage: Storage, surface: str, first: dt.date | None = None, last: dt.date | None = None
) -> Iterator[Manifest]:
    """The manifests of all runs from one run date to another, both included, by date; of one date by when published."""
    found = [item.key for item in reversed(list_manifests(storage, surface))]
    for key in sorted(found, key=date_of):
        if (first is None or date_of(key) >= first) and (last is None or date_of(key) <= last):
            try:
                yield parse_manifest(storage, key)
            except NotThereError:
                continue  # it was pruned just now


def read_manifest(storage: Storage, run: Run) -> Manifest:
    """The manifest of `run`.

    Raises:
        CorruptRunError: there is none, or it is another run's.
    """
    try:
        manifest = parse_manifest(storage, run.manifest)
    except NotThereError:
        raise CorruptRunError(f"{run} has no manifest at {storage.address}/{run.manifest}") from None
    if manifest.run != run:
        raise CorruptRunError(f"{storage.address}/{run.manifest} is of {manifest.run}, with other lists than {run}")
    return manifest


def parse_manifest(storage: Storage, key: str) -> Manifest:
    """The manifest under `key`; raises `NotThereError`, `CorruptRunError` or `LaterFormatError`."""
    stored = storage.read(key)
    try:
        manifest = Manifest.model_validate_json(stored.body)
    except ValidationError as error:
        raise CorruptRunError(f"{storage.address}/{key} is no manifest: {error.errors()[0]['msg']}") from None
    if manifest.format > FORMAT:
        raise LaterFormatError(
            f"{storage.address}/{key} has format {manifest.format}, of a later release: update this one"
        )
    return manifest


def must_be_readable(manifest: Manifest) -> None:
    """Raise `CorruptRunError` of a run that an earlier release published: its records would not be found."""
    if manifest.format < FORMAT:
        raise CorruptRunError(
            f"{manifest.run} has format {manifest.format}, of an earlier release, and this one reads {FORMAT}: "
            f"publish {manifest.run_date} again"
        )


def list_manifests(storage: Storage, surface: str) -> list[Listed]:
    """The manifests of all published runs, the latest published first."""
    found = [item for item in storage.list(runs_folder(surface)) if item.key.endswith(f"/{MANIFEST}")]
    return sorted(found, key=lambda item: (item.modified, item.key), reverse=True)
