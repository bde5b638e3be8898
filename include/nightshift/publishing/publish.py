"""Publish a run: write its files, then its manifest. Nothing here is live yet; see `pointer.make_live`.

A run is immutable. Its files carry their own hash in their names, so that a publisher that was killed, or a second one
at the same time, never writes over a file that a manifest names; and so that the next publisher sends only what is
missing.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import lmdb
import pyarrow as pa

from nightshift.publishing.build import build
from nightshift.publishing.layout import MANIFEST, PRUNED, run_folder
from nightshift.publishing.lists import Lists
from nightshift.publishing.manifest import FORMAT, File, Manifest, Model
from nightshift.publishing.read.fetch import fetch
from nightshift.publishing.read.manifests import CorruptRunError, parse_manifest
from nightshift.publishing.storage import ConflictError, NotThereError, Storage, StoreError, sha256_of

log = logging.getLogger("nightshift.publishing")


class NotPublishedError(StoreError):
    """A run could not be published, or nobody can say whether it was. The pointer was not touched: readers see what
    they saw before."""


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
    item_shards: int,
    now: dt.datetime,
    work: Path,
) -> Manifest:
    """Write the run and return its manifest; where the same lists are published under this id, send what has gone
    missing of it or was damaged, and change nothing else.

    Where other lists are published under this id, as of a night before its day's events were corrected, or the same in
    other files that are damaged, these get an id of their own beside it: `<run id>.<first 8 digits of their content
    hash>`.

    Args:
        shards, item_shards: files that the records of users, and all others, are spread over.
        work: an empty folder of this publisher's own, with room for about twice the run's files.

    Raises:
        NotPublishedError: it could not be done, or the store fell silent at the end. Nothing has changed for readers;
            the next try sends what is missing.
    """
    with _or_nothing(f"{run_date}/{run_id}"):
        built = build(lists, shards, item_shards, work)
        content = built.content_hash
        for name in (run_id, own_id := f"{run_id}.{content[:8]}"):
            folder = run_folder(surface, run_date, name)
            try:
                published = _published(storage, folder)
                if published and _is_of(published, content):
                    _mend(storage, published, built.files, work)
            except CorruptRunError as error:
                log.warning("%s; these lists are of %s", error, own_id)
                continue
            if published is None and storage.exists(folder + PRUNED):
                log.warning("%s/%s is being removed; these lists are of %s", run_date, name, own_id)
                continue
            if published is None:
                manifest = Manifest(
                    surface=surface,
                    run_date=run_date,
                    run_id=name,
                    created_at=now,
                    content_hash=content,
                    model=origin.model,
                    counts=built.counts,
                    files=upload_all(storage, folder, built.files),
                    tables=dict(sorted(origin.tables.items())),
                    code=origin.code,
                    config=origin.config,
                )
                published = _announce(storage, manifest)
            elif _is_of(published, content):
                log.info("%s is published already with these lists, and is whole", published.run)
            if _is_of(published, content):
                return published
            log.warning("%s is published with other lists, and stays; these are of %s", published.run, own_id)
        raise StoreError(f"{own_id} is published with other lists, damaged, or being removed: give another --run-id")


def upload_all(storage: Storage, folder: str, files: Mapping[str, Path]) -> dict[str, File]:
    """Put a run's files into its folder, some at once. Returns the manifest's entries for them, by name."""
    with ThreadPoolExecutor(storage.transfers, "upload") as pool:
        entries = pool.map(lambda name: upload(storage, folder, name, files[name]), files)
        return dict(zip(files, entries, strict=True))


def upload(storage: Storage, folder: str, name: str, path: Path) -> File:
    """Put a file of a run into its folder, its hash in its name. Returns the manifest's entry for it."""
    sha256 = sha256_of(path)
    stem, suffix = name.rsplit(".", 1)
    file = File(path=f"{stem}-{sha256[:12]}.{suffix}", sha256=sha256, bytes=path.stat().st_size)
    storage.upload(path, folder + file.path, sha256)
    return file


def _mend(storage: Storage, manifest: Manifest, files: Mapping[str, Path], work: Path) -> None:
    """Look at every file of a published run, and send those that are missing or damaged again, as far as it has these.

    Raises:
        CorruptRunError: one is missing or damaged, and is none of these: the run has another number of shards.
    """

    def mend(name: str) -> None:
        file, path = manifest.files[name], files.get(name)
        if path and sha256_of(path) == file.sha256:
            storage.upload(path, manifest.folder + file.path, file.sha256)
        else:
            with tempfile.TemporaryDirectory(dir=work) as anew:
                fetch(storage, manifest, file, Path(anew))

    with ThreadPoolExecutor(storage.transfers, "mend") as pool:
        list(pool.map(mend, manifest.files))


def _published(storage: Storage, folder: str) -> Manifest | None:
    try:
        return parse_manifest(storage, folder + MANIFEST)
    except NotThereError:
        return None


def _is_of(published: Manifest, content: str) -> bool:
    """Whether a run has these records, where readers of this release look for them."""
    return published.content_hash == content and published.format == FORMAT


def _announce(storage: Storage, manifest: Manifest) -> Manifest:
    """Write the manifest. Returns it, or that of another publisher of this id who was faster."""
    try:
        storage.create(manifest.run.manifest, manifest.to_json())
        return manifest
    except ConflictError:
        return parse_manifest(storage, manifest.run.manifest)
    except StoreError as error:
        return _what_came_of(storage, manifest, error)


def _what_came_of(storage: Storage, manifest: Manifest, error: StoreError) -> Manifest:
    """The manifest that was written, where only the answer never came."""
    try:
        return parse_manifest(storage, manifest.run.manifest)
    except (NotThereError, CorruptRunError):
        raise error from None
    except StoreError:
        raise NotPublishedError(
            f"the store fell silent while {manifest.run} was published: it may be, and is not live, and readers see "
            f"what they saw before; run this again when the store answers: {error}"
        ) from error


@contextlib.contextmanager
def _or_nothing(run: str) -> Iterator[None]:
    """Say of whatever fails that nothing has changed for readers."""
    try:
        yield
    except NotPublishedError:
        raise
    except (StoreError, OSError, lmdb.Error, pa.ArrowException, ValueError) as error:
        raise NotPublishedError(f"{run} is not published, and readers see what they saw before: {error}") from error
