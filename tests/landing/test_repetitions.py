"""An event that several days' files bring is kept where it came first, and to find that out history is not read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.lake import Lake, Staged, Table, ingest_counts_table
from nightshift.lake.stages import open_stage
from nightshift.landing import drop_repeated, later_days_that_share
from nightshift.landing.repetitions import LOOKUPS, _spans

EVENTS = Table("events", {"event_id": "string", "event_date": "date"})
SCHEMA = pa.schema([("event_id", pa.string()), ("event_date", pa.date32())])
FIRST = dt.date(2011, 6, 1)

Files = dict[int, frozenset[int]]  # day -> the events its file has; event n is of day n % 10


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


def stage(lake: Lake, files: Mapping[int, Iterable[int]]) -> Staged:
    rows = {at: [(f"event {event}", day(event % 10)) for event in events] for at, events in files.items()}
    return stage_rows(lake, rows)


def stage_rows(lake: Lake, files: Mapping[int, list[tuple[str, dt.date]]]) -> Staged:
    staged = open_stage(lake.path("events"), tuple(day(number).isoformat() for number in sorted(files)))
    (lake.path("events") / staged.folder).mkdir()
    for number, rows in files.items():
        folder = lake.path("events") / staged.folder / f"run_date={day(number)}"
        if rows:
            folder.mkdir()
            table = pa.Table.from_pylist([dict(zip(EVENTS.columns, row, strict=True)) for row in rows], SCHEMA)
            pq.write_table(table, folder / "part-0.parquet")
    return staged


def land(lake: Lake, files: Files, number: int) -> set[int]:
    """As `jobs.ingest` and `jobs.validate_events` do it. Returns the days that were read."""
    read = {number}
    while True:
        staged = stage(lake, {at: files[at] for at in read})
        days = [day(at) for at in sorted(read)]
        back = drop_repeated(lake, staged, days)
        later = later_days_that_share(lake, staged, days)
        if not later:
            break
        read |= {(at - FIRST).days for at in later}
    lake.commit(staged, EVENTS)
    rows = [dict.fromkeys(ingest_counts_table.arrow.names) | {"run_date": at} for at in days]
    for row in rows:
        row["repeats_back"] = back.get(row["run_date"], 0)  # type: ignore[call-overload]
    lake.replace("ingest_counts", days, pa.Table.from_pylist(rows, schema=ingest_counts_table.arrow))
    return read


def kept(lake: Lake) -> list[tuple[int, int]]:
    rows = lake.arrow("events", ["run_date", "event_id"]).to_pylist()
    return sorted(((row["run_date"] - FIRST).days, int(row["event_id"].split()[1])) for row in rows)


def kept_by_the_rule(files: Files) -> list[tuple[int, int]]:
    first = {event: min(at for at in files if event in files[at]) for events in files.values() for event in events}
    return sorted((at, event) for event, at in first.items())


@st.composite
def deliveries(draw: Any) -> list[tuple[int, frozenset[int]]]:
    """Files of five days in some order, some of them corrected once or more."""
    days = draw(st.permutations(range(5))) + draw(st.lists(st.integers(0, 4), max_size=4))
    events = [
        st.frozensets(st.integers(0, 29).filter(lambda event, at=at: event % 10 <= at), max_size=6) for at in days
    ]
    return [(at, draw(of)) for at, of in zip(days, events, strict=True)]


@given(order=deliveries())
@settings(max_examples=20, deadline=None)
def test_every_event_is_kept_once_where_it_came_first_whatever_the_order_and_the_corrections(
    tmp_path_factory: pytest.TempPathFactory, order: list[tuple[int, frozenset[int]]]
) -> None:
    lake, files = Lake(tmp_path_factory.mktemp("lake")), Files()
    for number, events in order:
        files[number] = events
        land(lake, files, number)
        assert kept(lake) == kept_by_the_rule(files)


@pytest.mark.parametrize("days", [12, 48])
def test_a_late_row_has_few_files_read_however_long_the_history(
    days: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row of yesterday, and a stray one of the first day."""
    lake, read = Lake(tmp_path), []
    lake.commit(stage_rows(lake, {at: [(f"event {at}", day(at))] for at in range(days)}), EVENTS)
    today = [("event 0", day(0)), (f"event {days - 1}", day(days - 1)), ("new", day(days))]
    now = stage_rows(lake, {days: today})
    arrow = Lake.arrow

    def watched(self: Lake, table: str, columns: Any = None, where: Any = (), version: int | None = None) -> pa.Table:
        read.extend(self.files(table, where, version))
        return arrow(self, table, columns, where, version)

    monkeypatch.setattr(Lake, "arrow", watched)
    assert drop_repeated(lake, now, [day(days)]) == {day(days): days}
    assert len(read) == 2
    assert lake.staged_counts(now) == {day(days).isoformat(): 1}


def test_a_correction_reads_no_later_day_that_had_repeated_only_younger_events(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    files: Files = {
        0: frozenset({0, 10}),
        1: frozenset({1}),
        2: frozenset({1, 2}),
        3: frozenset({0, 3}),
        4: frozenset({4}),
    }
    for number in files:
        land(lake, files, number)
    files[0] = frozenset({10})
    assert land(lake, files, 0) == {0, 3}, "the third day repeated an event of the second"
    assert kept(lake) == kept_by_the_rule(files)


def test_many_late_days_are_looked_up_in_few_spans() -> None:
    days = [day(number * number) for number in range(40)]
    spans = _spans(days)
    assert len(spans) == LOOKUPS
    assert all(any(first <= one <= last for first, last in spans) for one in days)
    assert _spans([day(3)]) == [(day(3), day(3))]


def test_a_stage_without_late_rows_is_left_as_it_is(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    staged = stage(lake, {3: [3, 13]})
    (file,) = lake.staged_files(staged)
    before = file.read_bytes()
    assert drop_repeated(lake, staged, [day(3)]) == {}
    assert file.read_bytes() == before
