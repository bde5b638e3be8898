"""Let go of mapped files a little at a time.

To unmap gigabytes at once holds up the whole process for a tenth of a second and more, since the kernel has to go
through every page that was touched. So the pages are let go of in small pieces first (MADV_DONTNEED: of a file that is
mapped to be read, they come back when they are asked for), and what is unmapped then is empty. Pages that are kept in
memory (`serving.lock_memory`) are no longer.
"""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Collection, Iterator
from pathlib import Path

MAPS = Path("/proc/self/maps")
PIECE = 4 * 2**20  # bytes: about a thousand pages
PAUSE = 0.001  # seconds for everybody else


def let_go(names: Collection[str]) -> None:
    """Let go of the pages of every mapped file of these names. Who reads on gets them again. Linux; else nothing."""
    if not MAPS.exists() or not hasattr(mmap, "MADV_DONTNEED"):
        return
    system = ctypes.CDLL(None)  # releases the interpreter's lock while it works
    system.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    system.munlock.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    for start, end in list(_mapped(names)):
        for piece in range(start, end, PIECE):
            size = min(PIECE, end - piece)
            system.munlock(piece, size)
            system.madvise(piece, size, mmap.MADV_DONTNEED)
            time.sleep(PAUSE)


def _mapped(names: Collection[str]) -> Iterator[tuple[int, int]]:
    """Where they are, as proc_pid_maps(5) says it."""
    for line in MAPS.read_text().splitlines():
        address, _, _, _, _, *path = line.split(maxsplit=5)
        if path and Path(path[0].removesuffix(" (deleted)")).name in names:
            start, end = (int(text, 16) for text in address.split("-"))
            yield start, end
