"""Remove people from the lake's tables, their old versions, and their logs.

What is live is rewritten by a commit like any other, run date by run date. Then the table's past goes: files that no
longer are the table's, and every log entry before a fresh checkpoint, whose statistics may name the lowest or highest
user. So a table that held a person cannot be read as of before the erasure; the others can.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.erasure.columns import without_people
from nightshift.erasure.parquet import conformed, count_in, is_readable, parquet_files
from nightshift.erasure.people import People
from nightshift.erasure.texts import names_users
from nightshift.lake import Lake, Staged, Table
from nightshift.lake.reading import run_date_of
from nightshift.lake.stages import markers, open_stage, sweep
from nightshift.lake.statistics import HIGHEST, LONGEST
from nightshift.lake.types import spark_type
from nightshift.runs import StepError

VERSION = re.compile(r"^(\d{20})\.")
LOG = "_delta_log"

log = logging.getLogger("nightshift.erasure")


def tables_of(lake: Lake) -> list[str]:
    """The tables there are."""
    return [folder.name for folder in folders_of(lake) if (folder / LOG).is_dir()]


def folders_of(lake: Lake) -> list[Path]:
    """The folder of every table, those included of which nothing was ever committed."""
    return sorted(folder for folder in lake.root.glob("*") if folder.is_dir())


def refuse_while_at_work(lake: Lake) -> None:
    """Raise where another process has staged rows that it has not committed yet: it could bring a person back."""
    now = dt.datetime.now(dt.UTC)
    for folder in folders_of(lake):
        for marker, owner in markers(folder):
            if owner and owner.is_at_work(now):
                raise StepError(
                    f"process {owner.pid} on {owner.host} is at work on table {folder.name} ({marker.stem}): "
                    "erase when no night is running"
                )


def sweep_unfinished(lake: Lake) -> int:
    """Remove what was staged and never committed, and files that a kill cut off. Returns how many there were.

    Nobody is at work: see `refuse_while_at_work`. A night that had staged rows says which step is to be run again.
    """
    count = 0
    for folder in folders_of(lake):
        for marker, owner in markers(folder):
            sweep(marker, owner)
            count += 1
        is_table = (folder / LOG).is_dir()
        live = set(live_files(lake, folder.name)) if is_table else set()
        for file in parquet_files(folder):
            if LOG not in file.parts and file not in live and not (is_table and is_readable(file)):
                file.unlink()
                count += 1
    return count


def stage_without(lake: Lake, name: str, people: People) -> tuple[Staged | None, Counter[dt.date]]:
    """Stage the run dates of a table that hold these people, without them. One file at a time is in memory.

    Returns:
        The stage, None where the table holds none of them, and the rows that are gone by run date.
    """
    gone: Counter[dt.date] = Counter()
    live = live_files(lake, name)
    held = {file for file in live if is_readable(file) and count_in(file, people).found}
    days = sorted({run_date_of(file) for file in held})
    if not days:
        return None, gone
    table = declared(lake, name)
    staged = open_stage(lake.path(name), tuple(days))
    for number, file in enumerate(live):
        day = run_date_of(file)
        if day in days:
            rows = pq.read_table(file, partitioning=None)
            if file in held:
                left = without_people(rows, people)
                gone[dt.date.fromisoformat(day)] += rows.num_rows - left.num_rows
                rows = left
            write_staged(lake, staged, table, day, number, rows)
    return staged, gone


def write_staged(lake: Lake, staged: Staged, table: Table, day: str, number: int, rows: pa.Table) -> None:
    """Add a file with these rows, in the form that the table has now, to a stage; none for no rows."""
    if rows.num_rows:
        target = lake.path(staged.table) / staged.folder / f"run_date={day}" / f"part-{number:05}.zstd.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            conformed(rows, table.arrow.remove(len(table.columns))), target, compression="zstd", version="2.6"
        )


def declared(lake: Lake, name: str) -> Table:
    """The table as its log declares it."""
    fields = [field for field in lake.schema(name) if field.name != "run_date"]
    return Table(name, {field.name: spark_type(_plain(field.type)) for field in fields})


def commit(lake: Lake, staged: Staged) -> int:
    """Commit a stage; its folder is there even where no rows are left."""
    (lake.path(staged.table) / staged.folder).mkdir(exist_ok=True)
    return lake.commit(staged, declared(lake, staged.table))


def live_files(lake: Lake, name: str) -> list[Path]:
    return sorted(Path(unquote(uri).removeprefix("file://")) for uri in lake.open(name).file_uris())


def past_holds(lake: Lake, name: str, people: People) -> bool:
    """Whether a file that is no longer live, or an entry of the log, still holds these people."""
    live = set(live_files(lake, name))
    old = (file for file in parquet_files(lake.path(name)) if file not in live and LOG not in file.parts)
    return any(count_in(file, people).found for file in old) or any(
        statistics_hold(entry, people) for entry in log_entries(lake.path(name))
    )


def forget_past(lake: Lake, name: str, people: People) -> int:
    """Keep nothing of a table but what it is now. Returns the files that are gone.

    The last commit's own entry stays where it does not name these people, for those who follow the log.
    """
    lake.open(name).create_checkpoint()
    folder, version = lake.path(name), lake.version(name)
    live = set(live_files(lake, name))
    old = [file for file in folder.rglob("*") if file.is_file() and LOG not in file.parts and file not in live]
    for entry in (folder / LOG).iterdir():
        found = VERSION.match(entry.name)
        if found and (int(found[1]) < version or _names(entry, people)):
            old.append(entry)
    for file in old:
        file.unlink(missing_ok=True)
    for subfolder in sorted(
        (path for path in folder.rglob("*") if path.is_dir() and LOG not in path.parts), reverse=True
    ):
        with contextlib.suppress(OSError):  # it holds what is live
            subfolder.rmdir()
    log.info("%s: nothing before version %d is kept; %d files are gone", name, version, len(old))
    return len(old)


def log_entries(folder: Path) -> Iterator[dict[str, Any]]:
    """The add and remove actions of a table's log: of its commits and of its checkpoints."""
    for file in sorted((folder / LOG).glob("*.json")):
        if VERSION.match(file.name):
            yield from _entries(file)
    for file in sorted((folder / LOG).rglob("*.parquet")):
        rows = pq.read_table(file, partitioning=None)
        for key in ("add", "remove"):
            if key in rows.column_names:
                yield from (value for value in rows[key].to_pylist() if value)


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    for line in filter(None, file.read_text(encoding="utf-8").splitlines()):
        action = json.loads(line)
        yield from (action[key] for key in ("add", "remove") if action.get(key))


def _names(entry: Path, people: People) -> bool:
    return entry.suffix == ".json" and any(statistics_hold(action, people) for action in _entries(entry))


def statistics_hold(entry: dict[str, Any], people: People) -> bool:
    """Whether an entry's bounds name one of these people as the lowest or highest user."""
    stats = json.loads(entry.get("stats") or "{}")
    parsed = entry.get("stats_parsed") or {}
    bounds = [of.get(side) or {} for of in (stats, parsed) for side in ("minValues", "maxValues")]
    return any(_is_bound(value, people) for part in bounds for name, value in _named(part) if names_users(name))


def _is_bound(value: Any, people: People) -> bool:
    """Whether a bound is one of them, or is what a long name was cut to."""
    text = str(value).removesuffix(HIGHEST)
    return any(name == text or (len(text) >= LONGEST and name.startswith(text)) for name in people.ids)


def _named(part: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in part.items():
        if isinstance(value, dict):
            yield from _named(value)
        elif value is not None:
            yield name, value


def _plain(kind: pa.DataType) -> pa.DataType:
    """Views and large types as the plain ones that tables declare."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or isinstance(kind, pa.ListViewType):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(part.name, _plain(part.type)) for part in kind])
    return pa.string() if "string" in str(kind) else kind
