"""The service as it runs: a process of its own, real HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

Address = tuple[str, str | None]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def write_config(folder: Path, address: Address, **serving: Any) -> Path:
    """The sample's configuration with this store, a free port and a quick poll."""
    values = yaml.safe_load(Path("nightshift.yaml").read_text(encoding="utf-8"))
    values["store"] = {"address": address[0], "endpoint": address[1]}
    values["serving"] = {"port": free_port(), "poll_seconds": 0.02, **serving}
    (folder / "nightshift.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return folder / "nightshift.yaml"


def start(config: Path, begun: Sequence[str] = ("-m", "nightshift.serving")) -> subprocess.Popen[str]:
    command = [sys.executable, *begun, "--config", str(config)]
    environment = {**os.environ, "NIGHTSHIFT_HOME": str(config.parent)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@contextmanager
def running(config: Path) -> Iterator[str]:
    """The address of a service with this configuration, from when it has said so."""
    process = start(config)
    assert process.stdout
    try:
        line = process.stdout.readline()
        assert line.startswith("The lookup service is at http://127.0.0.1:"), process.communicate()
        yield line.split()[5]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it has not come true in time"
