"""Whether a process that left its number is still the one at work."""

from __future__ import annotations

import os
from pathlib import Path


def started(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 on a system without /proc, and where there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0


def is_alive(pid: int, since: int) -> bool:
    """Whether the process of this number lives that started then; the number may have been given to another."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return started(pid) == since
