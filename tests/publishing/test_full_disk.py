"""A disk that is full, the publisher's, the store's or a reader's, leaves nothing half."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nightshift.publishing.storage import StoreError
from nightshift.publishing.storage_file import FileStorage
from nightshift.publishing.storage_s3 import S3Storage
from tests.publishing.faulty_stores import client, publish_today, read_all, server, storage, yesterday
from tests.publishing.planted import day, publish_live

__all__ = ["client", "server", "storage", "yesterday"]


def full_from(size: int) -> None:
    """From now on this process can make no file longer than this."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


class FillsUp(FileStorage):
    """A store whose disk is full from the moment that something is done to it."""

    def __init__(self, root: Path, at: str) -> None:
        super().__init__(root)
        self.at = at

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "__dict__").get("at"):
            full_from(0)
        return object.__getattribute__(self, name)


def told_by_child(work: Callable[[], object]) -> str:
    """What `work` fails with in a child process; its limits end with it."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work()
        except StoreError as error:
            os.write(theirs, str(error).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    os.waitpid(child, 0)
    with open(ours, "rb") as told:
        return told.read().decode()


@pytest.mark.parametrize("at", ["upload", "create", "replace"])
def test_a_store_whose_disk_is_full_is_left_as_it_was(at: str, tmp_path: Path) -> None:
    """When a file of the run is written, its manifest, the pointer."""
    storage = FileStorage(tmp_path / "store")
    publish_live(storage, day(29), "yesterday", mark="a")
    before = {item.key: storage.read(item.key) for item in storage.list("")}
    said = told_by_child(lambda: publish_today(FillsUp(storage.root, at)))
    assert re.search("readers see .*File too large", said), said
    assert {key: storage.read(key) for key in before} == before
    assert not storage.unfinished("")
    assert publish_today(storage).moved


def test_a_publisher_whose_own_disk_is_full_says_so_and_changes_nothing(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "store")
    said = told_by_child(lambda: (full_from(2000), publish_today(storage)))
    assert re.search("2011-11-30/today is not published, and readers see what they saw before: .*too large", said), said
    assert storage.list("") == []


def test_a_cache_on_a_full_disk_keeps_nothing_half(storage: S3Storage, tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    def read() -> None:
        full_from(1000)
        read_all(storage, cache)

    assert "File too large. Make room on that disk" in told_by_child(read)
    assert not list(cache.glob("*.lmdb"))
    assert read_all(storage, cache) == 16
