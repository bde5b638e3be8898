"""The store in S3, or in a server that speaks it: conditional writes are S3's own `If-None-Match` and `If-Match`.

Who we are, and the region, is what boto3 finds: the environment, a profile, or the machine's role.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from nightshift.publishing.storage import ConflictError, Listed, NotThereError, Stored, StoreError

ABSENT = {"404", "NoSuchKey"}
PRECONDITION = {"412", "PreconditionFailed"}
TRY_AGAIN = {"409", "ConditionalRequestConflict"}  # two conditional writes at once: S3 asks one to come again
ATTEMPTS = 6


class S3Storage:
    """Objects under `prefix` in `bucket`."""

    def __init__(self, bucket: str, prefix: str = "", endpoint: str | None = None) -> None:
        self.bucket, self.prefix = bucket, f"{prefix}/" if prefix else ""
        self.address = f"s3://{bucket}/{prefix}".rstrip("/")
        config = Config(
            retries={"mode": "standard", "max_attempts": 4},
            connect_timeout=5,
            read_timeout=30,
            s3={"addressing_style": "path"} if endpoint else {},
        )
        with self._said_clearly(""):
            self.client: Any = boto3.client("s3", endpoint_url=endpoint, config=config)

    def read(self, key: str) -> Stored:
        with self._said_clearly(key):
            found = self.client.get_object(**self._at(key))
            return Stored(found["Body"].read(), found["ETag"])

    def exists(self, key: str) -> bool:
        try:
            with self._said_clearly(key):
                self.client.head_object(**self._at(key))
        except NotThereError:
            return False
        return True

    def list(self, prefix: str) -> list[Listed]:
        with self._said_clearly(prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            return [
                Listed(found["Key"].removeprefix(self.prefix), found["LastModified"])
                for page in pages
                for found in page.get("Contents", [])
            ]

    def write(self, key: str, body: bytes) -> None:
        with self._said_clearly(key):
            self.client.put_object(**self._at(key), Body=body)

    def create(self, key: str, body: bytes) -> None:
        self._write_if(key, body, IfNoneMatch="*")

    def replace(self, key: str, body: bytes, etag: str) -> None:
        self._write_if(key, body, IfMatch=etag)

    def upload(self, source: Path, key: str) -> None:
        with self._said_clearly(key):
            self.client.upload_file(str(source), **self._at(key))

    def download(self, key: str, target: Path) -> None:
        with self._said_clearly(key):
            self.client.download_file(**self._at(key), Filename=str(target))

    def local(self, key: str) -> None:
        return None

    def delete(self, key: str) -> None:
        with self._said_clearly(key):
            self.client.delete_object(**self._at(key))

    def delete_all(self, prefix: str) -> None:
        for listed in self.list(prefix):
            self.delete(listed.key)

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + key}

    def _write_if(self, key: str, body: bytes, **condition: str) -> None:
        for attempt in range(ATTEMPTS):
            try:
                with self._said_clearly(key):
                    self.client.put_object(**self._at(key), Body=body, **condition)
                return
            except _BusyError:
                time.sleep(0.05 * 2**attempt)
            except (ConflictError, NotThereError):
                if not self.exists(key) or self.read(key).body != body:
                    raise ConflictError(f"{self.address}/{key} was written by somebody else") from None
                return
        raise ConflictError(f"{self.address}/{key} is being written by somebody else")

    @contextmanager
    def _said_clearly(self, key: str) -> Iterator[None]:
        """Put boto3's many errors as one of ours."""
        where = f"{self.address}/{key}"
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code"))
            if code in ABSENT:
                raise NotThereError(f"{where} is not there") from None
            if code in PRECONDITION:
                raise ConflictError(f"{where} was written by somebody else") from None
            if code in TRY_AGAIN:
                raise _BusyError(f"{where} is being written by somebody else") from None
            raise StoreError(f"{where}: {error}. Check store.address, its bucket and your rights.") from error
        except (BotoCoreError, Boto3Error) as error:
            raise StoreError(f"{where}: {error}. Check store.address, store.endpoint and the credentials.") from error


class _BusyError(StoreError):
    """Two conditional writes met; ours may be sent again."""
