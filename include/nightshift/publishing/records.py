"""The records of a run: for each user and item, and for who is unknown, the answer's entries as ready JSON.

A record's value is one JSON object a line, best first, so that the first k are cut out without parsing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson

Entry = dict[str, Any]
KEY_BYTES = 500  # LMDB takes keys of up to 511; a longer id is kept under its hash
POPULAR = b"p"


def user_key(user_id: str) -> bytes:
    """Of the user's list."""
    return _key(b"u", user_id)


def similar_key(item_id: str) -> bytes:
    """Of the items like this one."""
    return _key(b"s", item_id)


def title_key(item_id: str) -> bytes:
    """Of the item's title; every item that the run knows has one."""
    return _key(b"t", item_id)


def shard_of(key: bytes, shards: int) -> int:
    """Which of `shards` files holds `key`: the same on every machine and for ever."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") % shards


def encode(entries: Iterable[Entry]) -> bytes:
    return b"\n".join(map(orjson.dumps, entries))


def encode_title(title: str | None) -> bytes:
    return orjson.dumps(title)


def first(value: bytes, k: int) -> bytes:
    """The first `k` entries of a record, as a JSON array."""
    return b"[" + b",".join(value.split(b"\n", k)[:k]) + b"]"


def grouped(key: str, rows: Iterable[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    """The entries of each `key`, which they then lack; `rows` are sorted by it, and best first within it."""
    for name, group in groupby(rows, itemgetter(key)):
        yield name, [{field: value for field, value in row.items() if field != key} for row in group]


def content_hash(records: Iterable[tuple[bytes, bytes]]) -> str:
    """sha256 over the records, each with its lengths, in key order."""
    digest = hashlib.sha256()
    for key, value in sorted(records):
        digest.update(b"%d %d\n" % (len(key), len(value)) + key + value)
    return digest.hexdigest()


def _key(kind: bytes, name: str) -> bytes:
    raw = name.encode()
    return kind + (b":" + raw if len(raw) <= KEY_BYTES else b"#" + hashlib.blake2b(raw, digest_size=32).digest())
