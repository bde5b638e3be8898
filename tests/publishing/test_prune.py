"""Old runs go; what is live, and what a rollback would go to, stays."""

from __future__ import annotations

import datetime as dt

import pytest

from nightshift.publishing.pointer import read_pointer
from nightshift.publishing.prune import prune
from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import Storage
from tests.publishing.planted import NOW, announce, announce_live, day


def there(storage: Storage) -> set[int]:
    """The days that have anything published."""
    return {int(found.key.split("/")[2][-2:]) for found in storage.list("home/runs/")}


def test_the_runs_published_last_are_kept(storage: Storage) -> None:
    for number in range(20, 26):
        announce_live(storage, day(number), "night")
    keep_last = {24, 25}
    before_them = {23}  # 2 runs to go back to: 24 and 23
    assert len(prune(storage, "home", 2, NOW)) == 3
    assert there(storage) == keep_last | before_them
    assert prune(storage, "home", 2, NOW) == []


def test_backfills_never_push_out_what_is_live_or_what_was_before(storage: Storage) -> None:
    announce_live(storage, day(29), "night")
    announce_live(storage, day(30), "night")
    for number in range(1, 6):
        announce_live(storage, day(number), "backfill")
    prune(storage, "home", 2, NOW)
    assert {29, 30} <= there(storage)
    assert len(there(storage)) <= 2 + 2
    assert roll_back(storage, "home", None, NOW).live.run_date == day(29)


def test_a_run_that_is_being_written_stays_and_one_that_was_killed_long_ago_goes(storage: Storage) -> None:
    announce_live(storage, day(30), "night")
    storage.write("home/runs/2011-11-29/killed/parts/part-00000.lmdb", b"half")
    assert prune(storage, "home", 2, dt.datetime.now(dt.UTC)) == []
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=2)
    assert prune(storage, "home", 2, later) == ["home/runs/2011-11-29/killed/"]
    assert there(storage) == {30}


def test_a_manifest_goes_before_its_files(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (28, 29, 30):
        announce_live(storage, day(number), "night")

    def killed(prefix: str) -> None:
        raise KeyboardInterrupt(prefix)

    monkeypatch.setattr(storage, "delete_all", killed)
    with pytest.raises(KeyboardInterrupt, match="2011-11-28"):
        prune(storage, "home", 1, NOW)
    assert not storage.exists("home/runs/2011-11-28/night/manifest.json")


def test_before_the_first_publish_there_is_nothing_to_prune(storage: Storage) -> None:
    assert prune(storage, "home", 1, NOW) == []
    announce(storage, day(30), "not live yet")
    assert prune(storage, "home", 1, NOW) == []
    assert read_pointer(storage, "home") is None
