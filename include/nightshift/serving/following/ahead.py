"""Have a run's files fetched and checked by a process of its own, which works when nobody else wants to.

Hashing gigabytes beside requests, on their core and under their interpreter's lock, would hold them up for as long as
it takes. What this process has checked is remembered in the cache, so the service opens it at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE

from nightshift.publishing.manifest import File, Manifest
from nightshift.publishing.read import fetch, was_fetched
from nightshift.publishing.storage import Storage, StoreError, open_storage

WORTH_IT = 2**26  # bytes: less is checked in the time that a process takes to start


@dataclass(frozen=True)
class Ahead:
    """How that process reaches the store: as `open_storage` does."""

    endpoint: str | None
    deadline: float
    transfers: int

    def fetch(self, storage: Storage, manifest: Manifest, files: Sequence[File], cache: Path, seconds: float) -> None:
        """Fetch and check those of these files that are worth it; the others are left for when they are opened.

        Raises:
            StoreError: one cannot be fetched, or is another than the manifest says; or it took longer than `seconds`.
        """
        new = [file for file in files if not was_fetched(storage, manifest, file, cache)]
        if sum(file.bytes for file in new) < WORTH_IT:
            return
        asked = {
            "store": (storage.address, self.endpoint, self.deadline, self.transfers),
            "cache": str(cache),
            "manifest": manifest.model_dump(mode="json"),
            "files": [file.path for file in new],
        }
        command = [sys.executable, "-m", "nightshift.serving.following.ahead"]
        with subprocess.Popen(command, stdin=PIPE, stdout=DEVNULL, stderr=PIPE, text=True) as process:
            try:
                _gives_way(process.pid)  # from its first moment: what it imports takes a second
                _, said = process.communicate(json.dumps(asked), timeout=seconds)
            except subprocess.TimeoutExpired:
                raise StoreError(f"{manifest.run} was not here within {seconds:g} s") from None
            finally:
                process.kill()
        if process.returncode:
            lines = said.strip().splitlines()
            raise StoreError(lines[-1] if lines else f"fetching {manifest.run} ended with {process.returncode}")


def main() -> None:
    """What is asked comes through standard input; what goes wrong is one line on standard error, and exit 1."""
    _ends_with_the_service()
    asked = json.load(sys.stdin)
    manifest, cache = Manifest.model_validate(asked["manifest"]), Path(asked["cache"])
    wanted = [file for file in manifest.files.values() if file.path in set(asked["files"])]
    try:
        storage = open_storage(*asked["store"])
        with ThreadPoolExecutor(storage.transfers) as pool:
            list(pool.map(lambda file: fetch(storage, manifest, file, cache), wanted))
    except StoreError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _gives_way(process: int) -> None:
    """Have it run when nobody else wants to (Linux: SCHED_IDLE), as far as the system lets us."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process, 19)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(process, os.SCHED_IDLE, os.sched_param(0))


def _ends_with_the_service() -> None:
    """Linux: PR_SET_PDEATHSIG."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


if __name__ == "__main__":
    main()
