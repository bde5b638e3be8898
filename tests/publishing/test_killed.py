"""A publish that is killed (SIGKILL) at any of its steps leaves yesterday live, and can be run again.

On a disk at each of its steps; in S3 at every fifth: `test_faults` kills it before and after each kind of request.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from nightshift.publishing.read import live_manifest, open_run, read_manifest, read_table
from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import open_storage
from tests.publishing.planted import NOW, day, publish, publish_live

STEPS = {"tempfile.mkstemp", "shutil.copyfile", "os.rename", "os.link", "http.client.send"}  # Python's audit events


def killed_before(step: int, work: Callable[[], object]) -> bool:
    """Do `work` in a child process that is killed before its `step`th step; False if it ended before that."""
    child = os.fork()
    if child == 0:
        done = 0

        def count(event: str, _: object) -> None:
            nonlocal done
            if event in STEPS:
                done += 1
                if done == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def test_a_killed_publish_leaves_yesterdays_run_live_and_succeeds_when_run_again(
    address: tuple[str, str | None], tmp_path: Path
) -> None:
    storage = open_storage(*address)
    publish_live(storage, day(29), "night", mark="a")
    expected = publish(storage, day(28), "not killed", mark="b").content_hash
    step, killed, stride = 0, True, 1 if storage.local("home") else 5
    while killed:
        step += stride
        run_id = f"night-{step}"
        killed = killed_before(step, lambda: publish_live(open_storage(*address), day(30), run_id, mark="b"))  # noqa: B023
        found = live_manifest(storage, "home")
        assert found is not None
        assert found.run_date == (day(29) if killed else day(30))  # the pointer's move is the last step
        open_run(storage, found, tmp_path / "cache")

        move = publish_live(storage, day(30), run_id, mark="b")
        assert (move.moved, move.live.run_id) == (killed, run_id)
        assert move.live.content_hash == expected
        again = read_manifest(storage, move.live)
        open_run(storage, again, tmp_path / "cache")
        assert read_table(storage, again).num_rows == 16
        roll_back(storage, "home", "2011-11-29", NOW)
    assert step > 8, "the publish had fewer steps than it must have: were they seen?"
