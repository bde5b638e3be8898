"""Steps work beside each other, and never beside who must be alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nightshift.runs import StepError
from nightshift.runs.lock import LOCK, alone, at_work


def test_steps_work_beside_each_other_and_who_must_be_alone_is_told_which(tmp_path: Path) -> None:
    told = r"train of 2011-11-27, process \d+ on .*: erase when all have ended"
    with (
        at_work(tmp_path, "infer of 2011-11-28"),
        at_work(tmp_path, "train of 2011-11-27"),
        pytest.raises(StepError, match=told),
        alone(tmp_path, "erase"),
    ):
        pass
    with alone(tmp_path, "erase"):
        pass


def test_a_step_waits_for_an_erasure(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from nightshift.runs.lock import at_work\n"
        f"with at_work(Path({str(tmp_path)!r}), 'infer'): print('at work', flush=True)"
    )
    with alone(tmp_path, "erase"):
        step = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert step.stderr
        assert "waiting for an erasure to end" in step.stderr.readline()
        assert step.poll() is None
    out, _ = step.communicate(timeout=30)
    assert out == "at work\n"


def test_a_server_that_a_step_starts_does_not_keep_the_lock(tmp_path: Path) -> None:
    with at_work(tmp_path, "build_features"):
        server = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        with alone(tmp_path, "erase"):
            assert server.poll() is None
    finally:
        server.communicate(b"\n")


def test_a_step_works_in_a_home_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / LOCK).mkdir()  # as good as a file system that is read-only, for whoever may do anything
    with at_work(tmp_path, "report"):
        pass
    with pytest.raises(StepError, match="check NIGHTSHIFT_HOME"), alone(tmp_path, "erase"):
        pass
