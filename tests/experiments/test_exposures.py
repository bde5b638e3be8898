"""What was shown is written down: whole files, a bounded loss when a process is killed, and nothing dropped unseen."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given as any_of
from hypothesis import strategies as st

from nightshift.config.settings import ExposureFiles
from nightshift.experiments.assignment import Assigner
from nightshift.experiments.exposure_files import files_in, part_of, read, remove, write
from nightshift.experiments.exposures import AT_ONCE, ExposureLog, exposure_log
from nightshift.experiments.overrides import parse_override
from tests.experiments.declared import declared, experiment, layer

AT = dt.datetime(2011, 11, 30, 8, 5, 12, 123456, dt.UTC)
NOW = AT.timestamp()
RUN = "2011-11-29/by-hand"
READS = [{"name": "control"}, {"name": "new", "channel": "challenger"}]
SETTINGS = declared(
    layer("lists", 1, experiment("ranker", 0, 0.5, variants=READS), holdout=0.5),
    layer("page", 2, experiment("colour", 0, 1, "blue")),
    channels={"challenger": "7"},
)
ASSIGN = Assigner(SETTINGS).assign


def exposures(folder: Path, **settings: object) -> ExposureLog:
    return ExposureLog(ExposureFiles.model_validate(settings), folder)


def rows(folder: Path) -> list[dict]:
    return [row for file in files_in(folder) for row in rows_of(file.path)]


def rows_of(path: Path) -> list[dict]:
    columns = read(path).columns
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def test_what_is_noted_is_what_is_written(tmp_path: Path) -> None:
    users = [f"user {number}" for number in range(20)]
    log = exposures(tmp_path)
    for number, user in enumerate(users):
        log.note(user, ASSIGN(user, "home"), RUN, number or b'[{"item_id":"21034"}]', NOW + number, f"r{number}")
    log.flush()
    found = sorted(rows(tmp_path), key=lambda row: row["shown_at"])  # a file has those of an assignment together
    assert [row["user_id"] for row in found] == users
    for number, row in enumerate(found):
        given = ASSIGN(users[number], "home")
        assert row["shown_at"] == 1322640312123456 + number * 1_000_000
        assert (row["surface"], row["channel"], row["list_run"]) == ("home", given.channel, RUN)
        assert {part["experiment"]: part["variant"] for part in row["experiments"]} == given.variants
        assert {part["experiment"]: part["propensity"] for part in row["experiments"]} == given.propensities
        assert (tuple(row["holdouts"]), row["overridden"], row["request_id"]) == (given.holdouts, False, f"r{number}")
    assert (found[0]["shown"], found[0]["answer"]) == (None, '[{"item_id":"21034"}]')
    assert (found[1]["shown"], found[1]["answer"]) == (1, None)
    assert len({row["channel"] for row in found}) == 2
    (file,) = files_in(tmp_path)
    assert (file.path.parent.name, file.first, file.last) == ("2011-11-30", AT, AT + dt.timedelta(seconds=19))


def test_an_answer_of_another_channel_and_a_testers_choice_say_so(tmp_path: Path) -> None:
    log = exposures(tmp_path)
    chosen = Assigner(SETTINGS).assign("1", "home", parse_override(SETTINGS, "ranker=new"))
    log.note("1", chosen, RUN, 3, NOW, channel="current")
    log.note("2", chosen, RUN, 3, NOW)
    log.flush()
    assert [(row["channel"], row["overridden"]) for row in rows(tmp_path)] == [("current", True), ("challenger", True)]
    assert {part["propensity"] for part in rows(tmp_path)[0]["experiments"] if part["experiment"] == "ranker"} == {None}


def test_every_exposure_of_every_process_has_an_id_of_its_own(tmp_path: Path) -> None:
    given = ASSIGN("1", "home")
    for log in (exposures(tmp_path), exposures(tmp_path)):
        for _ in range(2):
            for _ in range(1200):
                log.note("1", given, RUN, 3, NOW)
            log.flush()
    assert len({row["exposure_id"] for row in rows(tmp_path)}) == 4 * 1200


def test_users_who_are_not_enrolled_are_noted_only_where_all_are_asked_for(tmp_path: Path) -> None:
    nobody = Assigner(declared()).assign("1", "home")
    for of, count in (("enrolled", 0), ("everyone", 1)):
        log = exposures(tmp_path / of, of=of)
        log.note("1", nobody, RUN, 3, NOW)
        log.flush()
        assert len(rows(tmp_path / of)) == count


def test_there_is_no_log_where_nobody_would_be_noted(tmp_path: Path) -> None:
    some, none = SETTINGS, declared()
    for settings, of, there in ((some, "enrolled", True), (some, "nobody", False), (none, "enrolled", False),
                                (none, "everyone", True)):  # fmt: skip
        chosen = settings.model_copy(update={"exposures": ExposureFiles(of=of)})
        log = exposure_log(chosen, tmp_path)
        assert (log is not None) == there
        assert log is None or log.folder == tmp_path / "exposures" / "pending"


def test_what_there_is_no_room_for_is_dropped_and_counted(tmp_path: Path) -> None:
    log = exposures(tmp_path, max_rows=10)
    for _ in range(2):
        for number in range(25):
            log.note(str(number), ASSIGN("1", "home"), RUN, 3, NOW)
        log.flush()
    log.flush()
    assert (log.written, log.dropped, log.waiting) == (20, 30, 0)
    assert [row["user_id"] for row in rows(tmp_path)] == 2 * [str(number) for number in range(10)]
    assert [read(file.path).dropped for file in files_in(tmp_path)] == [15, 15]


def test_what_the_disk_does_not_take_is_written_when_it_does(tmp_path: Path) -> None:
    folder = tmp_path / "pending"
    folder.write_text("no folder")
    log = exposures(folder, max_rows=3)
    log.note("1", ASSIGN("1", "home"), RUN, 3, NOW)
    log.flush()
    for number in range(2, 6):
        log.note(str(number), ASSIGN("1", "home"), RUN, 3, NOW)
    assert (log.failures, log.waiting, log.dropped) == (1, 3, 2)
    folder.unlink()
    log.flush()
    assert [row["user_id"] for row in rows(folder)] == ["1", "2", "3"]
    assert read(files_in(folder)[0].path).dropped == 2


def test_a_disk_that_is_full_keeps_no_half_written_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed, is_full = os.fsync, True

    def full(handle: int) -> None:
        if is_full:
            raise OSError(28, "No space left on device")
        flushed(handle)

    monkeypatch.setattr(os, "fsync", full)
    log = exposures(tmp_path)
    for number in range(3):
        log.note(str(number), ASSIGN("1", "home"), RUN, 3, NOW + number)
        log.flush()
    assert (log.failures, [path for path in tmp_path.rglob("*") if path.is_file()]) == (3, [])
    is_full = False
    log.flush()
    assert [row["user_id"] for row in rows(tmp_path)] == ["0", "1", "2"]


def test_what_is_written_stays_there_with_its_folders_and_so_does_a_removal(tmp_path: Path, flushed: list[int]) -> None:
    log, pending = exposures(tmp_path / "exposures/pending"), tmp_path / "exposures/pending"
    for user in ("1", "2"):
        log.note(user, ASSIGN(user, "home"), RUN, 3, NOW)
    log.flush()
    [file] = files_in(pending)
    day, home = file.path.parent, tmp_path
    assert flushed == [path.stat().st_ino for path in (home, home / "exposures", pending, file.path, day)]
    assert remove(file.path, {"1"}.__contains__) == 1
    assert flushed[5:] == [path.stat().st_ino for path in (file.path, day)]


def test_many_rows_are_a_line_for_each_of_what_they_share(tmp_path: Path) -> None:
    log = exposures(tmp_path)
    for number in range(12_000):
        log.note(str(number), ASSIGN(str(number % 50), "home"), RUN, 3, NOW + number)
    log.flush()
    (file,) = files_in(tmp_path)
    assert {row["user_id"] for row in rows(tmp_path)} == {str(number) for number in range(12_000)}
    assert (file.first, file.last) == (AT, AT + dt.timedelta(seconds=11_999))
    shared = len({ASSIGN(str(number), "home") for number in range(50)})
    assert len(file.path.read_bytes().splitlines()) <= 1 + shared * 12_000 / AT_ONCE


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
SHOWN = st.integers(0, 1000) | NAMES.map(str.encode)
NOTED = st.lists(st.tuples(NAMES, SHOWN, st.integers(0, 2**50), st.none() | NAMES), min_size=1, max_size=30)


@any_of(NOTED, st.data())
def test_rows_of_any_bytes_come_back_and_those_of_others_stay_when_some_go(noted: list, data: st.DataObject) -> None:
    given = [ASSIGN(str(number % 7), "home") for number in range(len(noted))]
    made = [
        (one, RUN, None, user, items, at / 1e6, request)
        for one, (user, items, at, request) in zip(given, noted, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = write(Path(folder), [part_of(made, 5)], "ab", 0, 2)
        found, dropped = sorted(rows_of(file), key=lambda row: row["exposure_id"]), read(file).dropped
        assert dropped == 2
        assert {row["exposure_id"] for row in found} == {f"ab-{number}" for number in range(5, 5 + len(noted))}
        expected = [
            (user, items if isinstance(items, int) else None, items.decode() if isinstance(items, bytes) else None, ask)
            for user, items, _, ask in noted
        ]
        names = ("user_id", "shown", "answer", "request_id")
        assert Counter(tuple(row[name] for name in names) for row in found) == Counter(expected)
        gone = data.draw(st.sampled_from([user for user, *_ in noted]))
        assert remove(file, gone.__eq__) == sum(user == gone for user, *_ in noted)
        assert remove(file, gone.__eq__) == 0
        kept = sorted(rows_of(file), key=lambda row: row["exposure_id"])
        assert (kept, read(file).dropped) == ([row for row in found if row["user_id"] != gone], 2)


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("cut off", lambda content: content[: len(content) // 2]),
        ("without its last line", lambda content: b"".join(content.splitlines(True)[:-1])),
        ("empty", lambda _: b""),
        ("of something else", lambda _: b'{"writer":"ab","rows":1,"dropped":0}\n["1"]\n'),
        ("of numbers", lambda _: b"1\n2\n"),
        ("without a column", lambda content: content.replace(b'"request_id"', b'"request"')),
        ("without what is shared", lambda content: content.replace(b'"surface"', b'"place"')),
        ("without who wrote it", lambda content: content.replace(b'"writer"', b'"by"')),
        ("with a column that is shorter", lambda content: content.replace(b'"shown":[3,', b'"shown":[')),
    ],
)
def test_a_file_that_is_not_whole_is_not_read(tmp_path: Path, name: str, damaged: Callable[[bytes], bytes]) -> None:
    log = exposures(tmp_path)
    for number in range(40):
        log.note(str(number), ASSIGN(str(number), "home"), RUN, 3, NOW)
    log.flush()
    (file,) = files_in(tmp_path)
    content = file.path.read_bytes()
    file.path.write_bytes(damaged(content))
    assert file.path.read_bytes() != content, name
    for way in (read, lambda path: remove(path, "1".__eq__)):
        with pytest.raises(ValueError, match=r"rows|lacks|no file|JSON|values|unexpected|EOF|content"):
            way(file.path)


def test_a_row_that_is_none_does_not_stand_in_the_way_of_others(tmp_path: Path) -> None:
    log = exposures(tmp_path)
    log.note("1", ASSIGN("1", "home"), RUN, 3, "noon")  # type: ignore[arg-type]
    log.flush()
    log.note("2", ASSIGN("1", "home"), RUN, 3, NOW)
    log.flush()
    assert ([row["user_id"] for row in rows(tmp_path)], log.dropped) == (["2"], 1)


def test_the_thread_writes_by_seconds_and_by_rows_and_at_the_end(tmp_path: Path) -> None:
    for name, settings, count in (
        ("seconds", {"flush_seconds": 0.2}, 1),
        ("rows", {"flush_seconds": 3600, "max_rows": 20}, 10),
    ):
        log = exposures(tmp_path / name, **settings)
        log.start()
        for _ in range(count):
            log.note("1", ASSIGN("1", "home"), RUN, 3, NOW)
        while not log.written:
            pass
        assert log.waiting == 0
        log.note("2", ASSIGN("1", "home"), RUN, 3, NOW)
        log.stop()
        assert [row["user_id"] for row in rows(tmp_path / name)] == ["1"] * count + ["2"]


NOTING = """
import pathlib, sys, time
from nightshift.config.settings import ExposureFiles
from nightshift.experiments.exposures import ExposureLog
from tests.experiments.test_exposures import ASSIGN, NOW, RUN

log = ExposureLog(ExposureFiles(flush_seconds=0.2, max_rows=int(sys.argv[2])), pathlib.Path(sys.argv[1]))
log.start()
given, number = ASSIGN("1", "home"), 0
while True:
    log.note(str(number), given, RUN, 3, NOW + number)
    number += 1
    if number % 20 == 0:
        print(number - log.dropped, flush=True)
        time.sleep(0.002)
"""


def test_a_killed_process_loses_no_more_than_it_is_said_to(tmp_path: Path) -> None:
    most = 200
    command = [sys.executable, "-c", NOTING, str(tmp_path), str(most)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        noted = 0
        while noted < 10 * most:
            noted = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        noted = int(([noted, *process.stdout.read().split()])[-1])
    survived = rows(tmp_path)
    assert noted - most <= len(survived) <= noted + most
    assert len({row["exposure_id"] for row in survived}) == len(survived)
    assert [row["shown_at"] for row in survived] == sorted(row["shown_at"] for row in survived)


@pytest.mark.parametrize("name", [".20111130T080512123456-20111130T080512123456-ab-000001.jsonl.partial", "x.jsonl"])
def test_what_is_half_written_or_somebody_elses_is_no_file_of_exposures(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "2011-11-30"
    folder.mkdir()
    (folder / name).write_bytes(b"{}")
    assert files_in(tmp_path) == []


ALONE = """
import pathlib, sys

class NotThere:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("numpy", "pandas", "scipy", "duckdb", "deltalake", "pyarrow"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotThere())
from nightshift.config.settings import ExposureFiles, Experiments
from nightshift.experiments.assignment import Assigner
from nightshift.experiments.exposures import ExposureLog
from nightshift.experiments.overrides import parse_override
log = ExposureLog(ExposureFiles(of="everyone"), pathlib.Path(sys.argv[1]))
log.start()
log.note("1", Assigner(Experiments()).assign("1", "home"), "2011-11-29/by-hand", 3, 1322640312.0)
log.stop()
assert log.written == 1
"""


def test_the_lookup_service_needs_nothing_heavy_for_this(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ALONE, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(rows(tmp_path)) == 1
