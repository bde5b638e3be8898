"""What is held stays in memory; what is let go of costs nothing to unmap, and is there again for who reads on."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from nightshift.publishing.pointer import make_live
from nightshift.publishing.shards import open_shard, write_shard
from nightshift.publishing.storage import open_storage
from nightshift.serving.following.channel import Follows
from nightshift.serving.following.follower import Follower
from nightshift.serving.following.mapped import PIECE, hold, let_go, why_not_held
from nightshift.serving.telemetry.metrics import Metrics
from tests.publishing.planted import NOW, day, publish_live
from tests.publishing.stores import BUCKET
from tests.serving.asking import make_client
from tests.serving.running import start, wait_until, write_config

CAP_IPC_LOCK, PR_CAPBSET_DROP, CLONE_NEWUSER = 14, 24, 0x10000000


def resident(path: Path, what: str = "Rss:") -> int:
    """Bytes of a file's mapping that are in memory; `Locked:`: that stay there."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            inside = str(path) in line
        elif inside and line.startswith(what):
            total += 1024 * int(line.split()[1])
    return total


def may_hold_little() -> None:
    """In a new process: it may hold 64 KiB, as in a container that nobody has given more."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (2**16, 2**16))
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK)  # of root; whoever else has it not


def may_hold_little_as_root_of_a_container() -> None:
    """The same, in a user namespace: it has every capability there, and they count for nothing outside."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (2**16, 2**16))
    user = os.getuid()
    if ctypes.CDLL(None).unshare(CLONE_NEWUSER):
        raise OSError("this machine has no user namespaces for us")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")


def test_the_pages_of_a_shard_go_and_come_back(tmp_path: Path) -> None:
    pairs = {f"{number:08}".encode(): b"x" * 4000 for number in range(2 * PIECE // 4096)}
    for name in ("goes", "stays"):
        write_shard(tmp_path / f"{name}.lmdb", pairs.items())
    shards = {name: open_shard(tmp_path / f"{name}.lmdb") for name in ("goes", "stays")}
    for shard in shards.values():
        assert dict(shard.pairs()) == pairs
    before = resident(tmp_path / "stays.lmdb")
    assert before > PIECE
    let_go({tmp_path / "goes.lmdb", tmp_path / "elsewhere.lmdb"})
    assert resident(tmp_path / "goes.lmdb") == 0
    assert resident(tmp_path / "stays.lmdb") == before
    assert dict(shards["goes"].pairs()) == pairs


def test_a_file_that_was_deleted_while_it_is_mapped_is_found(tmp_path: Path) -> None:
    path = tmp_path / "goes.lmdb"
    write_shard(path, [(b"key", b"x" * 4000)])
    shard = open_shard(path)
    assert shard.get(b"key")
    path.unlink()
    let_go({path})
    assert resident(path) == 0
    assert shard.get(b"key") == b"x" * 4000


def test_what_is_held_is_read_and_stays_until_it_is_let_go_of(tmp_path: Path) -> None:
    for name in ("held", "other"):
        write_shard(tmp_path / f"{name}.lmdb", [(b"%d" % number, b"x" * 4000) for number in range(8)])
    shards = [open_shard(tmp_path / f"{name}.lmdb") for name in ("held", "other")]
    size = (tmp_path / "held.lmdb").stat().st_size
    hold({tmp_path / "held.lmdb"}, lambda: False)
    assert resident(tmp_path / "held.lmdb", "Locked:") == 0, "nobody wants it any more"
    hold({tmp_path / "held.lmdb"})
    hold({tmp_path / "held.lmdb"})
    assert resident(tmp_path / "held.lmdb", "Locked:") == resident(tmp_path / "held.lmdb") >= size
    assert resident(tmp_path / "other.lmdb", "Locked:") == 0
    let_go({tmp_path / "held.lmdb"})
    assert resident(tmp_path / "held.lmdb") == 0
    assert shards[0].get(b"3") == b"x" * 4000


def test_what_may_not_be_held_is_an_error_and_the_service_does_not_begin_with_it(tmp_path: Path) -> None:
    write_shard(tmp_path / "large.lmdb", [(b"%d" % number, b"x" * 4000) for number in range(40)])
    code = (
        "import sys; from pathlib import Path; from nightshift.publishing.shards import open_shard;"
        "from nightshift.serving.following.mapped import hold, why_not_held;"
        "shard = open_shard(Path(sys.argv[1])); print(why_not_held()); hold({Path(sys.argv[1])})"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "large.lmdb")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=may_hold_little)
    assert "only 65,536 bytes may be held in memory" in done.stdout
    assert done.stderr.strip().splitlines()[-1].startswith(("OSError", "PermissionError"))
    config = write_config(tmp_path, (tmp_path.as_uri(), None), hold_memory=True)
    command = [sys.executable, "-m", "nightshift.serving", "--config", str(config)]
    environment = {**os.environ, "NIGHTSHIFT_HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=may_hold_little, env=environment)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("serving: serving.hold_memory: only 65,536 bytes may be held in memory")


HOLDING = """
from pathlib import Path
from nightshift.serving.following.mapped import hold_what_is_read, why_not_held
try:
    hold_what_is_read()
except OSError as error:
    print("not held", why_not_held() is None)
else:
    print("held", int(Path("/proc/self/status").read_text().partition("VmLck:")[2].split()[0]) > 1000)
"""


def test_a_process_holds_what_it_reads_or_is_told_that_it_may_not() -> None:
    command = [sys.executable, "-c", HOLDING]
    allowed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert why_not_held() or allowed == ["held", "True"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=may_hold_little)
    assert done.stdout.split() == ["not", "held", "False"]


def test_what_a_process_may_in_a_namespace_of_its_own_does_not_count() -> None:
    """The workers of a service that began all the same would fail, and be started again, for ever."""
    command = [sys.executable, "-c", HOLDING]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, preexec_fn=may_hold_little_as_root_of_a_container
        )
    except subprocess.SubprocessError:
        pytest.skip("there are no user namespaces for us here")
    assert done.stdout.split() == ["not", "held", "False"]


def test_a_service_that_may_holds_its_memory_and_one_that_may_not_does_not_start(tmp_path: Path) -> None:
    publish_live(open_storage((tmp_path / "store").as_uri()), day(29), "night")
    config = write_config(tmp_path, ((tmp_path / "store").as_uri(), None), hold_memory=True)
    process = start(config)
    assert process.stdout
    try:
        if why_not_held() is None:
            assert process.stdout.readline().startswith("The lookup service is at")
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            status = [Path(f"/proc/{child}/status").read_text() for child in children]
            assert max(int(text.partition("VmLck:")[2].split()[0]) for text in status) > 1000
        else:
            assert process.wait(30) == 1
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture
def follower(tmp_path: Path) -> Follower:
    storage = open_storage((tmp_path / "store").as_uri())
    return Follower(storage, "home", tmp_path / "cache", Metrics(["home"]), channels=["other"], how=Follows(hold=True))


def locked(follower: Follower, channel: str = "current") -> set[bool]:
    """Of each shard of the run that a channel serves, whether it is held."""
    live = follower.of(channel)
    assert live
    local = follower.storage.local
    paths = [local(live.run.manifest.folder + file.path) for file in live.run.manifest.shards]
    return {resident(path, "Locked:") >= path.stat().st_size for path in paths if path}


def test_the_shards_of_the_run_that_is_served_are_held_and_those_of_the_one_before_are_not(follower: Follower) -> None:
    publish_live(follower.storage, day(29), "night", mark="a")
    follower.look()
    wait_until(lambda: locked(follower) == {True})
    before = follower.live
    publish_live(follower.storage, day(30), "night", mark="b")
    follower.look()
    wait_until(lambda: locked(follower) == {True})
    assert before
    assert before is not follower.live
    shared = {file.sha256 for file in follower.live.run.manifest.shards}
    only = [file for file in before.run.manifest.shards if file.sha256 not in shared]
    assert only
    for file in only:
        assert resident(follower.storage.local(before.run.manifest.folder + file.path), "Locked:") == 0


def test_what_another_channel_serves_stays_held_when_one_moves_on(follower: Follower) -> None:
    first = publish_live(follower.storage, day(29), "night", mark="a")
    make_live(follower.storage, "home", first.live, NOW, "other")
    follower.look()
    wait_until(lambda: locked(follower) == locked(follower, "other") == {True})
    publish_live(follower.storage, day(30), "night", mark="b")
    follower.look()
    wait_until(lambda: locked(follower) == {True})
    assert locked(follower, "other") == {True}


def test_what_somebody_else_has_of_the_same_content_is_not_let_go_of(s3_endpoint: str, tmp_path: Path) -> None:
    """It may be unmapped at any moment, and other memory be where it was: that would read as zeros then."""
    storage = open_storage(f"s3://{BUCKET}/{tmp_path.name}", s3_endpoint)
    publish_live(storage, day(29), "night", mark="a")
    client = make_client(storage, tmp_path, past=True)
    assert client.get("/v1/users/17850/recommendations?run=2011-11-29/night").status == 200
    before = client.service.live("home")
    assert before.user("17850")
    publish_live(storage, day(30), "night", mark="b")
    client.service.followers["home"].look()
    served = {file.sha256 for file in client.service.live("home").run.manifest.shards}
    names = {f"{file.sha256}.lmdb" for file in before.run.manifest.item_shards if file.sha256 not in served}
    assert names
    for name in names:
        assert resident(tmp_path / "home" / name) == 0
        assert resident(tmp_path / "home/past" / name) > 0
