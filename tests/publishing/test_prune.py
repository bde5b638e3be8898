"""Old runs go, in two steps; what is live, what a rollback would go to, and what is read stays."""

from __future__ import annotations

import datetime as dt
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nightshift.publishing import rollback
from nightshift.publishing.leases import Lease
from nightshift.publishing.pointer import put_pointer, read_pointer
from nightshift.publishing.prune import Pruned, prune
from nightshift.publishing.read import list_manifests, open_run, parse_manifest
from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import Storage, StoreError, open_storage
from tests.publishing.planted import announce, announce_live, day, publish, publish_live

NOW = dt.datetime.now(dt.UTC)
A_DAY, TWO_DAYS = dt.timedelta(hours=25), dt.timedelta(hours=50)


def there(storage: Storage) -> set[int]:
    """The days that have anything published."""
    return {int(found.key.split("/")[2][-2:]) for found in storage.list("home/runs/")}


def found(storage: Storage) -> set[int]:
    """The days with a run that readers find."""
    return {int(found.key.split("/")[2][-2:]) for found in list_manifests(storage, "home")}


def folder(number: int, run_id: str = "night") -> str:
    return f"home/runs/2011-11-{number:02}/{run_id}/"


def test_the_runs_published_last_are_kept_and_the_files_of_others_go_a_day_later(storage: Storage) -> None:
    for number in range(20, 26):
        announce_live(storage, day(number), "night")
    keep_last = {24, 25}
    before_them = {23}  # 2 runs to go back to: 24 and 23
    assert sorted(prune(storage, "home", 2, NOW).put_away) == [folder(20), folder(21), folder(22)]
    assert found(storage) == keep_last | before_them
    assert there(storage) == set(range(20, 26))
    assert prune(storage, "home", 2, NOW) == Pruned()
    assert sorted(prune(storage, "home", 2, NOW + A_DAY).removed) == [folder(20), folder(21), folder(22)]
    assert there(storage) == keep_last | before_them
    assert prune(storage, "home", 2, NOW + A_DAY) == Pruned()


def test_backfills_never_push_out_what_is_live_or_what_was_before(storage: Storage) -> None:
    announce_live(storage, day(29), "night")
    announce_live(storage, day(30), "night")
    for number in range(1, 6):
        announce_live(storage, day(number), "backfill")
    prune(storage, "home", 2, NOW)
    assert {29, 30} <= found(storage)
    assert len(found(storage)) <= 2 + 2
    assert roll_back(storage, "home", None, NOW).live.run_date == day(29)


def test_a_reader_that_found_a_run_just_before_it_was_put_away_reads_it_for_another_day(
    storage: Storage, tmp_path: Path
) -> None:
    publish_live(storage, day(27), "night")
    manifest = parse_manifest(storage, folder(27) + "manifest.json")
    for number in (28, 29, 30):
        announce_live(storage, day(number), "night")
    assert sorted(prune(storage, "home", 1, NOW).put_away) == [folder(27), folder(28)]
    assert prune(storage, "home", 1, NOW).removed == []
    open_run(storage, manifest, tmp_path / "cache")


def test_a_run_that_is_being_written_stays_and_one_that_was_killed_long_ago_goes(storage: Storage) -> None:
    announce_live(storage, day(30), "night")
    storage.write(folder(29, "killed") + "parts/part-00000.lmdb", b"half")
    assert prune(storage, "home", 2, NOW) == Pruned()
    assert prune(storage, "home", 2, NOW + A_DAY).put_away == [folder(29, "killed")]
    assert prune(storage, "home", 2, NOW + TWO_DAYS).removed == [folder(29, "killed")]
    assert there(storage) == {30}


def test_nothing_is_written_again_to_a_folder_that_is_going(storage: Storage) -> None:
    """Else its files could go after the new manifest has named them."""
    announce_live(storage, day(30), "night")
    content = publish(storage, day(29), "night").content_hash
    storage.delete(folder(29) + "manifest.json")
    prune(storage, "home", 2, NOW + A_DAY)
    assert publish(storage, day(29), "night").run_id == f"night.{content[:8]}"
    prune(storage, "home", 2, NOW + TWO_DAYS)
    assert not storage.list(folder(29))
    assert publish(storage, day(29), "night").run_id == "night"


def test_a_manifest_goes_before_its_files_and_the_mark_last(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(storage, day(28), "night")
    for number in (29, 30):
        announce_live(storage, day(number), "night")
    prune(storage, "home", 1, NOW)
    before = {item.key for item in storage.list(folder(28))}
    assert folder(28) + "manifest.json" not in before
    deleted: list[str] = []

    def killed(key: str) -> None:
        if len(deleted) == len(before) - 1:
            raise KeyboardInterrupt
        deleted.append(key)

    monkeypatch.setattr(storage, "delete", killed)
    monkeypatch.setattr(storage, "delete_all", lambda prefix: killed(prefix + "pruned.json"))
    with pytest.raises(KeyboardInterrupt):
        prune(storage, "home", 1, NOW + A_DAY)
    assert before - set(deleted) == {folder(28) + "pruned.json"}


def test_a_listing_that_is_behind_removes_nothing(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(storage, day(28), "night")
    announce_live(storage, day(30), "night")
    behind = [item for item in storage.list("home/runs/") if not item.key.endswith("manifest.json")]
    listing = storage.list
    monkeypatch.setattr(storage, "list", lambda prefix: behind if prefix == "home/runs/" else listing(prefix))
    assert prune(storage, "home", 1, NOW + TWO_DAYS) == Pruned()


def test_a_leased_run_stays_until_the_lease_has_ended(storage: Storage) -> None:
    lease = Lease(storage, "home", "newsletter")
    for number in (26, 27, 28, 29, 30):
        announce_live(storage, day(number), "night")
    lease.hold(parse_manifest(storage, folder(26) + "manifest.json").run)
    assert sorted(prune(storage, "home", 1, NOW).put_away) == [folder(27), folder(28)]
    assert prune(storage, "home", 1, NOW + A_DAY).put_away == [folder(26)]


def test_the_files_of_a_run_that_was_put_away_stay_while_it_is_leased(storage: Storage) -> None:
    for number in (27, 28, 29, 30):
        announce_live(storage, day(number), "night")
    run = parse_manifest(storage, folder(27) + "manifest.json").run
    prune(storage, "home", 1, NOW)
    storage.create(run.manifest, b"{}")
    lease = Lease(storage, "home", "newsletter", seconds=24 * 3600)
    lease.hold(run)
    storage.delete(run.manifest)
    assert folder(27) not in prune(storage, "home", 1, NOW + dt.timedelta(hours=24)).removed
    assert folder(27) in prune(storage, "home", 1, NOW + A_DAY).removed


def test_nothing_goes_while_a_lease_cannot_be_read(storage: Storage) -> None:
    for number in (27, 28, 29, 30):
        announce_live(storage, day(number), "night")
    storage.write("home/leases/odd.json", b"{}")
    with pytest.raises(StoreError, match=r"leases/odd.json is no lease: Field required. Delete it, or wait until"):
        prune(storage, "home", 1, NOW)
    assert found(storage) == {27, 28, 29, 30}
    assert prune(storage, "home", 1, NOW + TWO_DAYS).put_away
    assert not storage.exists("home/leases/odd.json")


def test_nothing_goes_while_the_leases_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, scandir = open_storage(tmp_path.as_uri()), os.scandir
    for number in (27, 28, 29, 30):
        announce_live(storage, day(number), "night")
    Lease(storage, "home", "newsletter").hold(parse_manifest(storage, folder(27) + "manifest.json").run)

    def refuses(folder: str) -> Iterator[os.DirEntry[str]]:
        if Path(folder).name == "leases":
            raise PermissionError(errno.EACCES, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuses)
    with pytest.raises(StoreError, match="Permission denied"):
        prune(storage, "home", 1, NOW)
    assert found(storage) == {27, 28, 29, 30}


def test_a_run_that_a_rollback_makes_live_while_it_is_put_away_is_brought_back(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (27, 28, 29, 30):
        announce_live(storage, day(number), "night")
    before, write = storage.read(folder(27) + "manifest.json").body, storage.write

    def meanwhile(key: str, body: bytes) -> None:
        if key == folder(27) + "pruned.json":
            roll_back(storage, "home", "2011-11-27", NOW)
        write(key, body)

    with monkeypatch.context() as patched:
        patched.setattr(storage, "write", meanwhile)
        prune(storage, "home", 1, NOW)
    assert live_manifest_body(storage) == before


def test_a_rollback_brings_back_what_was_put_away_while_it_looked(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (27, 28, 29, 30):
        announce_live(storage, day(number), "night")
    before = storage.read(folder(27) + "manifest.json").body

    monkeypatch.setattr(rollback, "put_pointer", put_away_before_it_moves)
    roll_back(storage, "home", "2011-11-27", NOW)
    assert live_manifest_body(storage) == before


def test_a_live_run_that_a_rollback_could_not_bring_back_is_brought_back_and_keeps_its_files(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (27, 28, 29, 30):
        publish_live(storage, day(number), "night")
    before = storage.read(folder(27) + "manifest.json").body
    files = {item.key for item in storage.list(folder(27))}

    def silent(*_: Any) -> None:
        raise StoreError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(rollback, "put_pointer", put_away_before_it_moves)
        patched.setattr(rollback, "bring_back", silent)
        with pytest.raises(StoreError, match=r"2011-11-27/night is live again.*nobody can say.*: no answer"):
            roll_back(storage, "home", "2011-11-27", NOW)
    prune(storage, "home", 1, NOW + TWO_DAYS)
    assert live_manifest_body(storage) == before
    assert files <= {item.key for item in storage.list(folder(27))}


def put_away_before_it_moves(storage: Storage, *move: Any) -> None:
    """`put_pointer`, of whom a prune gets ahead."""
    assert folder(27) in prune(storage, "home", 1, NOW).put_away
    put_pointer(storage, *move)


def live_manifest_body(storage: Storage) -> bytes:
    pointer = read_pointer(storage, "home")
    assert pointer
    return storage.read(pointer[0].manifest).body


def test_before_the_first_publish_there_is_nothing_to_prune(storage: Storage) -> None:
    assert prune(storage, "home", 1, NOW) == Pruned()
    announce(storage, day(30), "not live yet")
    assert prune(storage, "home", 1, NOW) == Pruned()
    assert read_pointer(storage, "home") is None
