"""The storage seam: the few things that publishing asks of a place to keep files, on disk and in S3 alike."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlparse

from nightshift.config import Settings
from nightshift.runs import StepError, home_of

DEADLINE = 60.0  # seconds


class StoreError(StepError):
    """The store cannot do what was asked: unreachable, forbidden, misconfigured."""


class NotThereError(StoreError):
    """No such key."""


class ForbiddenError(StoreError):
    """We may not do this."""


class ConflictError(StoreError):
    """Somebody else wrote the key first."""


@dataclass(frozen=True)
class Stored:
    """What lies under a key, and the tag that a later `replace` must give to prove it saw this."""

    body: bytes
    etag: str


@dataclass(frozen=True)
class Listed:
    """A key, and when it was last written, by the store's own clock."""

    key: str
    modified: dt.datetime


@dataclass(frozen=True)
class Unfinished:
    """A write that has not come to its end: a half-written file, a multipart upload. No reader sees it.

    Attributes:
        touched: when something last came to it, by the store's own clock.
        name: what the store knows it by.
    """

    key: str
    touched: dt.datetime
    name: str


class Storage(Protocol):
    """Keys are paths with `/`. A reader sees a key whole or not at all, whatever becomes of its writer.

    Every method raises `StoreError` where the store cannot be used, or does not answer within the deadline.

    Attributes:
        transfers: how many files it is worth moving at once.
    """

    address: str
    transfers: int

    def read(self, key: str) -> Stored:
        """Raises `NotThereError`."""

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str) -> list[Listed]:
        """What lies under the folder `prefix` (ends in `/`; empty: everything), at any depth, by key."""

    def write(self, key: str, body: bytes) -> None:
        """Put `body` there, whatever was there before."""

    def create(self, key: str, body: bytes) -> None:
        """Put `body` there if nothing is (`If-None-Match: *`).

        To find exactly `body` there is a success: an answer may be lost on its way, and the request sent again.
        Raises `ConflictError` where something else is.
        """

    def replace(self, key: str, body: bytes, etag: str) -> None:
        """Put `body` there if what is there still has this tag (`If-Match`); to find exactly `body` is a success.

        Raises `ConflictError` where something else is, or nothing.
        """

    def upload(self, source: Path, key: str, sha256: str) -> None:
        """Put a file there whose content has this hash (hexadecimal), and make sure that it arrived as it is.

        What is there already, whole or in part, is not sent again.
        """

    def download(self, key: str, target: Path) -> None:
        """Write what is there to `target`. Its hash is for the caller to check. Raises `NotThereError`."""

    def local(self, key: str) -> Path | None:
        """The file itself, where it lies on this machine and need not be downloaded."""

    def delete(self, key: str) -> None:
        """What is not there is deleted already."""

    def delete_all(self, prefix: str) -> None:
        """Delete the folder `prefix` (ends in `/`) with all that is in it."""

    def begin(self, key: str) -> str:
        """Begin a write and leave it, as whoever is killed does. Returns the name by which it can be aborted."""

    def unfinished(self, prefix: str) -> Sequence[Unfinished]:
        """The writes under the folder `prefix` that are under way, or were cut off."""

    def abort(self, unfinished: Unfinished) -> None:
        """Remove what such a write has left. What has ended meanwhile stays as it is."""


def open_storage(address: str, endpoint: str | None = None, deadline: float = DEADLINE, transfers: int = 4) -> Storage:
    """The store at `file:///folder` or `s3://bucket/prefix`.

    Args:
        deadline: seconds within which a request to S3 must have succeeded, all tries together.
        transfers: files that are on their way to or from S3 at once, with up to 8 MiB in memory each.

    Raises:
        StoreError: it is neither.
    """
    url = urlparse(address)
    if url.scheme == "file" and url.path and not url.netloc:
        from nightshift.publishing.storage_file import FileStorage

        return FileStorage(Path(unquote(url.path)))
    if url.scheme == "s3" and url.netloc:
        from nightshift.publishing.storage_s3 import S3Storage

        return S3Storage(url.netloc, url.path.strip("/"), endpoint, deadline=deadline, transfers=transfers)
    raise StoreError(f"store.address {address!r} is neither file:///... nor s3://bucket/prefix")


def store_of(settings: Settings, home: Path | None = None) -> Storage:
    """The store that the configuration names, else `published` in `home`."""
    store = settings.store
    address = store.address or ((home or home_of(settings)).absolute() / "published").as_uri()
    return open_storage(address, store.endpoint, store.deadline_seconds, store.transfers)


def sha256_of(path: Path) -> str:
    """The hash of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
