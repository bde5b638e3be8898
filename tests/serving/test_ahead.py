"""Large runs are fetched and checked by another process, which leaves the service nothing to do but to open them."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from nightshift.publishing.read import fetch, was_fetched
from nightshift.publishing.storage import Storage, StoreError, open_storage
from nightshift.serving.following import ahead
from nightshift.serving.following.ahead import Ahead
from tests.publishing.planted import day, publish
from tests.publishing.stores import BUCKET


@pytest.fixture
def s3(s3_endpoint: str, tmp_path: Path) -> Storage:
    return open_storage(f"s3://{BUCKET}/{tmp_path.name}", s3_endpoint)


@pytest.fixture
def another(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Ahead:
    """How to reach that store; every run is worth it."""
    monkeypatch.setattr(ahead, "WORTH_IT", 0)
    return Ahead(s3_endpoint, 30.0, 2)


def test_what_was_fetched_ahead_is_here_and_checked(s3: Storage, another: Ahead, tmp_path: Path) -> None:
    manifest, cache = publish(s3, day(29), "night"), tmp_path / "cache"
    another.fetch(s3, manifest, manifest.shards, cache, 60)

    class Gone:
        local, address, transfers = s3.local, s3.address, 1

        def download(self, key: str, target: Path) -> None:
            raise AssertionError(f"{key} is downloaded again")

    for file in manifest.shards:
        assert fetch(Gone(), manifest, file, cache).is_file()  # type: ignore[arg-type]
        assert was_fetched(s3, manifest, file, cache)


def test_a_file_that_is_wrong_or_missing_is_said(s3: Storage, another: Ahead, tmp_path: Path) -> None:
    manifest = publish(s3, day(29), "night")
    s3.write(manifest.folder + manifest.shards[0].path, b"half")
    with pytest.raises(StoreError, match="is not the file that the manifest of 2011-11-29/night names"):
        another.fetch(s3, manifest, manifest.shards, tmp_path / "cache", 60)


def test_it_is_ended_after_its_time(s3: Storage, another: Ahead, tmp_path: Path) -> None:
    manifest = publish(s3, day(29), "night")
    with pytest.raises(StoreError, match=r"2011-11-29/night was not here within 0\.01 s"):
        another.fetch(s3, manifest, manifest.shards, tmp_path / "cache", 0.01)


def test_it_gives_way_from_its_first_moment(
    s3: Storage, another: Ahead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, seen = publish(s3, day(29), "night"), list[tuple[int, int]]()
    write = ahead.subprocess.Popen.communicate

    def asked(process: subprocess.Popen[str], *args: object, **more: object) -> object:
        seen.append((os.sched_getscheduler(process.pid), os.getpriority(os.PRIO_PROCESS, process.pid)))
        return write(process, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ahead.subprocess.Popen, "communicate", asked)
    another.fetch(s3, manifest, manifest.shards, tmp_path / "cache", 60)
    assert seen == [(os.SCHED_IDLE, 19)]
    assert os.sched_getscheduler(0) != os.SCHED_IDLE


def test_where_it_may_not_give_way_it_works_all_the_same(
    s3: Storage, another: Ahead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sandbox may deny both calls."""
    manifest, cache, denied = publish(s3, day(29), "night"), tmp_path / "cache", list[str]()

    def deny(name: str) -> None:
        def call(*given: object) -> None:
            denied.append(name)
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(ahead.os, name, call)

    deny("setpriority")
    deny("sched_setscheduler")
    another.fetch(s3, manifest, manifest.shards, cache, 60)
    assert denied == ["setpriority", "sched_setscheduler"]
    assert all(was_fetched(s3, manifest, file, cache) for file in manifest.shards)


def test_small_runs_are_left_for_when_they_are_opened(s3: Storage, tmp_path: Path) -> None:
    manifest = publish(s3, day(29), "night")
    Ahead(None, 30.0, 2).fetch(s3, manifest, manifest.shards, tmp_path / "cache", 60)
    assert not (tmp_path / "cache").exists()
