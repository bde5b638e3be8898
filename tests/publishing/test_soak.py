"""Publishing and rolling back, again and again, leaks nothing; no reader sees two runs in one, or one that fails."""

from __future__ import annotations

from pathlib import Path

from benchmarks.publish import KEPT, soak

ROUNDS = 12
BUSY = 4  # connections and threads that a pool may add once, where all that it had were busy: not one a round


def test_many_publishes_and_rollbacks_leak_nothing_and_no_read_fails(
    address: tuple[str, str | None], tmp_path: Path
) -> None:
    """More of them: `python -m benchmarks.publish`."""
    told = soak(*address, count=ROUNDS, users=20, shards=2, work=tmp_path)
    assert (told["publishes"], told["rollbacks"]) == (ROUNDS, ROUNDS // 3)
    assert told["reader: reads"] > 20
    assert told["reader: runs"] > 1
    assert (told["reader: failed"], told["reader: mixed"]) == (0, 0)
    for who in ("publisher", "reader"):
        for what in ("open files", "threads"):
            before, after = told[f"{who}, {what}"].split(" to ")
            assert int(after) <= int(before) + BUSY, f"{who}: {what}"
    runs = KEPT + 3  # those that were live before, and what was put away last
    assert told["files left"] <= 1 + runs * (1 + 2 + 2 + 1 + 1)
    assert told["half-written"] == 0
