"""Who may work on a home at the same time: a night's steps beside each other, or one that must be alone.

The lock is the kernel's (`flock` on `night.lock`): it ends with the process that holds it, however that ends, and a
process that it starts does not inherit it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from nightshift.runs.errors import StepError

log = logging.getLogger("nightshift.runs")

LOCK = "night.lock"


@contextlib.contextmanager
def at_work(home: Path, what: str) -> Iterator[None]:
    """Beside others that are at work; after whoever is alone. A home that cannot be written to needs no lock.

    Args:
        what: told to whoever wants to be alone meanwhile: `infer of 2011-11-30`.
    """
    lock = _opened(home)
    if lock is None:
        yield
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("%s: waiting for an erasure to end", what)
            fcntl.flock(lock, fcntl.LOCK_SH)
        _tell(lock, what)
        yield
    finally:
        _release(lock)


@contextlib.contextmanager
def alone(home: Path, why: str) -> Iterator[None]:
    """Alone in this home.

    Raises:
        StepError: somebody is at work, or the home cannot be written to.
    """
    lock = _opened(home)
    if lock is None:
        raise StepError(f"{home / LOCK} cannot be opened: check NIGHTSHIFT_HOME and its rights")
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StepError(
                f"{home} is at work; the last to begin was {_told(lock)}: {why} when all have ended"
            ) from None
        _tell(lock, why)
        yield
    finally:
        _release(lock)


def last_to_begin(home: Path) -> str | None:
    """Who began to work on a home last, and its process; it may have ended. A hint."""
    try:
        lock = os.open(home / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        return _told(lock)
    finally:
        os.close(lock)


def _opened(home: Path) -> int | None:
    with contextlib.suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
        return os.open(home / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    return None


def _release(lock: int) -> None:
    """By word, as well as by closing: a process that is being started just now has the file open up to its `exec`."""
    with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)


def _tell(lock: int, what: str) -> None:
    """Who began last. Several may write at once: it is a hint, and whoever reads it takes what it can."""
    value = {"what": what, "pid": os.getpid(), "host": socket.gethostname()}
    with contextlib.suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(value).encode(), 0)


def _told(lock: int) -> str:
    try:
        value = json.loads(os.pread(lock, 1000, 0))
        return f"{value['what']}, process {value['pid']} on {value['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a step that left no name"
