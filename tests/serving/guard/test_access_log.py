"""A line a request, whole and in order, in files that rotate; what cannot be written is counted, and nothing waits."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.config.settings import AccessLog as Settings
from nightshift.serving.guard.access import AccessLog, access_log_of
from nightshift.serving.guard.request_ids import RequestIds


def log_in(folder: Path, **settings: int) -> AccessLog:
    log = access_log_of(Settings(path="access.jsonl", **settings), folder)
    assert log
    return log


def note(log: AccessLog, *numbers: int) -> None:
    for number in numbers:
        log.note("recommendations", 200, 0.0002145, number, "shop", "5f1c9a7e00000001")


def numbers_in(files: Iterable[Path]) -> list[int]:
    return [json.loads(line)["bytes"] for file in files for line in file.read_text().splitlines()]


def test_a_line_says_what_was_answered_to_which_program_and_nothing_of_a_person(tmp_path: Path) -> None:
    log, before = log_in(tmp_path), time.time()
    log.note("recommendations", 404, 0.0002145, 2113, "shop", "5f1c9a7e00000001")
    log.stop()
    line = json.loads((tmp_path / "access.jsonl").read_text())
    assert before - 0.001 <= line.pop("at") <= time.time()
    assert line == {
        "route": "recommendations",
        "status": 404,
        "ms": 0.214,
        "bytes": 2113,
        "caller": "shop",
        "request_id": "5f1c9a7e00000001",
    }


def test_lines_are_written_while_it_runs_and_the_rest_when_it_stops(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.start()
    note(log, *range(1000))
    deadline = time.monotonic() + 10
    while not (tmp_path / "access.jsonl").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    note(log, *range(1000, 2000))
    log.stop()
    assert numbers_in([tmp_path / "access.jsonl"]) == list(range(2000))
    assert log.dropped == 0


def test_lines_from_many_threads_come_through_whole(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.start()
    threads = [threading.Thread(target=note, args=(log, *range(n * 2000, (n + 1) * 2000))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.stop()
    assert sorted(numbers_in([tmp_path / "access.jsonl"])) == list(range(8000))


def test_what_does_not_fit_in_the_queue_is_dropped_and_counted(tmp_path: Path) -> None:
    log = log_in(tmp_path, waiting=3)
    note(log, *range(5))
    log.write()
    note(log, 5)
    log.stop()
    assert numbers_in([tmp_path / "access.jsonl"]) == [0, 1, 2, 5]
    assert log.dropped == 2


def test_a_disk_that_refuses_drops_lines_counts_them_says_so_once_and_goes_on_when_it_is_well(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "access.jsonl").mkdir()
    log = log_in(tmp_path)
    for number in range(3):
        note(log, number)
        log.write()
    assert log.dropped == 3
    assert [message[:33] for message in caplog.messages] == ["the access log cannot be written,"]
    (tmp_path / "access.jsonl").rmdir()
    note(log, 3)
    log.stop()
    assert numbers_in([tmp_path / "access.jsonl"]) == [3]


@hypothesis.settings(max_examples=40, deadline=None)
@given(batches=st.lists(st.integers(1, 12), min_size=1, max_size=25), keep=st.integers(0, 3))
def test_files_rotate_by_size_and_keep_the_latest_lines_in_order(batches: list[int], keep: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, count = Path(name), 0
        log = log_in(folder, max_bytes=600, keep=keep)
        for size in batches:
            note(log, *range(count, count + size))
            log.write()
            count += size
        log.stop()
        olds = [folder / f"access.jsonl.{number}" for number in range(keep, 0, -1)]
        found = numbers_in(file for file in [*olds, folder / "access.jsonl"] if file.exists())
        assert found == list(range(count))[count - len(found) :]
        if olds and not olds[0].exists():
            assert len(found) == count, "nothing is deleted before there are as many files as are kept"
        named = {"access.jsonl", "access.jsonl.lock", *(old.name for old in olds)}
        assert {path.name for path in folder.iterdir()} <= named


def test_two_processes_write_and_rotate_one_file_and_lose_no_line(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from nightshift.config.settings import AccessLog
from nightshift.serving.guard.access import access_log_of
log = access_log_of(AccessLog(path="access.jsonl", max_bytes=6_000, keep=200), Path(sys.argv[1]))
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 1000):
    log.note("recommendations", 200, 0.0002, number, "shop", "5f1c9a7e00000001")
    if number % 10 == 9:
        log.write()
log.stop()
"""
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(first)]) for first in (0, 1000)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    files = [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    assert sorted(numbers_in(files)) == list(range(2000))
    assert len(files) > 10


def test_a_file_that_somebody_else_puts_aside_is_begun_again(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    note(log, 1)
    log.write()
    (tmp_path / "access.jsonl").rename(tmp_path / "archived")
    note(log, 2)
    log.stop()
    assert numbers_in([tmp_path / "archived"]) == [1]
    assert numbers_in([tmp_path / "access.jsonl"]) == [2]


def test_a_container_has_it_on_standard_output(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    log = access_log_of(Settings(path="-"), tmp_path)
    assert log
    note(log, 7)
    log.stop()
    assert json.loads(capfdbinary.readouterr().out)["bytes"] == 7


def test_there_is_no_log_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert access_log_of(Settings(), tmp_path) is None


UUID = "6fa459ea-ee8a-3ca4-894e-db77e160355e"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-request-id": UUID}, UUID),
        ({"x-request-id": TRACE.upper()}, TRACE.upper()),
        ({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, TRACE),
        ({"x-request-id": "customer 17850", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, TRACE),
    ],
)
def test_a_callers_id_is_kept_where_it_is_random_by_its_form(headers: dict[str, str], expected: str) -> None:
    assert RequestIds().of(headers) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-request-id": "anna.smith@example.com"},
        {"x-request-id": "17850"},
        {"x-request-id": f'{UUID}"\n'},
        {"x-request-id": "0" * 33},
        {"traceparent": f"00-{TRACE}-00f067aa0ba902b7"},
    ],
)
def test_any_other_id_is_replaced_by_one_that_nobody_else_has(headers: dict[str, str]) -> None:
    one, other = RequestIds(), RequestIds()
    made = [one.of(headers), one.of(headers), other.of(headers), other.of(headers)]
    assert len(set(made)) == 4
    assert all(len(made_id) == 16 and int(made_id, 16) for made_id in made)
