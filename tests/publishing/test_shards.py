"""A shard file holds its records, depends on nothing else, and stays mapped while somebody reads it."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import lmdb
import pytest

from nightshift.publishing import records, shards
from nightshift.publishing.shards import open_shard, write_shard

RECORDS = [(b"u:%05d" % number, b"value %d " % number * (number % 400)) for number in range(2_000)]
WRITE = "from tests.publishing.test_shards import *; import sys; write_shard(Path(sys.argv[1]), RECORDS)"


def test_every_record_is_found_and_no_other(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.lmdb", RECORDS)
    shard = open_shard(tmp_path / "a.lmdb")
    assert len(shard) == len(RECORDS)
    assert [shard.get(key) for key, _ in RECORDS] == [value for _, value in RECORDS]
    assert shard.get(b"u:none") is None


def test_the_same_records_are_the_same_bytes_in_another_process_and_order(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.lmdb", reversed(RECORDS))
    subprocess.run([sys.executable, "-c", WRITE, str(tmp_path / "b.lmdb")], check=True)
    assert (tmp_path / "a.lmdb").read_bytes() == (tmp_path / "b.lmdb").read_bytes()


def test_a_shard_may_be_empty(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.lmdb", [])
    assert open_shard(tmp_path / "a.lmdb").get(b"u:1") is None


def test_two_records_with_one_key_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two records have the key b'u:1'"):
        write_shard(tmp_path / "a.lmdb", [(b"u:1", b"one"), (b"u:1", b"two")])


def test_two_runs_with_the_same_file_share_one_map_until_both_let_go(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.lmdb", RECORDS)
    one, other = open_shard(tmp_path / "a.lmdb"), open_shard(tmp_path / "a.lmdb")
    assert one is other
    watched = weakref.ref(one)
    del one
    (tmp_path / "a.lmdb").unlink()
    assert other.get(b"u:00001") == b"value 1 "
    del other
    gc.collect()
    assert watched() is None


def test_a_file_that_is_no_shard_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.lmdb").write_bytes(b"not an LMDB file" * 1000)
    with pytest.raises(lmdb.Error):
        open_shard(tmp_path / "a.lmdb")


def test_records_after_a_key_begin_with_the_next(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.lmdb", RECORDS)
    shard = open_shard(tmp_path / "a.lmdb")
    assert list(shard.pairs()) == RECORDS
    assert list(shard.pairs(b"u:01998")) == RECORDS[-1:]
    assert list(shard.pairs(b"u:019980")) == RECORDS[-1:]
    assert list(shard.pairs(RECORDS[-1][0])) == []


@pytest.mark.parametrize("stretch", [1, 1000, 10**9])
def test_the_content_hash_is_of_all_records_whatever_the_stretches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stretch: int
) -> None:
    for number in range(3):
        write_shard(tmp_path / f"{number}.lmdb", RECORDS[number:100:3])
    monkeypatch.setattr(shards, "STRETCH_BYTES", stretch)
    paths = [tmp_path / f"{number}.lmdb" for number in range(3)]
    assert shards.content_hash(paths) == records.content_hash(RECORDS[:100])
    assert [len(open_shard(path)) for path in paths] == [34, 33, 33], "nothing is left open"
