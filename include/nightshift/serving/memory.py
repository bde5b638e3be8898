"""Keep what a worker has read in memory, also where the machine would rather have it for something else (mlockall).

A page of a shard that the kernel takes back is read from the disk again by the next request that needs it, and every
other request of that worker waits. With `serving.lock_memory` what was read once stays until its run is let go of, so
the machine must have memory for all shards that are served, and for those of a run that comes.
"""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path

CURRENT, FUTURE, ON_FAULT = 1, 2, 4  # mlockall(2): what is mapped, what will be; each page from when it is read
CAP_IPC_LOCK = 14  # capabilities(7)
STATUS = Path("/proc/self/status")


def why_not() -> str | None:
    """Why this process may not keep all of its memory; None: it may.

    What may be locked in part is refused: a mapping over the limit would fail in the middle of the work.
    """
    if not STATUS.exists():
        return "this system has no mlockall with MCL_ONFAULT (Linux 4.4)"
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY or _capabilities() >> CAP_IPC_LOCK & 1:
        return None
    return f"it may lock {soft:,} bytes: set `ulimit -l unlimited` (LimitMEMLOCK=infinity, Docker: --ulimit memlock=-1)"


def lock() -> None:
    """Keep what this process reads from now on.

    Raises:
        OSError: it may not.
    """
    if ctypes.CDLL(None, use_errno=True).mlockall(CURRENT | FUTURE | ON_FAULT):
        raise OSError(ctypes.get_errno(), f"memory cannot be locked: {os.strerror(ctypes.get_errno())}")


def _capabilities() -> int:
    """The effective ones, as bits."""
    _, _, rest = STATUS.read_text().partition("\nCapEff:")
    return int(rest.split()[0], 16)
