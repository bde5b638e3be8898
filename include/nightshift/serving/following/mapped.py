"""Mapped files: keep their pages in memory, or let go of them, a little at a time.

A page of a shard that the machine takes back for something else is read from the disk again by the next request that
needs it, and all others of that worker wait; so does a page of code. What is held (mlock) is not taken back.

To unmap gigabytes at once holds up the whole process for a tenth of a second and more, since the kernel has to go
through every page that was touched. So the pages are let go of in small pieces first (MADV_DONTNEED: of a file that is
mapped to be read, they come back when they are asked for), and what is unmapped then is empty.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import resource
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

MAPS = Path("/proc/self/maps")
PIECE = 4 * 2**20  # bytes: about a thousand pages
PAUSE = 0.0005  # seconds for everybody else
CURRENT, FUTURE, ON_FAULT = 1, 2, 4  # mlockall(2): what is mapped, what will be; each page from when it is read


def why_not_held() -> str | None:
    """Why this process may not hold files in memory, in a sentence; None: it may.

    It is tried: a capability that a process has in a namespace of its own, as in a rootless container, does not count.
    """
    if not MAPS.exists():
        return "only Linux can"
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    limited = soft != resource.RLIM_INFINITY
    if limited:  # who may hold a page all the same is not held to any limit
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, hard))
    try:
        refused = _cannot_hold_a_page()
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))
    if refused is None or not limited:
        return refused
    return (
        f"only {soft:,} bytes may be held in memory: set `ulimit -l unlimited`; "
        "of systemd, LimitMEMLOCK=infinity; of Docker, --ulimit memlock=-1"
    )


def _cannot_hold_a_page() -> str | None:
    """What the system says to it; None: it can."""
    with mmap.mmap(-1, mmap.PAGESIZE) as page:
        failed = _system().mlock(ctypes.addressof(ctypes.c_char.from_buffer(page)), mmap.PAGESIZE)
    return os.strerror(ctypes.get_errno()) if failed else None


def hold(files: Collection[Path], wanted: Callable[[], bool] = lambda: True) -> None:
    """Read these files, where they are mapped, and keep them in memory until they are let go of or unmapped.

    Args:
        wanted: asked before each piece; it stops when that says no.

    Raises:
        OSError: this process may not, or there is no room.
    """
    system = _system()
    for piece, size in _pieces(files):
        if not wanted():
            return
        system.madvise(piece, size, mmap.MADV_WILLNEED)  # in large reads: LMDB has asked for a page at a time
        if system.mlock(piece, size):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        time.sleep(PAUSE)


def hold_what_is_read() -> None:
    """Keep every page that this process reads in memory, its code's too, from when it is read.

    Raises:
        OSError: this process may not.
    """
    if _system().mlockall(CURRENT | FUTURE | ON_FAULT):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def let_go(files: Collection[Path]) -> None:
    """Let go of the pages of these files, where they are mapped. Who reads on gets them again. Linux; else nothing.

    The caller keeps them mapped meanwhile: where they were, there may be other memory as soon as they are not.
    """
    if not MAPS.exists() or not hasattr(mmap, "MADV_DONTNEED"):
        return
    system = _system()
    for piece, size in _pieces(files):
        system.munlock(piece, size)
        system.madvise(piece, size, mmap.MADV_DONTNEED)
        time.sleep(PAUSE)


def _system() -> ctypes.CDLL:
    """The system's calls, which release the interpreter's lock while they work."""
    system = ctypes.CDLL(None, use_errno=True)
    system.mlock.argtypes = system.munlock.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    system.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return system


def _pieces(files: Collection[Path]) -> Iterator[tuple[int, int]]:
    """Where the files' pages are, and how many bytes, a piece after the other."""
    for start, end in list(_mapped({file.resolve() for file in files})):
        for piece in range(start, end, PIECE):
            yield piece, min(PIECE, end - piece)


def _mapped(files: Collection[Path]) -> Iterator[tuple[int, int]]:
    """Where they are, as proc_pid_maps(5) says it; not what is mapped beyond a file's end, as LMDB does."""
    for line in MAPS.read_text().splitlines():
        addresses, _, offset, _, _, *path = line.split(maxsplit=5)
        if path and Path(path[0].removesuffix(" (deleted)")) in files:
            start, end = (int(text, 16) for text in addresses.split("-"))
            with contextlib.suppress(OSError):  # it has gone: let go of all that is mapped
                within = max(0, Path(path[0]).stat().st_size - int(offset, 16))
                end = min(end, start + -(-within // mmap.PAGESIZE) * mmap.PAGESIZE)
            yield start, end
