"""What the processes of one service share: sums that never fall, what each serves, and a bell."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from nightshift.serving.telemetry.board import Board
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
    assert [path.name for path in tmp_path.iterdir()] == [f"{os.getpid()}.counts"]


def test_only_the_living_say_what_they_serve(ended: Path) -> None:
    board = Board(ended)
    board.say({"channels": ["of mine"]})
    assert board.states() == [{"worker": os.getpid(), "channels": ["of mine"]}]


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
