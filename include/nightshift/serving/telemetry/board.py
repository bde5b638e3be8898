"""What the processes of one service share: a folder in which each keeps its counts, its state, and a bell to ring.

<pid>-<start>.counts    its counters, mapped into memory: whoever is asked for metrics adds up everyone's
<pid>-<start>.json      what it serves
<pid>-<start>.bell      a socket; whatever comes through it has the process look at the pointers now

`start` is when the process began, since another may have the pid once it has ended.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from nightshift.runs.durable import replacing

WORD = 8  # bytes of a counter
PROC = Path("/proc")  # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
STARTED = 22 - 3  # its place in `stat`, after the process's name


class Board:
    """The folder, as one process sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pid = folder, os.getpid()
        start = started(self.pid)
        self._name = f"{self.pid}-{time.time_ns() if start is None else start}"

    def counts(self, size: int) -> memoryview:
        """This process's own counters, all 0."""
        with replacing(self._own("counts")) as partial, partial.open("w+b") as file:  # nobody adds up what is empty
            file.truncate(size * WORD)
            mapped = mmap.mmap(file.fileno(), size * WORD)
        return memoryview(mapped).cast("Q")

    def totals(self) -> list[int]:
        """The sums over all processes, those that have ended included: a sum never falls."""
        total: list[int] = []
        for file in sorted(self.folder.glob("*.counts")):
            counts = memoryview(file.read_bytes()).cast("Q")
            total = [one + other for one, other in zip(total, counts, strict=True)] if total else list(counts)
        return total

    def say(self, state: dict[str, Any]) -> None:
        """Replace what is known of this process."""
        with replacing(self._own("json")) as partial:
            partial.write_bytes(orjson.dumps({"worker": self.pid, **state}))

    def states(self) -> list[dict[str, Any]]:
        """What the processes that are alive have said."""
        return [orjson.loads(file.read_bytes()) for file in self._of_the_living("json")]

    def listen(self, ring: Callable[[], None]) -> None:
        """Call `ring` whenever somebody rings, in a thread of its own, for as long as the process lives."""
        bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        bell.bind(str(self._own("bell")))
        threading.Thread(target=self._hear, args=(bell, ring), name="bell", daemon=True).start()

    def ring(self) -> int:
        """Ring at every living process. Returns how many heard it."""
        heard = 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ringer:
            for bell in self._of_the_living("bell"):
                with contextlib.suppress(OSError):
                    ringer.sendto(b"!", str(bell))
                    heard += 1
        return heard

    def _hear(self, bell: socket.socket, ring: Callable[[], None]) -> None:
        while bell.recv(1):
            ring()

    def _own(self, name: str) -> Path:
        return self.folder / f"{self._name}.{name}"

    def _of_the_living(self, name: str) -> Iterator[Path]:
        for file in sorted(self.folder.glob(f"*.{name}")):
            pid, _, start = file.stem.partition("-")
            if not PROC.exists() or started(int(pid)) == int(start):
                yield file


def started(pid: int) -> int | None:
    """Clock ticks from the system's start to the process's; None where there is none, or the system does not say."""
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    return int(stat.rpartition(b")")[2].split()[STARTED])
