"""Both stores keep one contract."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from nightshift.config.settings import Store
from nightshift.publishing.storage import (
    ConflictError,
    NotThereError,
    Storage,
    StoreError,
    open_storage,
    sha256_of,
)


def test_what_is_written_is_read(storage: Storage) -> None:
    storage.write("a/b.json", b"one")
    storage.write("a/b.json", b"two")
    assert storage.read("a/b.json").body == b"two"
    assert storage.exists("a/b.json")


def test_a_missing_key_is_told_from_a_broken_store(storage: Storage, tmp_path: Path) -> None:
    assert not storage.exists("nothing")
    with pytest.raises(NotThereError, match="nothing is not there"):
        storage.read("nothing")
    with pytest.raises(NotThereError):
        storage.download("nothing", tmp_path / "file")


def test_a_list_names_the_keys_of_one_folder_at_any_depth(storage: Storage) -> None:
    for key in ("runs/2/b", "runs/1/parts/a", "runs-old/c", "d"):
        storage.write(key, b"")
    assert [found.key for found in storage.list("runs/")] == ["runs/1/parts/a", "runs/2/b"]
    assert storage.list("none/") == []


def test_a_file_goes_there_and_back(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"\x00\xff" * 100_000)
    storage.upload(tmp_path / "there", "files/x.bin", sha256_of(tmp_path / "there"))
    storage.download("files/x.bin", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "there").read_bytes()
    local = storage.local("files/x.bin")
    assert local is None or local.read_bytes() == (tmp_path / "there").read_bytes()


def test_a_key_is_created_once(storage: Storage) -> None:
    storage.create("manifest", b"first")
    with pytest.raises(ConflictError):
        storage.create("manifest", b"second")
    assert storage.read("manifest").body == b"first"


def test_a_creation_sent_twice_is_a_success(storage: Storage) -> None:
    storage.create("manifest", b"first")
    storage.create("manifest", b"first")


def test_a_key_is_replaced_by_who_saw_it_last(storage: Storage) -> None:
    storage.create("pointer", b"one")
    seen = storage.read("pointer").etag
    storage.replace("pointer", b"two", seen)
    with pytest.raises(ConflictError):
        storage.replace("pointer", b"three", seen)
    storage.replace("pointer", b"two", seen)  # our own write, sent again because its answer was lost
    assert storage.read("pointer").body == b"two"


def test_what_is_not_there_is_not_replaced(storage: Storage) -> None:
    with pytest.raises(ConflictError):
        storage.replace("pointer", b"one", '"0123456789abcdef0123456789abcdef"')
    assert not storage.exists("pointer")


@pytest.mark.parametrize("how", ["create", "replace"])
def test_of_many_at_once_exactly_one_wins(storage: Storage, how: str) -> None:
    storage.write("seen", b"before")
    etag = storage.read("seen").etag

    def attempt(number: int) -> bool:
        try:
            if how == "create":
                storage.create("new", b"%d" % number)
            else:
                storage.replace("seen", b"%d" % number, etag)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(24)))
    assert won.count(True) == 1
    assert storage.read("new" if how == "create" else "seen").body == b"%d" % won.index(True)


def test_deleting_is_idempotent_and_keeps_to_its_folder(storage: Storage) -> None:
    for key in ("runs/1/a", "runs/1/b/c", "runs/10/d"):
        storage.write(key, b"")
    storage.delete("runs/1/a")
    storage.delete("runs/1/a")
    storage.delete_all("runs/1/")
    storage.delete_all("runs/1/")
    assert [found.key for found in storage.list("runs/")] == ["runs/10/d"]


def test_a_file_store_shows_no_half_written_file(tmp_path: Path) -> None:
    storage = open_storage(tmp_path.as_uri())
    with pytest.raises(StoreError, match="No such file"):
        storage.upload(tmp_path / "source", "runs/a", "0")
    (tmp_path / "runs" / ".a.killed.partial").write_bytes(b"half")
    assert storage.list("runs/") == []
    assert not storage.exists("runs/a")
    assert [write.key for write in storage.unfinished("")] == ["runs/a"]


@pytest.mark.parametrize("how", ["write", "create", "upload"])
def test_what_was_written_to_a_disk_stays_there_with_all_folders_above_it(
    how: str, tmp_path: Path, flushed: list[int]
) -> None:
    root, source = tmp_path / "home" / "published", tmp_path / "source"
    source.write_bytes(b"one")
    storage = open_storage(root.as_uri())
    if how == "upload":
        storage.upload(source, "runs/1/parts/a", sha256_of(source))
    else:
        getattr(storage, how)("runs/1/parts/a", b"one")
    folders = [tmp_path, root.parent, root, root / "runs", root / "runs/1"]
    file, above = root / "runs/1/parts/a", root / "runs/1/parts"
    assert flushed == [path.stat().st_ino for path in (*folders, file, above)]
    storage.write("runs/1/parts/b", b"two")
    assert len(flushed) == len(folders) + 4, "folders that are there are not flushed again"


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_looked_into_is_not_an_empty_one(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(tmp_path.as_uri())
    storage.write("home/leases/newsletter.json", b"")
    scandir = os.scandir

    def refuses(folder: str) -> Iterator[os.DirEntry[str]]:
        if Path(folder).name == "leases":
            raise OSError(code, os.strerror(code), folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuses)
    for look in (storage.list, storage.unfinished):
        for prefix in ("", "home/", "home/leases/"):
            with pytest.raises(StoreError, match=f"{os.strerror(code)}.*leases. Check store.address and its rights"):
                look(prefix)
        assert look("mail/") == [], "what is not there is empty"


def test_a_disk_that_refuses_is_a_store_error_whatever_is_asked(tmp_path: Path) -> None:
    storage = open_storage(tmp_path.as_uri())
    storage.write("pointer", b"one")
    (tmp_path / ".lock").mkdir()
    with pytest.raises(StoreError, match=r"Is a directory: .*\.lock"):
        storage.replace("pointer", b"two", storage.read("pointer").etag)
    assert storage.read("pointer").body == b"one"
    with pytest.raises(StoreError, match="File name too long"):
        storage.exists("x" * 300)


def test_no_key_leads_out_of_a_file_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no key"):
        open_storage(tmp_path.as_uri()).write("../outside", b"")


@pytest.mark.parametrize("address", ["gs://bucket", "published", "file://host/folder", "s3:///prefix"])
def test_another_address_is_refused_with_what_is_possible(address: str) -> None:
    with pytest.raises(StoreError, match=r"file:///\.\.\. nor s3://"):
        open_storage(address)


def test_an_unreachable_server_is_one_clear_error(s3_endpoint: str) -> None:
    storage = open_storage("s3://no-such-bucket/lists", s3_endpoint)
    with pytest.raises(StoreError, match=r"bucket does not exist.*Check store\.address"):
        storage.write("a", b"")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"address": "gs://bucket"}, "neither file:///"),
        ({"address": "published"}, "neither file:///"),
        ({"endpoint": "http://127.0.0.1:9000"}, "address must be s3://bucket/prefix"),
    ],
)
def test_a_store_that_cannot_be_is_refused_by_the_configuration(section: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Store.model_validate(section)
