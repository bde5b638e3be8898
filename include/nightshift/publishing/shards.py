"""A shard: one LMDB file of records, written once, then memory-mapped by whoever looks records up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from weakref import WeakValueDictionary

import lmdb

Pair = tuple[bytes, bytes]


class Shard:
    """An open shard. It is unmapped when nobody holds it any more, and not before."""

    def __init__(self, path: Path) -> None:
        self._lmdb = lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False, create=False)

    def get(self, key: bytes) -> bytes | None:
        with self._lmdb.begin() as transaction:
            return transaction.get(key)

    def pairs(self) -> Iterator[Pair]:
        """Every record with its key, in key order."""
        with self._lmdb.begin() as transaction:
            yield from transaction.cursor()

    def __len__(self) -> int:
        return self._lmdb.stat()["entries"]


_open: WeakValueDictionary[Path, Shard] = WeakValueDictionary()  # LMDB maps a file once in a process


def open_shard(path: Path) -> Shard:
    """The shard at `path`, which is immutable: two runs that hold the same file share it.

    Raises:
        lmdb.Error: the file is no shard.
    """
    shard = _open.get(path)
    if shard is None:
        shard = _open[path] = Shard(path)
    return shard


def write_shard(path: Path, records: Iterable[Pair]) -> None:
    """Write `records` into one file, whose bytes depend on nothing else."""
    ordered = sorted(records)
    work = path.with_suffix(".work")
    environment = lmdb.open(
        str(work), subdir=False, lock=False, sync=False, metasync=False, map_size=_room_for(ordered)
    )
    try:
        with environment.begin(write=True) as transaction:
            for key, value in ordered:
                if not transaction.put(key, value, overwrite=False, append=True):
                    raise ValueError(f"two records have the key {key!r}")
        environment.copy(str(path), compact=True)
    finally:
        environment.close()
        work.unlink()


def _room_for(records: list[Pair]) -> int:
    """Bytes of map, a power of two, since the file's header states it: large values take whole pages of 4 KiB."""
    needed = sum(len(key) + len(value) + 8192 for key, value in records)
    return 1 << max(20, needed.bit_length() + 1)
