"""Read what is published: which run is live, its manifest, its lists. No Spark, no pandas, and no server needed."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb
from pydantic import ValidationError

from nightshift.publishing import records
from nightshift.publishing.layout import MANIFEST, date_of, runs_folder
from nightshift.publishing.manifest import File, Manifest, Run
from nightshift.publishing.pointer import read_pointer
from nightshift.publishing.shards import Shard, open_shard
from nightshift.publishing.storage import Listed, NotThereError, Storage, StoreError, store_of
from nightshift.runs import Night

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class CorruptRunError(StoreError):
    """A run is not what its manifest says. It must not be served."""


@dataclass(frozen=True)
class OpenRun:
    """A run whose files are checked and mapped. Each answer is a record's value: see `records`."""

    manifest: Manifest
    shards: tuple[Shard, ...]

    def user(self, user_id: str) -> bytes | None:
        return self._get(records.user_key(user_id))

    def similar(self, item_id: str) -> bytes | None:
        return self._get(records.similar_key(item_id))

    def title(self, item_id: str) -> bytes | None:
        """The item's title as JSON; None where the run does not know the item."""
        return self._get(records.title_key(item_id))

    def popular(self) -> bytes:
        """The list for users that the run does not know."""
        found = self._get(records.POPULAR)
        if found is None:
            raise CorruptRunError(f"{self.manifest.run} has no popular list")
        return found

    def _get(self, key: bytes) -> bytes | None:
        return self.shards[records.shard_of(key, len(self.shards))].get(key)


def live_manifest(storage: Storage, surface: str) -> Manifest | None:
    """The manifest of the run that readers are to read now; None before the first publish."""
    found = read_pointer(storage, surface)
    while found:
        try:
            return read_manifest(storage, found[0].run)
        except CorruptRunError:
            before, found = found, read_pointer(storage, surface)
            if found == before:
                raise  # and not because the pointer has moved on since it was read
    return None


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
    """The manifest under `key`; raises `NotThereError` or `CorruptRunError`."""
    stored = storage.read(key)
    try:
        return Manifest.model_validate_json(stored.body)
    except ValidationError as error:
        raise CorruptRunError(f"{storage.address}/{key} is no manifest: {error.errors()[0]['msg']}") from None


def list_manifests(storage: Storage, surface: str) -> list[Listed]:
    """The manifests of all published runs, the latest published first."""
    found = [item for item in storage.list(runs_folder(surface)) if item.key.endswith(f"/{MANIFEST}")]
    return sorted(found, key=lambda item: (item.modified, item.key), reverse=True)


def open_run(storage: Storage, manifest: Manifest, cache: Path) -> OpenRun:
    """Check and map the run's shards; those that lie elsewhere are downloaded into `cache` first.

    Raises:
        CorruptRunError: a file is missing, or is not the one that the manifest names.
    """
    if not manifest.shards:
        raise CorruptRunError(f"{manifest.run} names no shards")
    paths = [fetch(storage, manifest, file, cache) for file in manifest.shards]
    try:
        run = OpenRun(manifest, tuple(open_shard(path) for path in paths))
    except lmdb.Error as error:
        raise CorruptRunError(f"{manifest.run}: {error}") from None
    run.popular()
    return run


def fetch(storage: Storage, manifest: Manifest, file: File, cache: Path) -> Path:
    """Where `file` can be read on this machine, its hash checked.

    Raises:
        CorruptRunError: it is missing or another.
    """
    key = manifest.folder + file.path
    path = storage.local(key) or cached(cache, file)
    if path.is_file() and _sha256(path) == file.sha256:
        return path
    if storage.local(key):
        raise CorruptRunError(f"{storage.address}/{key} is {'another file' if path.is_file() else 'missing'}")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=cache) as folder:
        partial = Path(folder, "download")
        try:
            storage.download(key, partial)
        except NotThereError as error:
            raise CorruptRunError(str(error)) from None
        if _sha256(partial) != file.sha256:
            raise CorruptRunError(f"{storage.address}/{key} is not the file that the manifest of {manifest.run} names")
        return partial.replace(path)


def cached(cache: Path, file: File) -> Path:
    """Where a downloaded file is kept: by content, so that two runs with the same file keep one."""
    return cache / (file.sha256 + Path(file.path).suffix)


def read_table(storage: Storage, manifest: Manifest, name: str = "lists.parquet") -> pa.Table:
    """`lists.parquet` or `similar.parquet` of a run, for batch readers: e-mail, a warehouse, the next night."""
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        return pq.read_table(fetch(storage, manifest, manifest.files[name], Path(folder)), memory_map=False)


def published_before(night: Night) -> pd.DataFrame | None:
    """The users' lists of the newest run of an earlier date, rolled back ones aside; None where there is none."""
    storage, surface = store_of(night.settings, night.home), night.settings.store.surface
    found = read_pointer(storage, surface)
    withdrawn = {run.manifest for run in found[0].withdrawn} if found else set()
    keys = [item.key for item in list_manifests(storage, surface) if item.key not in withdrawn]
    earlier = [key for key in keys if date_of(key) < night.run_date]
    if not earlier:
        return None
    latest = max(earlier, key=date_of)  # of one date, the first: the latest published
    return read_table(storage, parse_manifest(storage, latest)).to_pandas()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
