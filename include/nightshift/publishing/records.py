"""The records of a run: for each user and item, and for who is unknown, the answer's entries as ready JSON.

A list's value is a JSON array, best first, with an entry a line: an answer as it lies there; the first k are cut out
with no parsing. A run may also have the lists of segments (`country:Germany`) and the attributes of items, for readers
to filter by; then one record each, `SEGMENTS` and `ATTRIBUTES`, names the attributes that there are. What a user bought
is a list as well, in the shard of the user's own; a run may have none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

import orjson

Entry = dict[str, Any]
Read = Callable[[bytes], bytes | None]  # looks a key up in a shard
KEY_BYTES = 500  # LMDB takes keys of up to 511; a longer id is kept under its hash
USER, HISTORY, POPULAR = b"u", b"h", b"p"
BETWEEN, NOTHING = b",\n", b"[]"  # entries of a list; no JSON without white space has a line break in it
SPREAD = 0x9E3779B1  # 2**32 by the golden ratio: Knuth, The Art of Computer Programming, volume 3, section 6.4
SEGMENTS, ATTRIBUTES = b"g", b"a"  # keys of the names of attributes that users' segments and items have


def user_key(user_id: str) -> bytes:
    """Of the user's list."""
    return _key(USER, user_id)


def history_key(user_id: str) -> bytes:
    """Of what the user bought, the latest first. It lies in the shard that `user_key` says."""
    return _key(HISTORY, user_id)


def keys_of(user_ids: Iterable[str]) -> set[bytes]:
    """Of every record that is of one of these users."""
    return {key_of(user_id) for user_id in user_ids for key_of in (user_key, history_key)}


def similar_key(item_id: str) -> bytes:
    """Of the items like this one."""
    return _key(b"s", item_id)


def title_key(item_id: str) -> bytes:
    """Of the item's title; every item that the run knows has one."""
    return _key(b"t", item_id)


def segment_key(attribute: str, value: str) -> bytes:
    """Of the list for users of whom nothing is known but that they are of this segment."""
    return _key(SEGMENTS, f"{attribute}:{value}")


def attributes_key(item_id: str) -> bytes:
    """Of the item's attributes."""
    return _key(ATTRIBUTES, item_id)


def shard_of(key: bytes, shards: int) -> int:
    """Which of `shards` files holds `key`: the same on every machine and for ever.

    A checksum, and a product that spreads what is alike, take a quarter of the time of a hash.
    """
    return (crc32(key) * SPREAD & 0xFFFFFFFF) * shards >> 32


def encode(entries: Iterable[Entry]) -> bytes:
    return array_of(map(orjson.dumps, entries))


def array_of(encoded: Iterable[bytes]) -> bytes:
    """The value of a list, from its entries, each as JSON."""
    return b"[" + BETWEEN.join(encoded) + b"]"


def entries_of(value: bytes) -> list[bytes]:
    """The entries of a list, each as JSON."""
    return value[1:-1].split(BETWEEN) if value != NOTHING else []


def encode_title(title: str | None) -> bytes:
    return orjson.dumps(title)


def encode_attributes(attributes: Mapping[str, str | Sequence[str] | None]) -> bytes:
    """An item's attributes, each a text or several; what it has no value of is left out."""
    return orjson.dumps({name: value for name, value in attributes.items() if value is not None})


def encode_names(names: Iterable[str]) -> bytes:
    """The value of `SEGMENTS` or `ATTRIBUTES`."""
    return orjson.dumps(sorted(names))


def first(value: bytes, k: int) -> bytes:
    """The first `k` entries of a list, 1 or more, as a list."""
    rest = value.split(BETWEEN, k)[k:]
    return value[: -len(rest[0]) - len(BETWEEN)] + b"]" if rest else value


def first_of_user(readers: Sequence[Read], longest: int) -> Callable[[str, int], bytes | None]:
    """A function of a user and k that gives `first` of the user's list, from the reader of each shard; None: no list.

    It is what a service does for every request, so it is one function: `user_key`, `shard_of` and `first` in one.

    Args:
        longest: entries in the longest list of a user; who asks for as many gets the record as it lies there.
    """
    shards = len(readers)

    def first_of(user_id: str, k: int) -> bytes | None:
        raw = user_id.encode()
        key = b"u:" + raw if len(raw) <= KEY_BYTES else _key_of_hash(USER, raw)
        value = readers[(crc32(key) * SPREAD & 0xFFFFFFFF) * shards >> 32](key)
        return value if value is None or k >= longest else first(value, k)

    return first_of


def of_user(key: bytes) -> bool:
    """Whether the record is of a user."""
    return key[:1] in (USER, HISTORY)


def content_hash(ordered: Iterable[tuple[bytes, bytes]]) -> str:
    """sha256 over the records, which come in key order, each with its lengths."""
    digest = hashlib.sha256()
    for key, value in ordered:
        digest.update(b"%d %d\n" % (len(key), len(value)) + key + value)
    return digest.hexdigest()


def _key(kind: bytes, name: str) -> bytes:
    raw = name.encode()
    return b"%b:%b" % (kind, raw) if len(raw) <= KEY_BYTES else _key_of_hash(kind, raw)


def _key_of_hash(kind: bytes, raw: bytes) -> bytes:
    return kind + b"#" + hashlib.blake2b(raw, digest_size=32).digest()
