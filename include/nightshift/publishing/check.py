"""Try whether a store keeps the promises that publishing rests on: of a new bucket, or a server that is not Amazon's.

    python -m nightshift.publishing.check
    python -m nightshift.publishing.check --store s3://bucket/prefix --endpoint http://127.0.0.1:9000

A line for each promise; exit 1 if one is not kept. It writes to a folder of its own, check-..., and removes it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nightshift.config import ConfigError, load
from nightshift.publishing.s3_transfer import PART_BYTES
from nightshift.publishing.storage import (
    ConflictError,
    NotThereError,
    Storage,
    StoreError,
    Unfinished,
    open_storage,
    sha256_of,
    store_of,
)

Promise = Callable[[Storage, str, Path], None]


class BrokenError(Exception):
    """A promise is not kept."""


def written(storage: Storage, folder: str, work: Path) -> None:
    """what is written is read and listed at once"""
    storage.write(f"{folder}a/b", b"one")
    storage.write(f"{folder}a/b", b"two")
    must(storage.read(f"{folder}a/b").body == b"two", "an older body was read")
    must([item.key for item in storage.list(f"{folder}a/")] == [f"{folder}a/b"], "it is not listed")


def created_once(storage: Storage, folder: str, work: Path) -> None:
    """a key is created once (If-None-Match: *)"""
    storage.create(f"{folder}manifest", b"first")
    with refused("a second body took its place"):
        storage.create(f"{folder}manifest", b"second")
    must(storage.read(f"{folder}manifest").body == b"first", "a second body took its place")


def replaced_by_who_saw_it(storage: Storage, folder: str, work: Path) -> None:
    """a key is replaced only by who saw what is there (If-Match)"""
    storage.create(f"{folder}pointer", b"one")
    seen = storage.read(f"{folder}pointer").etag
    storage.replace(f"{folder}pointer", b"two", seen)
    with refused("a body was replaced that was not the one that was seen"):
        storage.replace(f"{folder}pointer", b"three", seen)
    with refused("a body was put where there was none"):
        storage.replace(f"{folder}nothing", b"one", seen)


def transferred(storage: Storage, folder: str, work: Path) -> None:
    """a file of several parts arrives as it is, and comes back"""
    there, back = work / "there", work / "back"
    part_bytes = getattr(storage, "part_bytes", PART_BYTES)
    there.write_bytes((bytes(range(251)) * (part_bytes // 251 + 1))[:part_bytes] + b"and a short part")
    storage.upload(there, f"{folder}file", sha256_of(there))
    storage.download(f"{folder}file", back)
    must(sha256_of(back) == sha256_of(there), "another file came back")


def unfinished(storage: Storage, folder: str, work: Path) -> None:
    """uploads that were cut off can be found, and aborted"""
    key = f"{folder}cut-off"
    begun = Unfinished(key, dt.datetime.now(dt.UTC), storage.begin(key))
    try:
        found = [(one.key, one.name) for one in storage.unfinished(folder)]
    finally:
        storage.abort(begun)
    must(found == [(key, begun.name)], f"one was begun, and {len(found)} were found")
    must(not storage.unfinished(folder), "one that was aborted is found again")


def deleted(storage: Storage, folder: str, work: Path) -> None:
    """what is deleted is gone"""
    storage.write(f"{folder}gone", b"")
    storage.delete(f"{folder}gone")
    with contextlib.suppress(NotThereError):
        storage.read(f"{folder}gone")
        raise BrokenError("it is still read")


PROMISES: tuple[Promise, ...] = (written, created_once, replaced_by_who_saw_it, transferred, unfinished, deleted)


NOT_TRIED = "not tried, as nothing can be written or read"


def check(storage: Storage) -> dict[str, str | None]:
    """Each promise, with why it is not kept; None: it is."""
    folder, found = f"check-{uuid.uuid4()}/", dict[str, str | None]()
    with tempfile.TemporaryDirectory() as work:
        for promise in PROMISES:
            try:
                promise(storage, folder, Path(work))
                found[promise.__doc__ or ""] = None
            except (BrokenError, StoreError) as error:
                found[promise.__doc__ or ""] = str(error)
                if promise is written and isinstance(error, StoreError):  # each of the others would wait as long
                    return found | {other.__doc__ or "": NOT_TRIED for other in PROMISES[1:]}
    with contextlib.suppress(StoreError):
        storage.delete_all(folder)
    return found


def must(kept: bool, why: str) -> None:
    if not kept:
        raise BrokenError(why)


@contextlib.contextmanager
def refused(otherwise: str) -> Iterator[None]:
    """The body must raise a `ConflictError`."""
    try:
        yield
    except ConflictError:
        return
    raise BrokenError(otherwise)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m nightshift.publishing.check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--store", metavar="ADDRESS", help="file:///folder or s3://bucket/prefix (store.address)")
    parser.add_argument("--endpoint", metavar="URL", help="of an S3-compatible server; with --store")
    parser.add_argument("--config", metavar="FILE", help="the configuration (NIGHTSHIFT_CONFIG, else nightshift.yaml)")
    args = parser.parse_args(argv)
    try:
        storage = open_storage(args.store, args.endpoint) if args.store else store_of(load(args.config))
    except (ConfigError, StoreError) as error:
        print(f"check: {error}", file=sys.stderr)
        sys.exit(1)
    found = check(storage)
    for promise, why in found.items():
        print(f"{'kept  ' if why is None else 'BROKEN'}  {promise}{'' if why is None else f': {why}'}")
    sys.exit(1 if any(found.values()) else 0)


if __name__ == "__main__":
    main()
