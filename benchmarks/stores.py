"""Empty stores to publish to. The S3 server is moto's, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SERVER = """
import logging, sys, time
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def store(kind: str, folder: Path) -> Iterator[tuple[str, str | None]]:
    """The address and the endpoint of an empty store."""
    if kind == "file":
        yield (folder / "published").as_uri(), None
        return
    import boto3

    who = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(who | {"AWS_CONFIG_FILE": "/dev/null"})
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", SERVER], **pipes) as server:
        assert server.stdout
        endpoint = server.stdout.readline().strip()
        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="published-lists")
        yield "s3://published-lists/soak", endpoint
        server.terminate()
