"""Records that wait on disk, in any order, until their shard is written: in memory are only their keys and places."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

from nightshift.publishing.shards import Pair, room_for, write_ordered

LENGTHS = struct.Struct("<II")  # of a record's key and value, before them


class Spool:
    """The records of one shard."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "wb")  # noqa: SIM115
        self._room = 0

    def append(self, key: bytes, value: bytes) -> None:
        self._file.write(LENGTHS.pack(len(key), len(value)))
        self._file.write(key)
        self._file.write(value)
        self._room += room_for(key, value)

    def close(self) -> None:
        self._file.close()

    def write(self, shard: Path) -> None:
        """Write the shard, and remove the spool.

        Raises:
            ValueError: two records have the same key.
        """
        self.close()
        write_ordered(shard, _ordered(self.path), self._room)
        self.path.unlink()


def _ordered(path: Path) -> Iterator[Pair]:
    if not path.stat().st_size:
        return
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for key, start, end in sorted(_places(content)):
            yield key, content[start:end]


def _places(content: mmap.mmap) -> Iterator[tuple[bytes, int, int]]:
    """Each record's key, and where its value begins and ends."""
    at = 0
    while at < len(content):
        key, value = LENGTHS.unpack_from(content, at)
        start = at + LENGTHS.size + key
        yield content[at + LENGTHS.size : start], start, start + value
        at = start + value
