"""A shard: one LMDB file of records, written once, then memory-mapped by whoever looks records up."""

from __future__ import annotations

import contextlib
import heapq
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from weakref import WeakValueDictionary

import lmdb

from nightshift.publishing import records

Pair = tuple[bytes, bytes]

PAGE = 4096
TRANSACTION_BYTES = 8 * 2**20  # a transaction's pages are in memory until it ends
STRETCH_BYTES = 2**18


class Shard:
    """An open shard. It is unmapped when nobody holds it any more, and not before."""

    def __init__(self, path: Path) -> None:
        self._lmdb = lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False, create=False)

    def get(self, key: bytes) -> bytes | None:
        with self._lmdb.begin() as transaction:
            return transaction.get(key)

    def reader(self) -> Callable[[bytes], bytes | None]:
        """As `get`, in a transaction of its own that is kept: a third of the time. For one thread at a time.

        The file never changes, so the transaction has nothing to hold up. It keeps the shard mapped.
        """
        return self._lmdb.begin().get

    def pairs(self, after: bytes = b"") -> Generator[Pair, None, None]:
        """Every record with its key, in key order; those after this key."""
        with self._lmdb.begin() as transaction, transaction.cursor() as cursor:
            found = cursor.set_range(after + b"\0") if after else cursor.first()
            if found:
                yield from cursor

    def close(self) -> None:
        """Unmap it now; nobody else may hold it."""
        self._lmdb.close()

    def __len__(self) -> int:
        return self._lmdb.stat()["entries"]


_open: WeakValueDictionary[tuple[int, int], Shard] = WeakValueDictionary()  # LMDB maps a file once in a process
_opening = threading.Lock()


def open_shard(path: Path) -> Shard:
    """The shard at `path`, which is immutable: two runs that hold the same file share it.

    Raises:
        lmdb.Error: the file is no shard.
    """
    found = path.stat()
    file = (found.st_dev, found.st_ino)
    with _opening:
        shard = _open.get(file)
        if shard is None:
            shard = _open[file] = Shard(path)
    return shard


def write_shard(path: Path, pairs: Iterable[Pair]) -> None:
    """Write records into one file, whose bytes depend on nothing else."""
    ordered = sorted(pairs)
    write_ordered(path, ordered, sum(room_for(*pair) for pair in ordered))


def room_for(key: bytes, value: bytes) -> int:
    """Bytes that a record may take at most: a large value takes whole pages."""
    return len(key) + len(value) + 2 * PAGE


def write_ordered(path: Path, ordered: Iterable[Pair], room: int) -> None:
    """Write records, which come in key order, into one file; in memory is what one transaction writes.

    Args:
        room: bytes that they take at most. The file's header states it, as a power of two.

    Raises:
        ValueError: two have the same key, or one comes out of order.
        lmdb.Error: the disk is full.
    """
    work = path.with_suffix(".work")
    map_size = 1 << max(20, room.bit_length() + 1)
    environment = lmdb.open(str(work), subdir=False, lock=False, sync=False, metasync=False, map_size=map_size)
    try:
        _put(environment, ordered)
        environment.copy(str(path), compact=True)
    finally:
        environment.close()
        work.unlink()


def _put(environment: lmdb.Environment, ordered: Iterable[Pair]) -> None:
    transaction, size = environment.begin(write=True), 0
    try:
        for key, value in ordered:
            if not transaction.put(key, value, overwrite=False, append=True):
                raise ValueError(f"two records have the key {key!r}, or it comes out of order")
            size += len(key) + len(value)
            if size > TRANSACTION_BYTES:
                transaction.commit()
                transaction, size = environment.begin(write=True), 0
        transaction.commit()
    except BaseException:
        transaction.abort()
        raise


def content_hash(shards: Iterable[Path]) -> str:
    """The hash of all records of a run: the same for the same records, however many files they lie in."""
    return records.content_hash(heapq.merge(*map(_streamed, shards)))


def _streamed(path: Path) -> Iterator[Pair]:
    """Every record of a shard, which is mapped for a stretch at a time: what was read leaves memory again."""
    stretch = _stretch(path, b"")
    while stretch:
        yield from stretch
        stretch = _stretch(path, stretch[-1][0])


def _stretch(path: Path, after: bytes) -> list[Pair]:
    found, size = [], 0
    with contextlib.closing(Shard(path)) as shard, contextlib.closing(shard.pairs(after)) as pairs:
        for pair in pairs:
            found.append(pair)
            size += len(pair[1])
            if size > STRETCH_BYTES:
                break
    return found
