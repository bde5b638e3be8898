"""A run opens by what is on the disk, fetches what is not, and never maps a file that is not the manifest's."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nightshift.publishing.manifest import FORMAT, File, Manifest
from nightshift.publishing.read import CorruptRunError, cached, fetch, open_run, parse_manifest, tidy
from nightshift.publishing.storage import Storage, StoreError
from tests.publishing.planted import ITEMS, USERS, day, publish

SHARDS = 4
fetching = sys.modules[fetch.__module__]


class Watched:
    """What is fetched from the store, and what is hashed on the disk."""

    def __init__(self) -> None:
        self.downloads: list[str] = []
        self.hashed: list[str] = []


@pytest.fixture
def watched(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Watched:
    found, download, sha256_of = Watched(), storage.download, fetching.sha256_of

    def downloads(key: str, target: Path) -> None:
        found.downloads.append(key)
        download(key, target)

    def hashes(path: Path) -> str:
        found.hashed.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(storage, "download", downloads)
    monkeypatch.setattr(fetching, "sha256_of", hashes)
    return found


@pytest.fixture
def manifest(storage: Storage) -> Manifest:
    return publish(storage, day(30), "night", shards=SHARDS)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def on_disk(storage: Storage, manifest: Manifest, file: File, cache: Path) -> Path:
    return storage.local(manifest.folder + file.path) or cached(cache, file)


def test_a_lazy_run_fetches_a_shard_when_it_is_first_asked_for(
    storage: Storage, manifest: Manifest, cache: Path, watched: Watched
) -> None:
    run = open_run(storage, manifest, cache, lazy=True)
    assert len(run.shards) == 1, "the one with the popular list"
    assert not any(run.is_here(user) for user in USERS)
    for user in USERS:
        assert run.user(user)
        assert run.is_here(user)
        assert run.user(user)
    opened = {run.shard_of(user) for user in USERS}
    assert len(run.shards) == 1 + len(opened) < 1 + SHARDS
    if not storage.local("a"):
        assert max(Counter(watched.downloads).values()) == 1
        assert len(watched.downloads) == len(run.shards)
    run.open_all()
    assert len(run.shards) == len(manifest.shards)


def test_an_eager_and_a_lazy_run_answer_alike(storage: Storage, manifest: Manifest, cache: Path) -> None:
    eager, lazy = open_run(storage, manifest, cache), open_run(storage, manifest, cache / "other", lazy=True)
    for name in (*USERS, *ITEMS, "nobody", ""):
        assert eager.user(name) == lazy.user(name)
        assert eager.similar(name) == lazy.similar(name)
        assert eager.title(name) == lazy.title(name)
    assert eager.popular() == lazy.popular()


def test_what_was_checked_is_not_read_again_to_be_opened(
    storage: Storage, manifest: Manifest, cache: Path, watched: Watched
) -> None:
    open_run(storage, manifest, cache)
    watched.hashed.clear()
    watched.downloads.clear()
    assert open_run(storage, manifest, cache).user(USERS[0])
    assert (watched.hashed, watched.downloads) == ([], [])


def test_what_is_remembered_as_checked_is_on_the_disk(
    flushed: list[int], storage: Storage, manifest: Manifest, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut may leave another file of that size and those times, which nobody would hash again."""
    remember, remembered = fetching._remember, list[bool]()

    def remembers(mark: Path, stamp: str) -> None:
        files = {on_disk(storage, manifest, file, cache) for file in manifest.shards}
        remembered.append({path.stat().st_ino for path in files if path.exists()} <= set(flushed))
        remember(mark, stamp)

    monkeypatch.setattr(fetching, "_remember", remembers)
    open_run(storage, manifest, cache)
    assert set(remembered) == {True}


@pytest.mark.parametrize("damage", ["cut off", "longer", "changed", "changed, with the old times", "replaced", "gone"])
def test_a_file_that_is_not_what_was_checked_is_fetched_again_or_refused(
    storage: Storage, manifest: Manifest, cache: Path, damage: str
) -> None:
    for file in manifest.shards:
        fetch(storage, manifest, file, cache)
    path = on_disk(storage, manifest, manifest.shards[1], cache)
    before, times = path.read_bytes(), path.stat()
    damaged = {"cut off": before[:-1], "longer": before + b"x"}.get(damage, before[:-1] + b"?")
    if damage == "replaced":
        path.unlink()
    path.write_bytes(damaged)
    if damage == "changed, with the old times":
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    if damage == "gone":
        path.unlink()
    if storage.local(manifest.folder):
        with pytest.raises(CorruptRunError, match="another file" if damage != "gone" else "missing"):
            open_run(storage, manifest, cache)
    else:
        assert open_run(storage, manifest, cache).user(USERS[0])
        assert path.read_bytes() == before


def test_a_file_of_the_wrong_size_is_never_opened(
    storage: Storage, manifest: Manifest, cache: Path, watched: Watched
) -> None:
    """To read a map beyond the end of its file kills the process."""
    fetch(storage, manifest, manifest.shards[0], cache)
    path = on_disk(storage, manifest, manifest.shards[0], cache)
    os.truncate(path, path.stat().st_size - 4096)
    watched.hashed.clear()
    if storage.local(manifest.folder):
        with pytest.raises(CorruptRunError):
            fetch(storage, manifest, manifest.shards[0], cache)
        assert watched.hashed == [], "its size is enough"
    else:
        assert fetch(storage, manifest, manifest.shards[0], cache).stat().st_size == manifest.shards[0].bytes


def test_a_shard_that_is_gone_from_the_store_is_said_when_it_is_asked_for(
    storage: Storage, manifest: Manifest, cache: Path
) -> None:
    run = open_run(storage, manifest, cache, lazy=True)
    file = manifest.user_shards[run.shard_of(USERS[0])]
    storage.delete(manifest.folder + file.path)
    with pytest.raises(CorruptRunError, match=file.path):
        run.user(USERS[0])


def test_a_run_without_a_cache_that_can_be_written_to_is_refused_or_read_where_it_is(
    storage: Storage, manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "no-folder").write_text("")
    if storage.local("a"):
        assert open_run(storage, manifest, tmp_path / "no-folder").user(USERS[0])
    else:
        with pytest.raises(StoreError, match=r"no-folder.*: Not a directory: check its rights"):
            open_run(storage, manifest, tmp_path / "no-folder")


def test_many_that_ask_for_a_shard_at_once_fetch_it_once(
    storage: Storage, manifest: Manifest, cache: Path, watched: Watched
) -> None:
    start, runs = threading.Barrier(8), [open_run(storage, manifest, cache, lazy=True) for _ in range(2)]
    watched.downloads.clear()

    def ask(number: int) -> bytes | None:
        start.wait()
        return runs[number % 2].user(USERS[0])

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1
    assert len(watched.downloads) == (0 if storage.local("a") else 1)


def test_what_no_run_needs_goes_from_the_cache_and_what_is_mapped_stays_readable(
    storage: Storage, manifest: Manifest, cache: Path
) -> None:
    kept = publish(storage, day(29), "night", mark="b")
    run, other = open_run(storage, manifest, cache), open_run(storage, kept, cache)
    (cache / ".download-killed").write_bytes(b"half")
    os.utime(cache / ".download-killed", (0, 0))
    (cache / ".download-at-work").write_bytes(b"half")
    tidy(cache, [kept])
    needed = {file.sha256 for file in kept.shards}
    assert {path.name[:64] for path in cache.glob("*.*") if path.name[0] != "."} <= needed
    assert [path.name for path in cache.glob(".*")] == [".download-at-work"]
    assert run.user(USERS[0])
    assert other.user(USERS[0])
    assert open_run(storage, kept, cache).user(USERS[0])


def test_a_run_of_a_release_before_is_refused(storage: Storage, manifest: Manifest, cache: Path) -> None:
    """Its records lie in other shards, so that most users would get what is popular, and nobody would notice."""
    old = manifest.model_copy(update={"format": FORMAT - 1})
    with pytest.raises(CorruptRunError, match=f"of an earlier release, and this one reads {FORMAT}: publish .* again"):
        open_run(storage, old, cache, lazy=True)


def test_a_run_of_a_later_release_is_refused(storage: Storage, manifest: Manifest) -> None:
    later = manifest.model_copy(update={"format": FORMAT + 1, "run_id": "later"})
    storage.create(later.run.manifest, later.to_json())
    with pytest.raises(CorruptRunError, match=f"has format {FORMAT + 1}, of a later release: update"):
        parse_manifest(storage, later.run.manifest)
