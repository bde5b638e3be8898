"""A lookup service as it runs: a process of its own, on a port of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


@contextmanager
def lookup_service(
    folder: Path, store: str, experiments: dict[str, Any] | None = None, **serving: Any
) -> Iterator[str]:
    """The address of a service that reads the store at the address `store`, from when it answers.

    Args:
        folder: for its configuration and state.
        experiments: the settings of `experiments`; None: those of the sample.
        serving: further settings of `serving`.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    values = yaml.safe_load((ROOT / "nightshift.yaml").read_text(encoding="utf-8"))
    values["store"] = {"address": store}
    values |= {"experiments": experiments} if experiments else {}
    values["serving"] = {"port": port, "poll_seconds": 0.02, **serving}
    config = folder / "lookup.yaml"
    config.write_text(yaml.safe_dump(values), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "nightshift.serving", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NIGHTSHIFT_HOME": str(folder)},
    )
    assert process.stdout
    try:
        line = process.stdout.readline()
        assert "http://" in line, process.communicate()
        yield line.split()[5]
    finally:
        process.terminate()
        process.communicate(timeout=20)
