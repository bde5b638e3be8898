"""A publish that is killed (SIGKILL) at any of its steps leaves yesterday live, and can be run again."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from nightshift.publishing.read import live_manifest, open_run, read_table
from nightshift.publishing.storage import open_storage

from tests.publishing.planted import day, publish, publish_live

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
    expected = publish(storage, day(30), "night", mark="b", surface="elsewhere").content_hash
    step, killed, moved = 0, True, 0
    while killed:
        step += 1
        surface = f"surface-{step}"
        publish_live(storage, day(29), "night", mark="a", surface=surface)
        killed = killed_before(
            step, lambda s=surface: publish_live(open_storage(*address), day(30), "night", mark="b", surface=s)
        )
        found = live_manifest(storage, surface)
        assert found is not None
        moved += found.run_date == day(30)
        open_run(storage, found, tmp_path / "cache")  # whichever it is, it is whole
        assert read_table(storage, found).num_rows == 16
        publish_live(storage, day(30), "night", mark="b", surface=surface)
        again = live_manifest(storage, surface)
        assert again is not None
        assert (again.run_date, again.content_hash) == (day(30), expected)
        open_run(storage, again, tmp_path / "cache")
    assert step > 8, "the publish had fewer steps than it must have: were they seen?"
    assert moved == 1, "the pointer's move is the last step: only the attempt that was not killed has made it"
