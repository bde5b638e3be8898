"""Published runs lose a person without any reader failing: a run takes each one's place, on disk and in S3 alike."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nightshift.erasure.leftovers import erase_leftovers, files_of
from nightshift.erasure.people import People
from nightshift.erasure.proof import Proof, search_file
from nightshift.erasure.published import holding, remove_old, replace_runs, surfaces_of, users_in
from nightshift.publishing.lists import load_lists
from nightshift.publishing.manifest import PARTS
from nightshift.publishing.pointer import make_live, read_pointer
from nightshift.publishing.read import live_manifest, manifests, open_run, read_table
from nightshift.publishing.storage import Storage, open_storage
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
    replaced = replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path)
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
    assert list(holding(storage, PEOPLE, tmp_path)) == []


def test_every_channel_names_the_run_without_the_person(storage: Storage, tmp_path: Path) -> None:
    publish_live(storage, day(1), "night", "a")
    make_live(storage, "home", publish(storage, day(1), "challenger", "b").run, NOW, "challenger")
    remove_old(storage, replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path))
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
    replaced = replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path)
    assert {item.key for item in storage.list("")} == once
    remove_old(storage, replaced)
    assert list(holding(storage, PEOPLE, tmp_path)) == []
    assert live_manifest(storage, "home")


def test_a_batch_reader_that_read_the_pointer_before_it_moved_finds_the_run_that_is_live_now(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its pointer names a run that is gone; it looks again and goes on."""
    publish_live(storage, day(1), "night")
    stale = read_pointer(storage, "home")
    remove_old(storage, replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path))
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
    (replaced,) = replace_runs(storage, PEOPLE, "erased-1", NOW, tmp_path)
    run = open_run(storage, replaced.new, tmp_path / "cache")
    assert run.history(PERSON) is None
    assert all(run.history(user) == run.history(OTHERS[0]) != b"" for user in OTHERS)
    assert replaced.new.counts == manifest.counts
    assert replaced.new.content_hash != manifest.content_hash
    assert list(holding(storage, PEOPLE, tmp_path)) == [("home", manifest)]
    for name in ("before", "after"):  # a reader's copies of the shards, and what the night has left
        found = Proof()
        for file in files_of(home):
            search_file(home, file, PEOPLE, found)
        assert found.found == ({"nights/lists": 1, "serving": 1} if name == "before" else {})
        erase_leftovers(home, PEOPLE)
    assert {user for piece in load_lists(night).histories() for user in piece["user_id"].to_pylist()} == set(OTHERS)
