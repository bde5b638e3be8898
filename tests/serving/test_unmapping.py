"""What is let go of costs nothing to unmap, and is there again for who reads on."""

from __future__ import annotations

from pathlib import Path

from nightshift.publishing.shards import open_shard, write_shard
from nightshift.serving.following.unmapping import PIECE, let_go


def resident(path: Path) -> int:
    """Bytes of a file's mapping that are in memory."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            inside = path.name in line
        elif inside and line.startswith("Rss:"):
            total += 1024 * int(line.split()[1])
    return total


def test_the_pages_of_a_shard_go_and_come_back(tmp_path: Path) -> None:
    pairs = {f"{number:08}".encode(): b"x" * 4000 for number in range(2 * PIECE // 4096)}
    for name in ("goes", "stays"):
        write_shard(tmp_path / f"{name}.lmdb", pairs.items())
    shards = {name: open_shard(tmp_path / f"{name}.lmdb") for name in ("goes", "stays")}
    for shard in shards.values():
        assert dict(shard.pairs()) == pairs
    before = resident(tmp_path / "stays.lmdb")
    assert before > PIECE
    let_go({"goes.lmdb", "elsewhere.lmdb"})
    assert resident(tmp_path / "goes.lmdb") == 0
    assert resident(tmp_path / "stays.lmdb") == before
    assert dict(shards["goes"].pairs()) == pairs


def test_a_file_that_was_deleted_while_it_is_mapped_is_found(tmp_path: Path) -> None:
    path = tmp_path / "goes.lmdb"
    write_shard(path, [(b"key", b"x" * 4000)])
    shard = open_shard(path)
    assert shard.get(b"key")
    path.unlink()
    let_go({"goes.lmdb"})
    assert resident(path) == 0
    assert shard.get(b"key") == b"x" * 4000
