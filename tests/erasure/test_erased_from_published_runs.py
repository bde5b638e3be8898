"""Published runs lose a person without any reader failing: a run takes each one's place, on disk and in S3 alike."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nightshift.erasure.leftovers import erase_leftovers, files_of
from nightshift.erasure.people import People
from nightshift.erasure.proof import Proof, search_file
from nightshift.erasure.published import holding, remove_old, replace_runs, surfaces_of, unnamed, users_in
from nightshift.publishing.layout import run_folder_of
from nightshift.publishing.lists import load_lists
from nightshift.publishing.manifest import FORMAT, PARTS, Run
from nightshift.publishing.pointer import make_live, read_pointer
from nightshift.publishing.read import LaterFormatError, live_manifest, manifests, open_run, read_table
from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import Storage, StoreError, open_storage
from nightshift.serving.following.follower import Follower
from nightshift.serving.telemetry.metrics import Metrics
from tests.publishing.planted import NOW, USERS, day, publish, publish_lists, publish_live, write_lists, write_more
from tests.publishing.stores import address, s3_endpoint, storage

__all__ = ["address", "s3_endpoint", "storage"]

PERSON, *OTHERS = USERS
PEOPLE = People.of([PERSON])
BOUGHT = [("22423", day(1), 2)]


def test_every_run_of_every_surface_is_published_again_without_the_person(storage: Storage, tmp_path: Path) -> None:
    publish_live(storage, day(1), "night", "a")
    publish_live(storage, day(2), "night", "b")
    publish_live(storage, day(2), "night", "c", "mail")
    follower = Follower(storage, "home", tmp_path / "cache", Metrics(["home"]))
    follower.look()
    before = read_pointer(storage, "home")
    replaced, _ = replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path)
    assert len(replaced) == 3
    follower.look()  # while old runs are still there, and after
    assert follower.live
    assert follower.live.run.user(PERSON) is None
    remove_old(storage, replaced)
    follower.look()
    assert follower.refusal is None
    manifest = live_manifest(storage, "home")
    assert manifest
    run = open_run(storage, manifest, tmp_path / "cache")
    assert all(run.user(user) for user in OTHERS)
    assert set(read_table(storage, manifest)["user_id"].to_pylist()) == set(OTHERS)
    assert manifest.counts["users"] == len(OTHERS)
    after = read_pointer(storage, "home")
    assert before
    assert after
    assert [run.run_date for run in after[0].history] == [run.run_date for run in before[0].history]
    assert all(storage.exists(run.manifest) for run in (after[0].run, *after[0].history))
    assert surfaces_of(storage) == ["home", "mail"]
    assert holding(storage, PEOPLE, tmp_path) == ([], [])


def test_every_channel_names_the_run_without_the_person(storage: Storage, tmp_path: Path) -> None:
    publish_live(storage, day(1), "night", "a")
    make_live(storage, "home", publish(storage, day(1), "challenger", "b").run, NOW, "challenger")
    remove_old(storage, replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path)[0])
    for channel, run_id in (("current", "night"), ("challenger", "challenger")):
        manifest = live_manifest(storage, "home", channel)
        assert manifest
        assert manifest.run_id.startswith(f"{run_id}.erased-1-")
        assert PERSON not in read_table(storage, manifest)["user_id"].to_pylist()


def test_a_replacement_that_was_killed_before_the_old_runs_went_is_finished_by_the_next(
    storage: Storage, tmp_path: Path
) -> None:
    publish_live(storage, day(1), "night", "a")
    replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path)
    once = {item.key for item in storage.list("")}
    replaced, _ = replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path)
    assert {item.key for item in storage.list("")} == once
    remove_old(storage, replaced)
    assert holding(storage, PEOPLE, tmp_path) == ([], [])
    assert live_manifest(storage, "home")


DAMAGES = ["parts/", "similar", "manifest.json"]


def damage(storage: Storage, run: Run, name: str) -> None:
    """Cut off the end of the run's first file whose name begins so."""
    key = next(item.key for item in storage.list(run_folder_of(run.manifest)) if f"/{run.run_id}/{name}" in item.key)
    storage.write(key, storage.read(key).body[:-30])


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_run_that_is_not_live_goes_and_keeps_nobody_from_being_erased(
    storage: Storage, tmp_path: Path, name: str
) -> None:
    never_live = publish(storage, day(1), "beside", "d").run
    for number, mark in ((1, "a"), (2, "b"), (3, "c")):
        publish_live(storage, day(number), "night", mark)
    pointer = read_pointer(storage, "home")
    assert pointer
    damage(storage, pointer[0].history[0], name)
    damage(storage, never_live, name)
    replaced, damaged = replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path)
    assert {str(each.old.run) for each in replaced} == {"2011-11-01/night", "2011-11-03/night"}
    assert {each.folder for each in damaged} == {"home/runs/2011-11-01/beside/", "home/runs/2011-11-02/night/"}
    remove_old(storage, replaced)
    assert holding(storage, PEOPLE, tmp_path) == ([], [])
    assert unnamed(storage) == []
    after = read_pointer(storage, "home")
    assert after
    assert [run.run_date for run in (after[0].run, *after[0].history)] == [day(3), day(1)]
    assert roll_back(storage, "home", None, NOW).live.run_date == day(1)


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize(
    ("channel", "commands"),
    [
        (
            "current",
            ("jobs.publish --run-date 2011-11-02 --run-id again", "--surface home --channel current`"),
        ),
        ("mail", ("jobs.publish_channels --channel mail --run-date 2011-11-02", "--surface home --channel mail`")),
    ],
)
def test_a_live_run_that_is_damaged_stops_the_erasure_and_is_removed_when_another_is_live(
    storage: Storage, tmp_path: Path, channel: str, commands: tuple[str, str], name: str
) -> None:
    publish_live(storage, day(1), "night", "a")
    live = publish(storage, day(2), "night", "b").run
    make_live(storage, "home", live, NOW, channel)
    damage(storage, live, name)
    before = {item.key: storage.read(item.key).body for item in storage.list("")}
    with pytest.raises(StoreError, match=f"2011-11-02/night is live for home, channel {channel}, and") as stopped:
        replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path)
    assert all(command in str(stopped.value) for command in commands)
    assert before == {item.key: storage.read(item.key).body for item in storage.list("")}
    make_live(storage, "home", publish(storage, day(2), "again", "c").run, NOW, channel)
    replaced, damaged = replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path)
    assert (len(replaced), [each.folder for each in damaged]) == (2, ["home/runs/2011-11-02/night/"])
    manifest = live_manifest(storage, "home", channel)
    assert manifest
    assert manifest.run_id.startswith("again.erased-1-")


def test_the_removal_of_a_damaged_run_that_was_killed_is_finished_by_the_next(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Killed as the run goes that a killed erasure had published: what holds the person gets that id again."""
    publish_live(storage, day(1), "night", "a")
    publish_live(storage, day(2), "night", "b")
    replaced, _ = replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path)
    first = next(each.new for each in replaced if each.new.run_date == day(1))
    damage(storage, first.run, "parts/")

    class KilledError(Exception):
        pass

    def killed(folder: str) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(storage, "delete_all", killed)
        with pytest.raises(KilledError):
            replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path)
    replaced, _ = replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path)
    remove_old(storage, replaced)
    assert holding(storage, PEOPLE, tmp_path) == ([], [])
    assert open_run(storage, first, tmp_path / "cache").user(OTHERS[0])


def test_a_run_of_a_later_release_is_not_taken_for_a_damaged_one(storage: Storage, tmp_path: Path) -> None:
    old = publish(storage, day(1), "night")
    publish_live(storage, day(2), "night", "b")
    storage.write(old.run.manifest, old.model_copy(update={"format": FORMAT + 1}).to_json())
    with pytest.raises(LaterFormatError, match="of a later release: update this one"):
        replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path)
    assert storage.exists(old.run.manifest)


def test_a_batch_reader_that_read_the_pointer_before_it_moved_finds_the_run_that_is_live_now(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its pointer names a run that is gone; it looks again and goes on."""
    publish_live(storage, day(1), "night")
    stale = read_pointer(storage, "home")
    remove_old(storage, replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path)[0])
    answers = iter([stale])
    monkeypatch.setattr(manifests, "read_pointer", lambda *where: next(answers, None) or read_pointer(*where))
    manifest = live_manifest(storage, "home")
    assert manifest
    assert re.fullmatch("night.erased-1-[0-9a-f]{8}", manifest.run_id)


def test_what_the_person_bought_goes_too_though_there_is_no_list_of_theirs(tmp_path: Path) -> None:
    """As of somebody who has everything that may be sold."""
    home = tmp_path / "home"
    night = write_lists(home / "nights" / "2011-11-01" / "lists", users=USERS[1:])
    write_more(night, [], {user: BOUGHT for user in USERS})
    storage = open_storage((tmp_path / "store").as_uri())
    manifest = publish_lists(storage, day(1), "night", load_lists(night))
    make_live(storage, "home", manifest.run, NOW)
    (home / "serving").mkdir()
    for name, file in manifest.files.items():
        if name.startswith(PARTS):
            storage.download(manifest.folder + file.path, home / "serving" / name.rpartition("/")[2])
    assert (users_in(storage, manifest, PEOPLE, tmp_path), manifest.counts["users"]) == (1, len(OTHERS))
    (replaced,), _ = replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path)
    run = open_run(storage, replaced.new, tmp_path / "cache")
    assert run.history(PERSON) is None
    assert all(run.history(user) == run.history(OTHERS[0]) != b"" for user in OTHERS)
    assert replaced.new.counts == manifest.counts
    assert replaced.new.content_hash != manifest.content_hash
    assert holding(storage, PEOPLE, tmp_path) == ([("home", manifest)], [])
    for name in ("before", "after"):  # a reader's copies of the shards, and what the night has left
        found = Proof()
        for file in files_of(home):
            search_file(home, file, PEOPLE, found)
        assert found.found == ({"nights/lists": 1, "serving": 1} if name == "before" else {})
        erase_leftovers(home, PEOPLE)
    assert {user for piece in load_lists(night).histories() for user in piece["user_id"].to_pylist()} == set(OTHERS)
