"""Files go to S3 and back in parts: whole, checked, in bounded memory, and no part twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from nightshift.publishing import s3_transfer
from nightshift.publishing.storage import Storage, StoreError, sha256_of
from nightshift.publishing.storage_file import FileStorage
from nightshift.publishing.storage_s3 import S3Storage
from tests.publishing import faults
from tests.publishing.faults import ALWAYS, FaultyServer
from tests.publishing.faulty_stores import PART_BYTES, client, publish_today, server, storage, yesterday
from tests.publishing.stores import inside

__all__ = ["client", "server", "storage", "yesterday"]

PARTS = 5
KEY = "home/runs/2011-11-30/today/parts/large.lmdb"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of several parts, the last a short one."""
    file = tmp_path / "large"
    file.write_bytes(bytes(range(251)) * (PART_BYTES * PARTS // 251 - 10))
    return file


def put(storage: Storage, file: Path) -> None:
    storage.upload(file, KEY, sha256_of(file))


def test_a_large_file_goes_in_parts_and_comes_back(
    storage: S3Storage, server: FaultyServer, large: Path, tmp_path: Path
) -> None:
    put(storage, large)
    assert Counter(server.calls)["put a part"] == PARTS
    assert inside(storage.prefix)[KEY] == large.read_bytes()
    storage.download(KEY, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()
    assert Counter(server.calls)["fetch a file"] == PARTS


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES])
def test_a_file_of_any_size_goes_there_and_back(storage: S3Storage, tmp_path: Path, size: int) -> None:
    (tmp_path / "there").write_bytes(b"x" * size)
    put(storage, tmp_path / "there")
    storage.download(KEY, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"x" * size


def test_an_upload_that_was_cut_off_goes_on_where_it_was(storage: S3Storage, server: FaultyServer, large: Path) -> None:
    def third(call: faults.Call) -> None:
        if server.calls.count("put a part") > 2:
            call.error(403, "AccessDenied")
        else:
            call.answer(*call.forward())

    server.arm("put a part", third)
    with pytest.raises(StoreError, match="AccessDenied"):
        put(storage, large)
    [begun] = storage.unfinished("home/runs/")
    assert begun.key == KEY
    server.arm("", None)
    put(storage, large)
    assert Counter(server.calls)["put a part"] == PARTS - 2
    assert Counter(server.calls)["begin an upload"] == 0
    assert inside(storage.prefix)[KEY] == large.read_bytes()
    assert list(storage.unfinished("home/runs/")) == []


def test_a_part_that_arrived_wrong_is_sent_again(storage: S3Storage, server: FaultyServer, large: Path) -> None:
    server.arm("end an upload", faults.says(403, "AccessDenied"))
    with pytest.raises(StoreError):
        put(storage, large)
    server.arm("", None)
    [begun] = storage.unfinished("home/runs/")
    at = {"Bucket": storage.bucket, "Key": storage.prefix + KEY, "UploadId": begun.name}
    storage.client.ask("", lambda boto: boto.upload_part(**at, PartNumber=2, Body=b"another"))
    server.arm("", None)
    put(storage, large)
    assert Counter(server.calls)["put a part"] == 1
    assert inside(storage.prefix)[KEY] == large.read_bytes()


def test_an_upload_that_somebody_aborts_is_begun_again(storage: S3Storage, server: FaultyServer, large: Path) -> None:
    def aborts(call: faults.Call) -> None:
        for begun in storage.unfinished("home/runs/"):
            storage.abort(begun)
        call.answer(*call.forward())

    server.arm("end an upload", aborts, 1)
    put(storage, large)
    assert inside(storage.prefix)[KEY] == large.read_bytes()


def test_what_is_there_is_not_sent_again(storage: S3Storage, server: FaultyServer, large: Path, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"small")
    for file in (large, tmp_path / "small"):
        put(storage, file)
        server.arm("", None)
        put(storage, file)
        assert not {"put a part", "put a file", "begin an upload"} & set(server.calls)


def test_a_publish_that_was_killed_sends_only_what_is_missing(storage: S3Storage, server: FaultyServer) -> None:
    server.arm("write the manifest", faults.says(403, "AccessDenied"), ALWAYS)
    with pytest.raises(StoreError, match="is not published"):
        publish_today(storage)
    server.arm("", None)
    assert publish_today(storage).moved
    assert not {"put a part", "put a file", "begin an upload"} & set(server.calls)


@pytest.mark.parametrize("at", ["there", "another of its size"])
def test_another_object_in_its_place_is_written_over(storage: S3Storage, large: Path, at: str) -> None:
    storage.write(KEY, b"rubbish" if at == "there" else bytes(large.stat().st_size))
    put(storage, large)
    assert inside(storage.prefix)[KEY] == large.read_bytes()


def test_an_object_that_becomes_another_while_it_is_read_is_not_mixed(
    storage: S3Storage, server: FaultyServer, large: Path, tmp_path: Path
) -> None:
    put(storage, large)

    def changes(call: faults.Call) -> None:
        storage.write(KEY, bytes(large.stat().st_size))
        call.answer(*call.forward())

    server.arm("fetch a file", changes, 1)
    with pytest.raises(StoreError, match="was written by somebody else"):
        storage.download(KEY, tmp_path / "back")


def test_no_more_than_the_parts_that_are_sent_are_in_memory(
    storage: S3Storage, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    seal = storage.client.seal

    def weighed(body: bytes) -> dict[str, str]:
        sizes.append(len(body))
        return seal(body)

    monkeypatch.setattr(storage.client, "seal", weighed)
    put(storage, large)
    assert max(sizes) == PART_BYTES
    assert sum(sizes) == large.stat().st_size


def test_a_file_of_more_parts_than_there_may_be_has_larger_ones(
    storage: S3Storage, server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_transfer, "MOST_PARTS", 3)
    (tmp_path / "file").write_bytes(bytes(10))
    storage.part_bytes = 1
    put(storage, tmp_path / "file")
    assert Counter(server.calls)["put a part"] == 3


def test_a_server_that_knows_no_sha256_is_sent_an_md5(
    storage: S3Storage, server: FaultyServer, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    plain = S3Storage(storage.bucket, storage.prefix.strip("/"), server.endpoint, part_bytes=PART_BYTES)
    headers: list[set[str]] = []

    def look(call: faults.Call) -> None:
        headers.append({name.lower() for name in call.handler.headers})
        call.answer(*call.forward())

    server.arm("put a part", look)
    put(plain, large)
    assert all("content-md5" in sent and not any("x-amz-checksum" in name for name in sent) for sent in headers)
    assert inside(storage.prefix)[KEY] == large.read_bytes()


def test_two_publishers_that_send_the_same_parts_both_end_well(
    storage: S3Storage, server: FaultyServer, large: Path
) -> None:
    def other(call: faults.Call) -> None:
        put(storage, large)
        call.answer(*call.forward())

    server.arm("end an upload", other, 1)
    put(storage, large)
    assert inside(storage.prefix)[KEY] == large.read_bytes()


def test_a_store_on_a_disk_checks_what_it_has_written(tmp_path: Path, large: Path) -> None:
    with pytest.raises(StoreError, match="what was written is not what is in"):
        FileStorage(tmp_path / "store").upload(large, KEY, "0" * 64)
    assert FileStorage(tmp_path / "store").list("") == []


def test_who_may_not_list_uploads_can_still_publish(storage: S3Storage, server: FaultyServer) -> None:
    server.arm("list uploads", faults.says(403, "AccessDenied"))
    assert publish_today(storage).moved
