"""Whatever goes wrong while a run is published, it is published, or the store is as it was: fault by operation.

Readers see the old run whole until the pointer moves, and the new one whole from then on. What went wrong is one line
that says which of the two it is. The table is that of docs/store.md.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nightshift.publishing import rollback
from nightshift.publishing.pointer import put_pointer
from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import StoreError, sha256_of
from nightshift.publishing.storage_s3 import S3Storage
from tests.publishing import faults
from tests.publishing.faults import ALWAYS, Fault, FaultyServer
from tests.publishing.faulty_stores import client, live, publish_today, read_all, server, storage, yesterday
from tests.publishing.planted import NOW
from tests.publishing.stores import inside

__all__ = ["client", "server", "storage", "yesterday"]

PAGE = Path(__file__).parents[2] / "docs" / "store.md"
DONE, AS_IT_WAS = "completes", "as it was"

OPERATIONS = (
    "put a file",
    "put a part",
    "end an upload",
    "write the manifest",
    "read the pointer",
    "move the pointer",
    "list",
)
WRITES = {"put a file", "put a part", "write the manifest", "move the pointer"}


def always(outcome: str, **other: str) -> dict[str, str]:
    """The same outcome for all operations, but for those that are named."""
    return {op: other.get(op.replace(" ", "_"), outcome) for op in OPERATIONS}


def writes(outcome: str) -> dict[str, str]:
    return {op: outcome if op in WRITES else "" for op in OPERATIONS}


PRUNING_CAN_WAIT = {"list": DONE}
TABLE: dict[str, dict[str, str]] = {
    "503 SlowDown, twice": always(DONE),
    "503 SlowDown, for ever": always(AS_IT_WAS, **PRUNING_CAN_WAIT),
    "cut before it arrives, once": always(DONE),
    "done, and the answer lost": always(DONE),
    "done, and half of the answer lost": always(DONE),
    "done, and the answer a byte at a time": always(
        AS_IT_WAS, write_the_manifest=DONE, move_the_pointer=DONE, **PRUNING_CAN_WAIT
    ),
    "half arrives, twice": writes(DONE),
    "half arrives, for ever": writes(AS_IT_WAS),
    "half arrives and is kept, once": writes(DONE),
    "credentials expired, there are new ones": always(DONE),
    "credentials expired": always(AS_IT_WAS, **PRUNING_CAN_WAIT),
    "no right to": always(AS_IT_WAS, **PRUNING_CAN_WAIT),
    "the store's disk is full": always(AS_IT_WAS) | {"read the pointer": "", "list": ""},
    "a listing that is behind": {"list": DONE},
    "killed before": always(AS_IT_WAS, **PRUNING_CAN_WAIT),
    "killed after": always(AS_IT_WAS, move_the_pointer=DONE, **PRUNING_CAN_WAIT),
}
READS, STOPS = "reads", "stops"
READ_OPERATIONS = ("read the pointer", "read the manifest", "take a lease", "fetch a file")
READ_TABLE: dict[str, dict[str, str]] = {
    fault: dict.fromkeys(READ_OPERATIONS, outcome)
    for fault, outcome in (
        ("503 SlowDown, twice", READS),
        ("503 SlowDown, for ever", STOPS),
        ("cut before it arrives, once", READS),
        ("done, and half of the answer lost", READS),
        ("done, and the answer a byte at a time", STOPS),
        ("what lies there is half of it", STOPS),
        ("credentials expired, there are new ones", READS),
        ("credentials expired", STOPS),
        ("no right to", STOPS),
        ("killed before", STOPS),
    )
}
READ_TABLE["what lies there is half of it"]["take a lease"] = ""


def cells(table: dict[str, dict[str, str]]) -> list[tuple[str, str, str]]:
    return [(fault, op, outcome) for fault, row in table.items() for op, outcome in row.items() if outcome]


def named(value: str) -> str:
    return value.replace(" ", "-")


class Child:
    """The process that publishes where it is to be killed."""

    pid = 0


def fault_of(name: str, server: FaultyServer) -> tuple[Fault, int]:
    """A fault, and how many times it strikes."""
    return {
        "503 SlowDown, twice": (faults.says(503, "SlowDown"), 2),
        "503 SlowDown, for ever": (faults.says(503, "SlowDown"), ALWAYS),
        "cut before it arrives, once": (faults.cut_before, 1),
        "done, and the answer lost": (faults.cut_after, 1),
        "done, and half of the answer lost": (faults.cut_inside, 1),
        "done, and the answer a byte at a time": (faults.trickle(server), ALWAYS),
        "half arrives, twice": (faults.cut_short, 2),
        "half arrives, for ever": (faults.cut_short, ALWAYS),
        "half arrives and is kept, once": (faults.kept_short, 1),
        "credentials expired, there are new ones": (faults.expired("test"), ALWAYS),
        "credentials expired": (faults.expired("test", "new"), ALWAYS),
        "no right to": (faults.says(403, "AccessDenied"), ALWAYS),
        "the store's disk is full": (faults.says(507, "XMinioStorageFull"), ALWAYS),
        "a listing that is behind": (faults.behind, ALWAYS),
        "what lies there is half of it": (faults.given_short, ALWAYS),
        "killed before": (faults.kill_before(lambda: Child.pid), 1),
        "killed after": (faults.kill_after(lambda: Child.pid), 1),
    }[name]


def killed(work: Callable[[], object]) -> None:
    """Do `work` in a child process, which is killed meanwhile."""
    Child.pid = os.fork()
    if Child.pid == 0:
        try:
            work()
        finally:
            os._exit(1)
    assert os.waitpid(Child.pid, 0)[1] == signal.SIGKILL


@pytest.mark.parametrize(("fault", "operation", "outcome"), cells(TABLE), ids=named)
def test_a_publish_completes_or_leaves_the_store_as_it_was(
    fault: str,
    operation: str,
    outcome: str,
    server: FaultyServer,
    storage: S3Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "new")  # what whoever looks again finds
    before = inside(storage.prefix)["home/current.json"]
    server.arm(operation, *fault_of(fault, server))
    if fault.startswith("killed"):
        killed(lambda: publish_today(storage))
    elif outcome == DONE:
        assert publish_today(storage).moved
    else:
        with pytest.raises(StoreError) as stopped:
            publish_today(storage)
        assert re.search(r"and readers see (what they saw before|2011-11-29/yesterday): s3://", str(stopped.value))
        assert "\n" not in str(stopped.value)
    assert operation in server.calls, "the publish never came to it"
    assert live(storage) == ("today" if outcome == DONE else "yesterday")
    if outcome == AS_IT_WAS:
        assert inside(storage.prefix)["home/current.json"] == before
        server.arm("", None)
        assert publish_today(storage).moved, "the next try completes"


def test_a_publish_that_fell_silent_at_its_manifest_does_not_say_that_there_is_none(
    server: FaultyServer, storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = storage.create

    def last_thing(key: str, body: bytes) -> None:
        server.arm("write the manifest", faults.trickle(server))
        with pytest.raises(StoreError) as lost:
            create(key, body)
        server.arm("read the manifest", faults.cut_before)
        raise lost.value

    monkeypatch.setattr(storage, "create", last_thing)
    with pytest.raises(StoreError, match=r"silent while 2011-11-30/today was published: it may be, and is not live"):
        publish_today(storage)
    assert "home/runs/2011-11-30/today/manifest.json" in inside(storage.prefix)
    monkeypatch.undo()
    server.arm("", None)
    assert publish_today(storage).moved


@pytest.fixture
def two_days(storage: S3Storage) -> S3Storage:
    """Today is live, and yesterday was before."""
    publish_today(storage)
    return storage


def test_a_rollback_whose_answer_is_lost_is_done_and_its_run_has_its_manifest(
    server: FaultyServer, two_days: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = "home/runs/2011-11-29/yesterday/"

    def put_away_meanwhile(*move: Any) -> None:
        two_days.write(folder + "pruned.json", two_days.read(folder + "manifest.json").body)
        two_days.delete(folder + "manifest.json")
        server.arm("move the pointer", faults.trickle(server))
        put_pointer(*move)

    monkeypatch.setattr(rollback, "put_pointer", put_away_meanwhile)
    move = roll_back(two_days, "home", None, NOW)
    assert (move.moved, str(move.live)) == (True, "2011-11-29/yesterday")
    assert live(two_days) == "yesterday"


def test_a_rollback_that_fails_says_what_is_live(server: FaultyServer, two_days: S3Storage) -> None:
    server.arm("move the pointer", faults.says(503, "SlowDown"))
    with pytest.raises(StoreError, match=r"29/yesterday is published and not live, and readers see 2011-11-30/today"):
        roll_back(two_days, "home", None, NOW)
    assert live(two_days) == "today"


def test_a_rollback_that_nobody_can_tell_of_does_not_say_to_run_it_again(
    server: FaultyServer, two_days: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It might go back another run."""

    def silent_from_here(*move: Any) -> None:
        server.arm("move the pointer", faults.trickle(server))
        with pytest.raises(StoreError) as lost:
            put_pointer(*move)
        server.arm("read the pointer", faults.cut_before)
        raise lost.value

    monkeypatch.setattr(rollback, "put_pointer", silent_from_here)
    said = r"readers see it or 2011-11-30/today, whole; look at what is live when the store answers, and decide again"
    with pytest.raises(StoreError, match=said):
        roll_back(two_days, "home", None, NOW)
    assert live(two_days) == "yesterday"


def test_a_rollback_that_moved_the_pointer_says_so_whatever_came_then(
    server: FaultyServer, two_days: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def then_silent(*move: Any) -> None:
        put_pointer(*move)
        server.arm("look at a file", faults.cut_before)

    monkeypatch.setattr(rollback, "put_pointer", then_silent)
    with pytest.raises(StoreError, match=r"^2011-11-29/yesterday is live again, 2011-11-30/today is not; but nobody"):
        roll_back(two_days, "home", None, NOW)


def leases_in(storage: S3Storage) -> set[str]:
    return {key for key in inside(storage.prefix) if key.startswith("home/leases/")}


@pytest.mark.parametrize(("fault", "operation", "outcome"), cells(READ_TABLE), ids=named)
def test_a_reader_reads_or_stops_and_keeps_nothing_half(
    fault: str,
    operation: str,
    outcome: str,
    server: FaultyServer,
    storage: S3Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "new")
    server.arm(operation, *fault_of(fault, server))
    if fault.startswith("killed"):
        killed(lambda: read_all(storage, cache))
    elif outcome == READS:
        assert read_all(storage, cache) == 16
    else:
        with pytest.raises(StoreError, match=r"^[^\n]+$"):
            read_all(storage, cache)
    assert operation in server.calls, "the reader never came to it"
    for path in cache.glob("*.*"):
        if path.suffix in (".lmdb", ".parquet") and not path.name.startswith("."):
            assert sha256_of(path) == path.stem
    left = leases_in(storage)
    assert not left or fault.startswith("killed") or operation == "take a lease"
    server.arm("", None)
    assert read_all(storage, cache) == 16
    assert leases_in(storage) == left


def test_the_page_has_these_tables() -> None:
    text = PAGE.read_text()
    assert faults.page(TABLE, list(OPERATIONS), "a publish") in text
    assert faults.page(READ_TABLE, list(READ_OPERATIONS), "a reader") in text
