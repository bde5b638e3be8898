"""The servers that are measured, as processes of their own on one core; and what the kernel says they used."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

START_SECONDS = 300
OF_THE_SERVER = frozenset({"date", "server", "content-length", "connection", "transfer-encoding"})


@dataclass(frozen=True)
class Server:
    """A running server: its address, its process, and the workers that answer."""

    url: str
    pid: int
    ready_seconds: float

    @property
    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(child) for child in children]

    def cpu_seconds(self) -> float:
        """Processor time of the workers so far, all threads."""
        files = (file for pid in self.workers for file in Path(f"/proc/{pid}/task").glob("*/schedstat"))
        return sum(int(file.read_text().split()[0]) for file in files) / 1e9

    def memory_mib(self) -> dict[str, float]:
        """Of the first worker: resident in all, of mapped shards, and the rest, which is the service's own."""
        text = Path(f"/proc/{self.workers[0]}/smaps").read_text()
        total = shards = 0
        in_shard = False
        for line in text.splitlines():
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                in_shard = line.endswith(".lmdb")
            elif line.startswith("Rss:"):
                size = int(line.split()[1])
                total += size
                shards += size if in_shard else 0
        return {"resident": total / 1024, "shards": shards / 1024, "own": (total - shards) / 1024}

    def peak_mib(self) -> float:
        """The most that the first worker was resident with until now, mapped shards included."""
        text = Path(f"/proc/{self.workers[0]}/status").read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) / 1024

    def shared_mib(self) -> float:
        """What all processes of the server hold; of what they share with others, their part."""
        files = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in (self.pid, *self.workers))
        return sum(int(text.partition("\nPss:")[2].split()[0]) for text in files) / 1024


@contextmanager
def service(settings: Path, home: Path, cores: set[int], workers: int = 1) -> Iterator[Server]:
    """The lookup service with this configuration, from when it is ready."""
    port = free_port()
    config = home / f"nightshift-{port}.yaml"
    values = yaml.safe_load(settings.read_text(encoding="utf-8"))
    values["serving"] = {**values.get("serving", {}), "port": port, "poll_seconds": 0.05}
    if workers > 1:
        values["serving"]["workers"] = workers
    config.write_text(yaml.safe_dump(values), encoding="utf-8")
    with _running([sys.executable, "-m", "nightshift.serving", "--config", str(config)], home, cores, port) as server:
        yield server


@contextmanager
def bare(answer: httpx.Response, home: Path, cores: set[int], *of_each: str) -> Iterator[Server]:
    """A yardstick, returning this answer of u0 to whatever is asked.

    Args:
        of_each: options by which it returns each user's own instead: see `benchmarks.lookup.bare`.
    """
    headers = [pair for pair in answer.headers.multi_items() if pair[0] not in OF_THE_SERVER]
    port = free_port()
    file = home / f"answer-{port}.json"
    file.write_text(json.dumps({"headers": headers, "body": answer.text}), encoding="utf-8")
    asked = ["--port", str(port), "--answer", str(file), *of_each]
    with _running([sys.executable, "-m", "benchmarks.lookup.bare", *asked], home, cores, port) as server:
        yield server


@contextmanager
def _running(command: list[str], home: Path, cores: set[int], port: int) -> Iterator[Server]:
    url, started = f"http://127.0.0.1:{port}", time.perf_counter()
    environment = {**os.environ, "NIGHTSHIFT_HOME": str(home)}
    log = home / f"server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=output,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    try:
        while not _is_ready(url):
            if process.poll() is not None or time.perf_counter() - started > START_SECONDS:
                raise RuntimeError(f"{' '.join(command)} did not come up: {log.read_text()[-2000:]}")
            time.sleep(0.005)
        yield Server(url, process.pid, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).is_success
    except httpx.HTTPError:
        return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]
