"""The warm Spark server lives as long as somebody uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightshift.lake import engine
from nightshift.lake.processes import started

USER = """
import pathlib, sys
from nightshift.lake import engine
with engine.in_use(pathlib.Path(sys.argv[1])):
    print("using it", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in the place of the shared server of this home."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, text=True)
    (tmp_path / "engine").mkdir()
    told = {"port": 15002, "pid": process.pid, "started": started(process.pid)}
    (tmp_path / "engine" / "server.json").write_text(json.dumps(told))
    yield process
    process.kill()
    process.communicate()


def test_a_night_that_ends_leaves_the_server_that_another_uses(
    tmp_path: Path, server: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    with engine.in_use(tmp_path), engine.in_use(tmp_path):
        assert not engine.stop(tmp_path)
        assert engine.running(tmp_path) is not None
        assert "left running, for somebody uses it" in caplog.text
    assert engine.stop(tmp_path)
    assert engine.running(tmp_path) is None
    assert server.poll() is not None
    assert not engine.stop(tmp_path), "there is none any more"


def test_a_killed_user_keeps_nobody_from_stopping_it(tmp_path: Path, server: subprocess.Popen[str]) -> None:
    command = [sys.executable, "-c", USER, str(tmp_path)]
    user = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert user.stdout is not None
    assert user.stdout.readline() == "using it\n"
    assert not engine.stop(tmp_path)
    user.kill()
    user.communicate()
    assert engine.stop(tmp_path)
