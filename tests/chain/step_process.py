"""Steps as a process of its own, as `python -m jobs.<step>` starts one, but that it has its imports at once."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.forks import FORKS

ROOT = Path(__file__).parents[2]


class StepProcess:
    """What `python -m jobs.<step> <arguments>` would be, for each of some steps, one after the other."""

    def __init__(self, steps: Sequence[str], arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="step-")
        self._files = [Path(self._folder.name) / name for name in ("output", "errors")]
        self.process = FORKS.Process(target=_run, args=(steps, arguments, dict(environment), self._files))
        self.process.start()

    def wait(self) -> subprocess.CompletedProcess[str]:
        """How it ended, and what it said."""
        self.process.join()
        said = [file.read_text() if file.exists() else "" for file in self._files]
        self._folder.cleanup()
        return subprocess.CompletedProcess(self.process.name, self.process.exitcode or 0, *said)

    def kill(self) -> bool:
        """SIGKILL. Returns whether it was still at work."""
        self.process.kill()
        return self.wait().returncode < 0


def _run(steps: Sequence[str], arguments: Sequence[str], environment: dict[str, str], files: Sequence[Path]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    for stream, file in zip((1, 2), files, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), stream)
    for step in steps:
        sys.argv = [step, *arguments]
        runpy.run_module(f"jobs.{step}", run_name="__main__")
