"""Ask an S3 server: patiently, until the deadline, and with new credentials where the old ones have expired.

All tries are ours: botocore's own are off, since they know no deadline. Who we are, and the region, is what boto3
finds: the environment, a profile, or the machine's role. Of boto3's settings, AWS_REQUEST_CHECKSUM_CALCULATION set to
`when_required` is for servers that know no SHA-256 of S3's: they are sent an MD5, which all know.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

import boto3
from boto3.exceptions import Boto3Error
from botocore import exceptions as boto
from botocore.config import Config
from botocore.parsers import ResponseParserError

from nightshift.publishing.patience import AgainError, GaveUpError, Patience
from nightshift.publishing.storage import ConflictError, ForbiddenError, NotThereError, StoreError

T = TypeVar("T")

ABSENT = {"404", "NoSuchKey", "NotFound", "NoSuchUpload", "InvalidPart"}
FORBIDDEN = {"403", "AccessDenied"}
PRECONDITION = {"412", "PreconditionFailed"}
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "400"}  # 400: to HEAD, which has no words
FULL = {"507", "XMinioStorageFull", "InsufficientStorage"}
MAY_PASS = {  # besides all of the statuses below
    "BadDigest",  # what arrived is not what was sent
    "ConditionalRequestConflict",  # two conditional writes met: one is asked to come again
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}
MAY_PASS_STATUS = {409, 429, 500, 502, 503, 504}
MAY_PASS_ERRORS = (
    boto.ConnectionError,
    boto.ConnectionClosedError,
    boto.FlexibleChecksumError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.MetadataRetrievalError,
    boto.ResponseStreamingError,
    ResponseParserError,  # an answer that was cut off
)
BYTE_TIMEOUT = 20  # seconds to wait for a connection, and for the next byte


class S3Client:
    """boto3's client of one server, with our patience and our errors. Threads may share it."""

    def __init__(self, endpoint: str | None, patience: Patience, connections: int) -> None:
        self.endpoint, self.patience, self.connections = endpoint, patience, connections
        self._boto: Any = self._connect(boto3)

    def ask(self, where: str, what: Callable[[Any], T]) -> T:
        """What `what` makes of boto3's client; it is called again as long as that may help.

        Args:
            where: the address that is asked for, for what is said of a failure.

        Raises:
            NotThereError, ConflictError, ForbiddenError: the server says so.
            StoreError: it cannot be done, or not by the deadline.
        """
        renewed = False

        def attempt() -> T:
            nonlocal renewed
            try:
                return what(self._boto)
            except boto.ClientError as error:
                if _code(error) in EXPIRED and not renewed:
                    renewed = True
                    self._boto = self._connect(boto3.session.Session())  # with what can be found now
                    raise AgainError(_line(error)) from error
                raise _ours(where, error) from error
            except boto.SSLError as error:
                raise StoreError(f"{where}: {_line(error)}. Check store.endpoint and its certificate.") from error
            except MAY_PASS_ERRORS as error:
                raise AgainError(_line(error)) from error
            except (boto.BotoCoreError, Boto3Error) as error:
                raise StoreError(f"{where}: {_line(error)}. Check store.endpoint and the credentials.") from error

        try:
            return self.patience.ask(attempt)
        except GaveUpError as error:
            raise StoreError(f"{where}: {error}") from error

    @property
    def algorithm(self) -> dict[str, str]:
        """What to begin an upload in parts with, so that the server checks and keeps their hashes."""
        plain = self._boto.meta.config.request_checksum_calculation == "when_required"
        return {} if plain else {"ChecksumAlgorithm": "SHA256"}

    def seal(self, body: bytes) -> dict[str, str]:
        """What to send with a body so that the server refuses it if another arrives."""
        if self.algorithm:
            return {"ChecksumSHA256": encoded(hashlib.sha256(body).digest())}
        return {"ContentMD5": encoded(hashlib.md5(body, usedforsecurity=False).digest())}

    def _connect(self, session: Any) -> Any:
        """A client with the session's credentials; `boto3` itself stands for the process's own session."""
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=BYTE_TIMEOUT,
            read_timeout=BYTE_TIMEOUT,
            max_pool_connections=self.connections,
            s3={"addressing_style": "path"} if self.endpoint else {},
        )
        try:
            return session.client("s3", endpoint_url=self.endpoint, config=config)
        except (boto.BotoCoreError, Boto3Error, ValueError) as error:
            raise StoreError(
                f"{self.endpoint or 's3'}: {_line(error)}. Check store.endpoint and AWS's files."
            ) from error


def encoded(digest: bytes) -> str:
    """A digest as S3 has it."""
    return base64.b64encode(digest).decode()


def _ours(where: str, error: boto.ClientError) -> Exception:
    code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code in ABSENT:
        return NotThereError(f"{where} is not there")
    if code in PRECONDITION:
        return ConflictError(f"{where} was written by somebody else")
    if code in FORBIDDEN:
        return ForbiddenError(f"{where}: {_line(error)}. Check your rights: docs/store.md names those that are needed.")
    if code in FULL or status == 507:
        return StoreError(f"{where}: the store is full ({code}). Make room in it, or lower store.keep_runs.")
    if code in EXPIRED:
        return StoreError(f"{where}: {_line(error)}. Have the credentials expired? Renew them.")
    if code in MAY_PASS or status in MAY_PASS_STATUS:
        return AgainError(_line(error))
    return StoreError(f"{where}: {_line(error)}. Check store.address, its bucket and your rights.")


def _code(error: boto.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code"))


def _line(error: Exception) -> str:
    told = str(error)
    if isinstance(error, boto.ClientError):
        told = f"{_code(error)} to {error.operation_name}: {error.response['Error'].get('Message', 'no reason given')}"
    return " ".join(told.split())
