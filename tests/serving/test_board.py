"""What the processes of one service share: sums that never fall, what each serves, and a bell."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from nightshift.serving.telemetry.board import STARTED, Board
from nightshift.serving.telemetry.exposition import Exposition
from nightshift.serving.telemetry.metrics import EVENTS, OF_STATUS, ROUTES, STATUSES, Metrics


def count_in_a_process_of_its_own(folder: Path) -> None:
    board = Board(folder)
    metrics = Metrics(["home"], board)
    for _ in range(3):
        metrics.happened("home", "opened")
    metrics.counts[metrics.route("similar") + OF_STATUS[200]] += 5
    board.say({"channels": []})


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    """The folder of a board on which another process has counted, and ended."""
    process = multiprocessing.get_context("spawn").Process(target=count_in_a_process_of_its_own, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 0
    return tmp_path


def test_the_counts_of_all_processes_are_added_up_even_of_those_that_have_ended(ended: Path) -> None:
    metrics = Metrics(["home"], Board(ended))
    metrics.happened("home", "opened")
    assert {event: times for _, event, times in metrics.events()}["opened"] == 4
    assert [(route, status, sum(buckets)) for route, status, buckets in metrics.requests()] == [("similar", "200", 5)]


def test_counters_are_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who adds up everyone's while a worker starts must not find a file that is empty."""
    seen: list[list[Path]] = []
    mapped = mmap.mmap

    def look_and_map(file: int, size: int) -> mmap.mmap:
        seen.append(list(tmp_path.glob("*.counts")))
        return mapped(file, size)

    monkeypatch.setattr(mmap, "mmap", look_and_map)
    counts = Board(tmp_path).counts(3)
    counts[1] = 7
    assert (seen, Board(tmp_path).totals()) == ([[]], [0, 7, 0])
    (path,) = tmp_path.iterdir()
    assert re.fullmatch(rf"{os.getpid()}-\d+\.counts", path.name)


def test_only_the_living_say_what_they_serve(ended: Path) -> None:
    board = Board(ended)
    board.say({"channels": ["of mine"]})
    assert board.states() == [{"worker": os.getpid(), "channels": ["of mine"]}]


@pytest.fixture
def other_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has this process look as if it had begun so many ticks after the system."""
    stat = Path("/proc/self/stat").read_text()
    head, _, tail = stat.rpartition(")")
    fields = tail.split()

    def begin(ticks: int) -> None:
        fields[STARTED] = str(ticks)
        (own := tmp_path / "proc" / str(os.getpid())).mkdir(parents=True, exist_ok=True)
        (own / "stat").write_text(f"{head}) {' '.join(fields)}\n")

    monkeypatch.setattr("nightshift.serving.telemetry.board.PROC", tmp_path / "proc")
    return begin


def test_a_process_with_the_pid_of_one_that_has_ended_is_another(
    tmp_path: Path, other_start: Callable[[int], None]
) -> None:
    other_start(100)
    ended = Board(tmp_path)
    ended.counts(2)[0] = 7
    ended.say({"channels": ["of the ended"]})
    ended.listen(lambda: None)
    other_start(200)
    living = Board(tmp_path)
    assert (living.totals(), living.states(), living.ring()) == ([7, 0], [], 0)
    living.counts(2)[1] = 2
    assert living.totals() == [7, 2]
    living.say({"channels": ["of the living"]})
    living.listen(lambda: None)
    assert [one["channels"] for one in living.states()] == [["of the living"]]
    assert living.ring() == 1


def test_where_the_system_does_not_say_when_a_process_began_its_name_is_still_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightshift.serving.telemetry.board.PROC", tmp_path / "nothing")
    for _ in range(2):
        Board(tmp_path).counts(2)[0] = 1
    assert Board(tmp_path).totals() == [2, 0]


def test_a_bell_is_heard(tmp_path: Path) -> None:
    board, heard = Board(tmp_path), threading.Semaphore(0)
    board.listen(heard.release)
    assert Board(tmp_path).ring() == 1
    assert heard.acquire(timeout=5)


def test_every_counter_has_a_place_of_its_own() -> None:
    metrics = Metrics(["home", "mail"])
    places = [metrics.route(name) + OF_STATUS[status] for name in ROUTES for status in STATUSES]
    for place in places:
        metrics.counts[place] += 1
    for surface in metrics.surfaces:
        for event in EVENTS:
            metrics.happened(surface, event)
    assert len(list(metrics.requests())) == len(ROUTES) * len(STATUSES)
    assert all(sum(buckets) == 1 for _, _, buckets in metrics.requests())
    assert {times for _, _, times in metrics.events()} == {1}
    assert set(metrics.seconds().values()) == {0.0}


def test_every_event_is_shown() -> None:
    metrics = Metrics(["home"])
    for event in EVENTS:
        metrics.happened("home", event)
    shown = list(Exposition(metrics, lambda: []).collect())
    assert sum(sample.value for metric in shown for sample in metric.samples) == len(EVENTS)
