"""A publish reaches readers without a failed request, without an answer of two runs, and leaves nothing behind."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

import httpx

from nightshift.publishing.manifest import Run
from nightshift.publishing.pointer import Pointer
from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import Storage, open_storage
from tests.publishing.planted import NOW, USERS, day, publish, publish_live
from tests.serving.running import Address, free_port, running, wait_until, write_config

SWAPS = 30
ASKED: tuple[tuple[str, dict[str, list[str]] | None], ...] = (
    ("/v1/users/17850/recommendations", None),
    ("/v1/users/nobody/recommendations", None),
    ("/v1/recommendations:batch", {"user_ids": [*USERS, "nobody"]}),
)


class Readers:
    """Ask all the time, from threads of their own, and look into every answer.

    Attributes:
        runs: the run of every good answer, in the order they came. Runs are called by one letter, and so are the
            titles in their lists.
        wrong: what was no good answer, or had titles of another run than it named.
    """

    def __init__(self, base: str) -> None:
        self.runs, self.wrong = list[str](), list[str]()
        self._base, self._stop = base, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=asked) for asked in ASKED]

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        self.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait(self) -> None:
        """Wait for some more answers."""
        seen = len(self.runs)
        wait_until(lambda: len(self.runs) > seen + 3 or bool(self.wrong))

    def _ask(self, path: str, body: dict[str, list[str]] | None) -> None:
        with httpx.Client(base_url=self._base, timeout=10) as client:
            while not self._stop.is_set():
                try:
                    response = client.request("POST" if body else "GET", path, json=body)
                except httpx.HTTPError as error:
                    self.wrong.append(repr(error))
                    continue
                run = response.json().get("run_id")
                marks = {text.split('"')[0][-1] for text in response.text.split(" of ")[1:] if text[0] in "abcd"}
                good = (response.status_code, marks) == (200, {run})
                (self.runs if good else self.wrong).append(run if good else response.text)


def test_publishes_and_rollbacks_under_load_fail_no_request_and_mix_no_runs(address: Address, tmp_path: Path) -> None:
    storage = open_storage(*address)
    publish_live(storage, day(27), "a", mark="a")
    with (
        running(write_config(tmp_path, address)) as base,
        httpx.Client(base_url=base) as client,
        Readers(base) as readers,
    ):
        for number, run_id in ((28, "b"), (29, "c"), (30, "d"), (0, "c"), (0, "b")):
            if number:
                publish_live(storage, day(number), run_id, mark=run_id)
            else:
                roll_back(storage, "home", None, NOW)
            wait_until(lambda expected=run_id: client.get("/readyz").json()["run_id"] == expected)
            readers.wait()
    assert readers.wrong == []
    assert set(readers.runs) == set("abcd")


def test_many_swaps_under_load_fail_nothing_and_leave_nothing_mapped(tmp_path: Path) -> None:
    """The thousand: `python -m benchmarks.lookup --swaps 1000`."""
    address, port = ((tmp_path / "published").as_uri(), free_port())
    storage = open_storage(address)
    runs = [publish(storage, day(28), mark, mark=mark).run for mark in "ab"]
    move(storage, runs[0])
    config = write_config(tmp_path, (address, None), admin_port=port, poll_seconds=3600)
    with (
        running(config) as base,
        httpx.Client(base_url=f"http://127.0.0.1:{port}/admin/v1", timeout=30) as admin,
        Readers(base) as readers,
    ):
        for number in range(1, SWAPS + 1):
            move(storage, runs[number % 2])
            (worker,) = admin.post("/look").json()["workers"]
            assert worker["channels"][0]["live"]["run_id"] == runs[number % 2].run_id
        readers.wait()
        mapped, files = maps_and_files(worker["worker"])
    assert readers.wrong == []
    assert set(readers.runs) == {"a", "b"}
    assert mapped <= 2 * 3, "two runs of three shards at most, while one takes the other's place"
    assert files < 60


def move(storage: Storage, run: Run) -> None:
    """Let the pointer name a run, to and fro as no publish does."""
    pointer = Pointer(**run.model_dump(), surface="home", moved_at=NOW, moved_by="rollback")
    storage.write("home/current.json", pointer.to_json())


def maps_and_files(pid: int) -> tuple[int, int]:
    """How many shards a process has mapped, and how many files it has open."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return len({line.split()[-1] for line in lines if ".lmdb" in line}), len(list(Path(f"/proc/{pid}/fd").iterdir()))
