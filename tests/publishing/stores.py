"""The two stores that every publishing test runs on: this machine's disk, and a real S3 server on loopback."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.s3 import models
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

from nightshift.publishing.storage import Storage, open_storage

BUCKET = "published-lists"
ACCOUNT = "123456789012"  # whose the server thinks we are


def one_at_a_time(put: Callable[..., Any]) -> Callable[..., Any]:
    """S3 checks the condition of a write and writes in one act; moto in two, between which another may come."""
    lock = threading.Lock()

    def locked(*args: Any) -> Any:
        with lock:
            return put(*args)

    return locked


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of an S3 server with an empty bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        environment.setenv("AWS_CONFIG_FILE", "/dev/null")
        environment.setattr(S3Response, "put_object", one_at_a_time(S3Response.put_object))
        environment.setattr(models, "S3_UPLOAD_PART_MIN_SIZE", 1)
        server.start()
        host, port = server.get_host_and_port()
        boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket=BUCKET)
        yield f"http://{host}:{port}"
        server.stop()


def inside(prefix: str) -> dict[str, bytes]:
    """What lies in the S3 server under `prefix`, by key without it: not as it answers, but as it is."""
    keys = models.s3_backends[ACCOUNT]["aws"].buckets[BUCKET].keys
    return {key.removeprefix(prefix): found.value for key, found in keys.items() if key.startswith(prefix)}


def put_inside(prefix: str, objects: Mapping[str, bytes]) -> None:
    for key, body in objects.items():
        models.s3_backends[ACCOUNT]["aws"].put_object(BUCKET, prefix + key, body)


@pytest.fixture(params=["file", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str | None]:
    """The address and the endpoint of an empty store, one of each kind."""
    if request.param == "file":
        return (tmp_path / "published lists").as_uri(), None
    return f"s3://{BUCKET}/{uuid.uuid4()}", request.getfixturevalue("s3_endpoint")


@pytest.fixture
def storage(address: tuple[str, str | None]) -> Storage:
    """An empty store, one of each kind."""
    return open_storage(*address)
