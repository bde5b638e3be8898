"""A run to look users and items up in: its shards mapped into memory, all at once or each when first asked for."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lmdb

from nightshift.publishing import records
from nightshift.publishing.manifest import File, Manifest
from nightshift.publishing.read.fetch import doubt, fetch
from nightshift.publishing.read.manifests import CorruptRunError, must_be_readable
from nightshift.publishing.shards import Shard, open_shard
from nightshift.publishing.storage import Storage


class OpenRun:
    """A run whose files are checked before they are mapped. Each answer is a record's value: see `records`.

    A lookup of what lies in a shard that is not here yet fetches it first, and raises what `fetch` does. Threads may
    share it.
    """

    def __init__(self, storage: Storage, manifest: Manifest, cache: Path) -> None:
        self.manifest, self.cache, self._storage = manifest, cache, storage
        self._of_users, self._of_items = tuple(manifest.user_shards), tuple(manifest.item_shards)
        self._open: dict[str, Shard] = {}  # by the file's path in the run
        must_be_readable(manifest)
        if not self._of_users or not self._of_items:
            raise CorruptRunError(f"{manifest.run} names no shards")

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Those that are open."""
        return tuple(self._open.values())

    def shard(self, file: File) -> Shard | None:
        """The shard that is this file, where it is open."""
        return self._open.get(file.path)

    def user(self, user_id: str) -> bytes | None:
        return self._of_user(user_id, records.user_key(user_id))

    def history(self, user_id: str) -> bytes | None:
        """What the user bought, the latest first; None: nothing that the run tells of."""
        return self._of_user(user_id, records.history_key(user_id))

    def similar(self, item_id: str) -> bytes | None:
        return self._of_item(records.similar_key(item_id))

    def title(self, item_id: str) -> bytes | None:
        """The item's title as JSON; None where the run does not know the item."""
        return self._of_item(records.title_key(item_id))

    def popular(self) -> bytes:
        """The list for users that the run does not know."""
        found = self._of_item(records.POPULAR)
        if found is None:
            raise CorruptRunError(f"{self.manifest.run} has no popular list")
        return found

    def shard_of(self, user_id: str) -> int:
        """The number of the user's shard: machines that share a run by it need only their own."""
        return records.shard_of(records.user_key(user_id), len(self._of_users))

    def is_here(self, user_id: str) -> bool:
        """Whether the user's shard is open, so that the lookup fetches nothing."""
        return self._of_users[self.shard_of(user_id)].path in self._open

    def open_all(self, files: Iterable[File] | None = None) -> None:
        """Fetch and open these shards, some at once; all of the run's, unless given.

        Raises:
            CorruptRunError: a file is missing, or is not the one that the manifest names.
            StoreError: a file cannot be fetched.
        """
        waiting = [file for file in files or self.manifest.shards if file.path not in self._open]
        with ThreadPoolExecutor(self._storage.transfers, "fetch") as pool:
            list(pool.map(self._opened, waiting))

    def close(self, file: File) -> None:
        """Let go of a shard; who holds its reader keeps it mapped."""
        self._open.pop(file.path, None)

    def doubt(self, file: File) -> None:
        """Have the hash of a shard that is not open checked, whatever is known of it, before it is. Raises OSError."""
        doubt(self._storage, self.manifest, file, self.cache)

    def _of_user(self, user_id: str, key: bytes) -> bytes | None:
        return self._get(self._of_users[self.shard_of(user_id)], key)

    def _of_item(self, key: bytes) -> bytes | None:
        return self._get(self._of_items[records.shard_of(key, len(self._of_items))], key)

    def _get(self, file: File, key: bytes) -> bytes | None:
        shard = self._open.get(file.path)
        if shard is None:  # one without records is false
            shard = self._opened(file)
        return shard.get(key)

    def _opened(self, file: File) -> Shard:
        path = fetch(self._storage, self.manifest, file, self.cache)
        try:
            shard = self._open[file.path] = open_shard(path)
        except lmdb.Error as error:
            raise CorruptRunError(f"{self.manifest.run}: {error}") from None
        return shard


def open_run(storage: Storage, manifest: Manifest, cache: Path, *, lazy: bool = False) -> OpenRun:
    """Check and map the run's shards; those that lie elsewhere are downloaded into `cache` first.

    Args:
        lazy: fetch now only the shard with the popular list, so that a reader starts in bounded time and memory, and
            every other when it is first asked for, or by `open_all`.

    Raises:
        CorruptRunError: a file is missing, or is not the one that the manifest names.
        StoreError: a file cannot be fetched.
    """
    run = OpenRun(storage, manifest, cache)
    run.popular()
    if not lazy:
        run.open_all()
    return run
