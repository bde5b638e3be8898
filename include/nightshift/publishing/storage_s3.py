"""The store in S3, or in a server that speaks it: conditional writes are S3's own `If-None-Match` and `If-Match`."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nightshift.publishing.patience import Patience
from nightshift.publishing.s3_client import S3Client
from nightshift.publishing.s3_transfer import PART_BYTES, ROUNDS, Object, download, upload
from nightshift.publishing.storage import DEADLINE, ConflictError, Listed, NotThereError, Stored, StoreError, Unfinished


class S3Storage:
    """Objects under `prefix` in `bucket`.

    Args:
        deadline: seconds within which each request must have succeeded, or how long to go on asking.
        transfers: files that are moved at once, each with a part of `part_bytes` (from 5 MiB on AWS) in memory.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        endpoint: str | None = None,
        *,
        deadline: float | Patience = DEADLINE,
        transfers: int = 4,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self.bucket, self.prefix = bucket, f"{prefix}/" if prefix else ""
        self.address = f"s3://{bucket}/{prefix}".rstrip("/")
        self.transfers, self.part_bytes = transfers, part_bytes
        patience = deadline if isinstance(deadline, Patience) else Patience(deadline)
        self.client = S3Client(endpoint, patience, connections=transfers + 6)

    def read(self, key: str) -> Stored:
        def get(boto: Any) -> Stored:
            found = boto.get_object(**self._at(key))
            with contextlib.closing(found["Body"]) as body:
                return Stored(body.read(), found["ETag"])

        return self.client.ask(self._where(key), get)

    def exists(self, key: str) -> bool:
        try:
            self.client.ask(self._where(key), lambda boto: boto.head_object(**self._at(key)))
        except NotThereError:
            return False
        return True

    def list(self, prefix: str) -> list[Listed]:
        found: list[Listed] = []
        after: dict[str, str] = {}
        while True:
            under = {"Bucket": self.bucket, "Prefix": self.prefix + prefix, **after}
            page = self.client.ask(self._where(prefix), lambda boto: boto.list_objects_v2(**under))  # noqa: B023
            found += [Listed(self._key(item), item["LastModified"]) for item in page.get("Contents", [])]
            if not page.get("IsTruncated"):
                return found
            after = {"ContinuationToken": page["NextContinuationToken"]}

    def write(self, key: str, body: bytes) -> None:
        self._put(key, body)

    def create(self, key: str, body: bytes) -> None:
        self._write_if(key, body, IfNoneMatch="*")

    def replace(self, key: str, body: bytes, etag: str) -> None:
        self._write_if(key, body, IfMatch=etag)

    def upload(self, source: Path, key: str, sha256: str) -> None:
        upload(self._object(key), source, sha256, self.part_bytes)

    def download(self, key: str, target: Path) -> None:
        download(self._object(key), target, self.part_bytes)

    def local(self, key: str) -> None:
        return None

    def delete(self, key: str) -> None:
        self.client.ask(self._where(key), lambda boto: boto.delete_object(**self._at(key)))

    def delete_all(self, prefix: str) -> None:
        for listed in self.list(prefix):
            self.delete(listed.key)

    def begin(self, key: str) -> str:
        return self._object(key).begin()

    def unfinished(self, prefix: str) -> Sequence[Unfinished]:
        return [
            Unfinished(self._key(found), self._object(self._key(found)).touched(found), found["UploadId"])
            for found in self._object(prefix).uploads()
        ]

    def abort(self, unfinished: Unfinished) -> None:
        self._object(unfinished.key).abort(unfinished.name)

    def _object(self, key: str) -> Object:
        return Object(self.client, self._where(key), self.bucket, self.prefix + key)

    def _where(self, key: str) -> str:
        return f"{self.address}/{key}"

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + key}

    def _key(self, found: dict[str, Any]) -> str:
        return str(found["Key"]).removeprefix(self.prefix)

    def _put(self, key: str, body: bytes, **condition: str) -> None:
        """Put a body there, and see to it that it is what lies there then: not every server checks what it was sent."""
        for _ in range(ROUNDS):
            sealed = {"Body": body, **self.client.seal(body), **condition}
            sent = self.client.ask(self._where(key), lambda boto: boto.put_object(**self._at(key), **sealed))  # noqa: B023
            if sent["ETag"].strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest():
                return
            found = self.read(key)  # a tag is another hash too where the server encrypts
            if found.body == body or found.etag != sent["ETag"]:
                return
            condition = {"IfMatch": found.etag}
        raise StoreError(f"{self._where(key)}: it was sent {ROUNDS} times, and what lies there is not what was sent")

    def _write_if(self, key: str, body: bytes, **condition: str) -> None:
        try:
            self._put(key, body, **condition)
        except (ConflictError, NotThereError):
            try:
                found = self.read(key).body
            except NotThereError:
                found = None
            if found != body:
                raise ConflictError(f"{self._where(key)} was written by somebody else") from None
