"""Load from a process of its own: wrk where it is installed, else a loader in Python, which is slower."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

KEY_HEADER = "x-api-key"
SCRIPT = Path(__file__).with_name("load.lua")
PAUSE = 10.0  # mean milliseconds between a connection's requests, about, when the rate is given
NEAR, TRIES = 0.03, 8  # how near to a rate the load must come, and in how many tries
MOST = 4  # times the connections that would do if answers took no time


@dataclass(frozen=True)
class Load:
    """What is asked: known users `u0` to `u<users - 1>`, a share of unknown ones, over so many connections.

    Attributes:
        pause: mean milliseconds that a connection waits before it asks again; 0: not at all, to find the peak.
        check: look into every answer whether it mixes two runs.
        key: an API key to send.
        k: entries to ask for; 0: as many as there are.
    """

    users: int
    unknown: float = 0.0
    connections: int = 32
    pause: float = 0.0
    check: bool = False
    key: str = ""
    k: int = 0

    def at(self, rate: float) -> Load:
        """The same at `rate` requests a second in all if answers took no time, by connections that pause."""
        connections = max(1, round(rate * PAUSE / 1000))
        return replace(self, connections=connections, pause=1000 * connections / rate)


@dataclass(frozen=True)
class Loaded:
    """What came of it; latencies in milliseconds. `mixed`: answers with entries of another run than they name."""

    requests: int
    seconds: float
    errors: int
    latency: dict[str, float]
    mixed: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def loader() -> str:
    """Which loader is used, in words."""
    if shutil.which("wrk"):
        return "wrk"
    return "Python (slow: install wrk, as with `apt-get install wrk`, to find the service's own limit)"


def load(url: str, what: Load, seconds: float, cores: set[int]) -> Loaded:
    """Ask for so many seconds."""
    command = _wrk(url, what, seconds) if shutil.which("wrk") else _python(url, what, seconds)
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, cores)
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    latency = {name: found[name] for name in ("p50", "p99", "p99.9", "max")}
    return Loaded(found["requests"], found["seconds"], found["errors"], latency, found["mixed"])


def load_at(url: str, what: Load, rate: float, seconds: float, cores: set[int]) -> tuple[Load, Loaded]:
    """Ask for so many seconds at `rate` requests a second, within 3% where the server can.

    A connection waits for its answer before it pauses: how many more are needed is found by trying. If no try comes
    within 3%, the nearest counts.
    """
    tried, asked = list[tuple[Load, Loaded]](), rate
    while len(tried) < TRIES:
        tried.append((what.at(asked), load(url, what.at(asked), seconds, cores)))
        share = tried[-1][1].rate / rate
        if abs(share - 1) <= NEAR:
            break
        asked = min(asked / share, MOST * rate)
    return min(tried, key=lambda one: abs(one[1].rate / rate - 1))


def _wrk(url: str, what: Load, seconds: float) -> list[str]:
    asked = [what.users, what.unknown, what.pause, "check" if what.check else "no", what.key, what.k]
    shape = ["-t1", f"-c{what.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    return ["wrk", *shape, "-s", str(SCRIPT), url, "--", *map(str, asked)]


def _python(url: str, what: Load, seconds: float) -> list[str]:
    return [sys.executable, "-m", "benchmarks.lookup.load", url, json.dumps({**vars(what), "seconds": seconds})]


async def ask(url: str, what: Load, seconds: float) -> dict[str, Any]:
    """The loader in Python: `connections` tasks, each of which asks and waits for the answer."""
    latencies: list[float] = []
    wrong = {"errors": 0, "mixed": 0}
    host = urlsplit(url)
    started = time.perf_counter()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(host.hostname, host.port)
        while (begun := time.perf_counter()) - started < seconds:
            name = f"{'x' if random.random() < what.unknown else 'u'}{random.randrange(what.users)}"
            path = f"/v1/users/{name}/recommendations{f'?k={what.k}' if what.k else ''}"
            writer.write(f"GET {path} HTTP/1.1\r\nhost: lookup\r\n{KEY_HEADER}: {what.key}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            latencies.append(time.perf_counter() - begun)
            wrong["errors"] += not head.startswith(b"HTTP/1.1 200")
            wrong["mixed"] += what.check and mixes(body)
            if what.pause:
                await asyncio.sleep(random.uniform(0, 2 * what.pause) / 1000)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(what.connections)))
    p50, p99, p999 = np.quantile(latencies, (0.5, 0.99, 0.999)) * 1000
    figures = {"p50": p50, "p99": p99, "p99.9": p999, "max": max(latencies) * 1000}
    return {"requests": len(latencies), "seconds": time.perf_counter() - started, **wrong, **figures}


def mixes(body: bytes) -> bool:
    """Whether an answer has an entry of another run than the one it names."""
    answer = json.loads(body)
    return any(not entry["title"].endswith(f" of {answer['run_id']}") for entry in answer["items"])


if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    length = given.pop("seconds")
    print(json.dumps(asyncio.run(ask(sys.argv[1], Load(**given), length))))
