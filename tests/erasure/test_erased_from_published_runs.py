"""Published runs lose a person without any reader failing: a run takes each one's place, on disk and in S3 alike."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nightshift.erasure.people import People
from nightshift.erasure.published import holding, remove_old, replace_runs, surfaces_of
from nightshift.publishing import read
from nightshift.publishing.pointer import read_pointer
from nightshift.publishing.read import live_manifest, open_run, read_table
from nightshift.publishing.storage import Storage
from nightshift.serving.follower import Follower
from nightshift.serving.metrics import Metrics
from tests.publishing.planted import NOW, USERS, day, publish_live
from tests.publishing.stores import address, s3_endpoint, storage

__all__ = ["address", "s3_endpoint", "storage"]

PERSON, *OTHERS = USERS
PEOPLE = People.of([PERSON])


def test_every_run_of_every_surface_is_published_again_without_the_person(storage: Storage, tmp_path: Path) -> None:
    publish_live(storage, day(1), "night", "a")
    publish_live(storage, day(2), "night", "b")
    publish_live(storage, day(2), "night", "c", "mail")
    follower = Follower(storage, "home", tmp_path / "cache", Metrics())
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
    monkeypatch.setattr(read, "read_pointer", lambda *where: next(answers, None) or read_pointer(*where))
    manifest = live_manifest(storage, "home")
    assert manifest
    assert re.fullmatch("night.erased-1-[0-9a-f]{8}", manifest.run_id)
