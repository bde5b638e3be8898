"""Files that are whole or not there, and what a power cut must not take: bytes and names on the disk (fsync, 2)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A path beside `file` to write to: what is there at the end takes its place. Where something fails, nothing does.

    Raises OSError. A process that is killed leaves `.<name>.<pid>.partial`.
    """
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)  # of a killed process that had the same number
    try:
        yield partial
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)  # else what a full disk did not take would keep it full


def flush(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on the disk before going on. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder, and with the usual mode those above it that are missing; have each name on the disk.

    Raises OSError.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode, exist_ok=True)
    flush(folder.parent)
