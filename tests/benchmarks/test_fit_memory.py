"""What the benchmark of a fit's memory lets grow."""

from __future__ import annotations

from pathlib import Path

from benchmarks.fit_memory import EVENTS_A_USER, pairs, prepare
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
