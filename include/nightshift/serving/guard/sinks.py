"""Where the access log goes: standard output, or a file that is put aside when it is full.

Several processes may write one file, each batch in one append. Who finds the file full, under a lock, puts it aside
as `access.jsonl.1` and the older ones one further; the others find that it is another file now, and open that.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path
from typing import Protocol

from nightshift.config.settings import AccessLog as AccessLogSettings


class Sink(Protocol):
    """Takes whole lines. Raises OSError."""

    def write(self, lines: bytes) -> None: ...
    def close(self) -> None: ...


class StandardOutput:
    """For containers, whose runtime collects it."""

    def write(self, lines: bytes) -> None:
        _write_all(sys.stdout.fileno(), lines)

    def close(self) -> None:
        pass


class RotatedFile:
    """A file of `max_bytes` and one batch at most, and the `keep` before it."""

    def __init__(self, path: Path, settings: AccessLogSettings) -> None:
        self._path, self._max_bytes, self._keep = path, settings.max_bytes, settings.keep
        self._file = -1

    def write(self, lines: bytes) -> None:
        if self._file < 0 or not self._is_current():
            self._open()
        _write_all(self._file, lines)
        if os.fstat(self._file).st_size >= self._max_bytes:
            self._put_aside()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _is_current(self) -> bool:
        """Whether what is open still has the name: another process, or logrotate, may have put it aside."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._file))

    def _put_aside(self) -> None:
        lock = os.open(self._named("lock"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._is_current():
                for number in range(self._keep, 1, -1):
                    if (older := self._named(number - 1)).exists():
                        older.replace(self._named(number))
                self._path.replace(self._named(1)) if self._keep else self._path.unlink()
        finally:
            os.close(lock)
        self.close()

    def _named(self, suffix: int | str) -> Path:
        return self._path.with_name(f"{self._path.name}.{suffix}")


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
