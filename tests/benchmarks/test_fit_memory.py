"""What the benchmark of a fit's memory lets grow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.fit_memory import EVENTS_A_USER, pairs, prepare
from benchmarks.processes import ROOT, environment
from nightshift.lake import Lake


def test_users_and_pairs_grow_with_the_events(tmp_path: Path) -> None:
    found = []
    for events in (18_000, 90_000):
        folder = prepare(tmp_path, events)
        users = Lake(folder / "lake").arrow("events", ["user_id"])["user_id"]
        assert len(users) == events
        assert len(users.unique()) == events // EVENTS_A_USER
        found.append(pairs(folder))
    assert 4.5 < found[1] / found[0] < 5.5
    assert found[0] > 5_000


def test_what_has_started_a_fit_does_not_count_as_its_memory() -> None:
    held = bytearray(2**30)
    held[::4096] = b"." * (2**30 // 4096)
    line = "from benchmarks.fit_once import peak_mib; print(peak_mib())"
    done = subprocess.run([sys.executable, "-c", line], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert 50 < int(done.stdout) < 1000, done.stderr
    assert len(held) == 2**30
