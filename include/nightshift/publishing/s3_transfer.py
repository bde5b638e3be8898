"""Files to S3 and back in parts: in bounded memory, each part checked and tried again by itself, no part sent twice.

boto3's own transfers (s3transfer) know no deadline, and begin a file anew that was cut off; for these two things only
this module is here.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightshift.publishing.s3_client import S3Client, encoded
from nightshift.publishing.storage import ConflictError, ForbiddenError, NotThereError, StoreError

PART_BYTES = 8 * 2**20
MOST_PARTS = 10_000  # of one object, in S3
ROUNDS = 3  # of an upload that somebody else ends or aborts meanwhile, or whose object is not what was sent


@dataclass(frozen=True)
class Object:
    """One key of a bucket; or, for `uploads`, all keys that begin so."""

    client: S3Client
    where: str
    bucket: str
    key: str

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """An operation of boto3's client on this object."""
        at = {"Bucket": self.bucket, "Key": self.key, **arguments}
        found: dict[str, Any] = self.client.ask(self.where, lambda boto: getattr(boto, operation)(**at))
        return found

    def get(self, first: int, last: int, etag: str) -> bytes:
        """The bytes from `first` to `last`, both included, if the object is still the one with this tag."""
        at = {"Bucket": self.bucket, "Key": self.key, "Range": f"bytes={first}-{last}", "IfMatch": etag}

        def get(boto: Any) -> bytes:
            with contextlib.closing(boto.get_object(**at)["Body"]) as body:
                content: bytes = body.read()
            return content

        return self.client.ask(self.where, get)

    def uploads(self) -> list[dict[str, Any]]:
        """The multipart uploads under way or cut off, of this key and of those that it begins."""
        found: list[dict[str, Any]] = []
        after: dict[str, str] = {}
        while True:
            under = {"Bucket": self.bucket, "Prefix": self.key, **after}
            page = self.client.ask(self.where, lambda boto: boto.list_multipart_uploads(**under))  # noqa: B023
            found += page.get("Uploads", [])
            if not page.get("IsTruncated"):
                return found
            after = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def parts(self, upload: str) -> list[dict[str, Any]]:
        """The parts of an upload that have arrived."""
        found: list[dict[str, Any]] = []
        after: dict[str, int] = {}
        while True:
            page = self.ask("list_parts", UploadId=upload, **after)
            found += page.get("Parts", [])
            if not page.get("IsTruncated"):
                return found
            after = {"PartNumberMarker": page["NextPartNumberMarker"]}

    def touched(self, upload: dict[str, Any]) -> dt.datetime:
        """When the last part of an upload came; when it was begun, if none has."""
        try:
            parts = self.parts(upload["UploadId"])
        except NotThereError:  # it has ended meanwhile
            parts = []
        return max([upload["Initiated"], *(part["LastModified"] for part in parts)])

    def begin(self) -> str:
        """Begin a multipart upload. Returns its id."""
        return str(self.ask("create_multipart_upload", **self.client.algorithm)["UploadId"])

    def abort(self, upload: str) -> None:
        try:
            self.ask("abort_multipart_upload", UploadId=upload)
        except NotThereError:
            return


def upload(target: Object, source: Path, sha256: str, part_bytes: int = PART_BYTES) -> None:
    """Put a file there, unless it is there; a large one in parts, of which those that are there are not sent again.

    Raises:
        StoreError: it has not arrived as it is, however often it was sent.
    """
    size = source.stat().st_size
    part_bytes = max(part_bytes, -(-size // MOST_PARTS))
    for _ in range(ROUNDS):
        if _is_there(target, source, size, sha256, part_bytes):
            return
        if size <= part_bytes:
            body = source.read_bytes()
            target.ask("put_object", Body=body, **target.client.seal(body))
        else:
            _upload_parts(target, source, part_bytes)
    if not _is_there(target, source, size, sha256, part_bytes):
        raise StoreError(f"{target.where}: it was sent {ROUNDS} times, and what lies there is not what was sent")


def download(source: Object, target: Path, part_bytes: int = PART_BYTES) -> None:
    """Write the object to a file, a part at a time.

    Raises:
        NotThereError: there is none.
        ConflictError: it became another meanwhile.
        StoreError: the disk is full.
    """
    head = source.ask("head_object")
    size, etag = head["ContentLength"], head["ETag"]
    try:
        with open(target, "wb") as file:
            for first in range(0, size, part_bytes):
                file.write(source.get(first, min(first + part_bytes, size) - 1, etag))
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror}. Make room on that disk, or check its rights.") from error


def _upload_parts(target: Object, source: Path, part_bytes: int) -> None:
    """Go on with the upload that a killed publisher left, or begin one; and end it."""
    with contextlib.suppress(NotThereError):  # another publisher of this file ended it, or aborted it: the caller looks
        name = _begun(target) or target.begin()
        there = {part["PartNumber"]: part for part in target.parts(name)}
        sent = []
        for number, body in enumerate(_parts_of(source, part_bytes), start=1):
            part, seal = there.get(number), target.client.seal(body)
            if part is None or not _same(part, body):
                part = target.ask("upload_part", UploadId=name, PartNumber=number, Body=body, **seal)
            checked = {check: seal[check] for check in seal if check != "ContentMD5"}
            sent.append({"PartNumber": number, "ETag": part["ETag"], **checked})
        target.ask("complete_multipart_upload", UploadId=name, MultipartUpload={"Parts": sent})


def _begun(target: Object) -> str | None:
    """The upload of this key that was begun last, and can be gone on with; None too where we may not look."""
    try:
        found = [upload for upload in target.uploads() if upload["Key"] == target.key]
    except ForbiddenError:
        return None
    fitting = [u for u in found if u.get("ChecksumAlgorithm") in (None, *target.client.algorithm.values())]
    return max(fitting, key=lambda upload: upload["Initiated"])["UploadId"] if fitting else None


def _is_there(target: Object, source: Path, size: int, sha256: str, part_bytes: int) -> bool:
    """Whether the object has this content: by what the server says its hash is, else by reading it."""
    try:
        head = target.ask("head_object", ChecksumMode="ENABLED")
        if head["ContentLength"] != size:
            return False
        if told := head.get("ChecksumSHA256"):
            whole = encoded(bytes.fromhex(sha256))
            return told == whole or told.partition("-")[0] == _composite(source, part_bytes)
        digest = hashlib.sha256()
        for first in range(0, size, part_bytes):
            digest.update(target.get(first, min(first + part_bytes, size) - 1, head["ETag"]))
    except (NotThereError, ConflictError):  # the second: it became another just now
        return False
    return digest.hexdigest() == sha256


def _composite(source: Path, part_bytes: int) -> str:
    """S3's hash of an object in parts: the hash of its parts' hashes."""
    parts = (hashlib.sha256(body).digest() for body in _parts_of(source, part_bytes))
    return encoded(hashlib.sha256(b"".join(parts)).digest())


def _same(part: dict[str, Any], body: bytes) -> bool:
    """Whether a part that has arrived is this one. Its tag is its MD5, unless the server encrypts it."""
    if part["Size"] != len(body):
        return False
    if told := part.get("ChecksumSHA256"):
        return bool(told == encoded(hashlib.sha256(body).digest()))
    return bool(part["ETag"].strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest())


def _parts_of(source: Path, part_bytes: int) -> Iterator[bytes]:
    with open(source, "rb") as file:
        while body := file.read(part_bytes):
            yield body
