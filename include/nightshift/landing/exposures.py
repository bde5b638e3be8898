"""From the files that the lookup service wrote to rows of the table `exposures`, each of its business day.

A file says how many of a run's list were shown; which items these were is read from the published run, by the record
that the service itself read. People who were erased are left out, and out of the file too.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nightshift.experiments.exposure_files import Contents, File, files_in, read, remove
from nightshift.experiments.exposures import FOLDER, LANDED, PENDING
from nightshift.lake import Lake, Staged, exposures_table
from nightshift.lake.duck import parquet, quoted
from nightshift.lake.stages import open_stage
from nightshift.landing.suppression import Suppression
from nightshift.publishing.layout import MANIFEST, run_folder, runs_folder
from nightshift.publishing.read import CorruptRunError, OpenRun, open_run, parse_manifest
from nightshift.publishing.records import first
from nightshift.publishing.storage import NotThereError, Storage
from nightshift.runs import day_end

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

log = logging.getLogger("nightshift.landing")

UNREADABLE = ".unreadable"
ERASED = ".erased-"  # in the id of a run, after that of the run whose place it took
ITEMS = exposures_table.arrow.field("items").type
COPIED = ("exposure_id", "shown_at", "user_id", "surface", "channel", "experiments", "holdouts", "overridden",
          "request_id")  # fmt: skip
READ = {"list_run": pa.string(), "shown": pa.int32(), "answer": pa.string()}  # what else is of use


@dataclass
class Arrived:
    """What was found in the files that were to land.

    Attributes:
        files: that can be read, by time; `unreadable` are put aside.
        dropped: exposures that the service had no room for, of files with no row of a later day: those come again.
        erased: rows of people who were erased; they are gone from the files.
        unresolved: rows whose items nobody can tell any more.
    """

    files: list[File] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    dropped: int = 0
    erased: int = 0
    unresolved: int = 0


def pending_files(home: Path, run_date: dt.date, timezone: str) -> list[File]:
    """The files with rows of the business day or before."""
    files = files_in(home / FOLDER / PENDING)
    return [file for file in files if _day(file.first, timezone) <= run_date]


class Shown:
    """Which items of a run were shown."""

    def __init__(self, storage: Storage, cache: Path) -> None:
        self.storage, self.cache = storage, cache
        self._runs: dict[tuple[str, str], OpenRun | None] = {}

    def items(self, surface: str, run: str, user_id: str, shown: int | None, answer: str | None) -> list[Any] | None:
        """The items with their positions; None where they cannot be told any more."""
        found: str | bytes | None = answer
        if found is None:
            opened = self._run(surface, run)
            if opened is None or shown is None:
                return None
            found = first(opened.user(user_id) or opened.popular(), shown) if shown else b"[]"
        try:
            entries = orjson.loads(found)
            return [{"item_id": entry["item_id"], "position": place} for place, entry in enumerate(entries, start=1)]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return None

    def _run(self, surface: str, run: str) -> OpenRun | None:
        if (surface, run) not in self._runs:
            try:
                manifest = parse_manifest(self.storage, self._manifest(surface, run))
                self._runs[surface, run] = open_run(self.storage, manifest, self.cache)
            except (NotThereError, CorruptRunError) as error:
                log.warning("exposures: which items %s of %s showed cannot be told: %s", run, surface, error)
                self._runs[surface, run] = None
        return self._runs[surface, run]

    def _manifest(self, surface: str, run: str) -> str:
        """The key of the run's manifest, or of the run that took its place when somebody was erased.

        Of several, as while an erasure is under way or was killed, it is the one published last: the others are to go.
        """
        date, _, run_id = run.partition("/")
        key = run_folder(surface, dt.date.fromisoformat(date), run_id) + MANIFEST
        if self.storage.exists(key):
            return key
        same, before = f"{runs_folder(surface)}{date}/", run_id.partition(ERASED)[0]
        instead = re.compile(re.escape(f"{same}{before}{ERASED}") + f"[^/]+/{MANIFEST}")
        found = [item for item in self.storage.list(same) if instead.fullmatch(item.key)]
        return max(found, key=lambda item: (item.modified, item.key)).key if found else key


def read_pending(
    files: Iterable[File], run_date: dt.date, timezone: str, shown: Shown, erased: Suppression, folder: Path
) -> tuple[Arrived, list[Path]]:
    """Make the files' rows of the run date and before into rows of the table, with `run_date`, in files in `folder`."""
    arrived, made = Arrived(), []
    for number, file in enumerate(files):
        try:
            contents = read(file.path)
            rows = _table(contents)
        except (ValueError, pa.ArrowException, OSError) as error:
            log.warning("exposures: %s cannot be read and is put aside: %s", file.path, error)
            file.path.rename(file.path.with_name(file.path.name + UNREADABLE))
            arrived.unreadable.append(file.path.name)
            continue
        if gone := _of_erased(rows, erased):
            rows = rows.filter(pc.invert(pc.is_in(rows["user_id"], value_set=pa.array(gone))))
            arrived.erased += remove(file.path, set(gone).__contains__)
        landed = _landed(rows, _days_of(rows["shown_at"], file, timezone), run_date, shown)
        arrived.files.append(file)
        if _has_all_landed(file, run_date, timezone):
            arrived.dropped += contents.dropped
        arrived.unresolved += landed["items"].null_count
        if landed.num_rows:
            made.append(folder / f"{number:06}.parquet")
            pq.write_table(landed, made[-1])
    return arrived, made


def _of_erased(rows: pa.Table, erased: Suppression) -> list[str]:
    if not erased.hashes:
        return []
    return [user for user in rows["user_id"].unique().to_pylist() if erased.hash_of(user) in erased.hashes]


def _table(contents: Contents) -> pa.Table:
    kinds = {name: exposures_table.arrow.field(name).type for name in COPIED} | READ
    return pa.table({name: pa.array(contents.columns[name], kind) for name, kind in kinds.items()})


def _days_of(times: pa.ChunkedArray, file: File, timezone: str) -> pa.ChunkedArray:
    """The business day of each of a file's times."""
    first, last = _day(file.first, timezone), _day(file.last, timezone)
    days = pa.chunked_array([pa.array([last] * len(times), pa.date32())])
    for back in range(1, (last - first).days + 1):
        day = last - dt.timedelta(days=back)
        days = pc.if_else(pc.less(times, pa.scalar(day_end(day, timezone), times.type)), day, days)
    return days


def _landed(rows: pa.Table, days: pa.ChunkedArray, run_date: dt.date, shown: Shown) -> pa.Table:
    """The rows up to the run date, as the table has them."""
    rows = rows.append_column("run_date", days).filter(pc.less_equal(days, run_date))
    asked = (rows[name].to_pylist() for name in ("surface", "list_run", "user_id", "shown", "answer"))
    items = pa.array([shown.items(*one) for one in zip(*asked, strict=True)], ITEMS)
    runs = [run.partition("/") for run in rows["list_run"].to_pylist()]
    columns = {name: rows[name] for name in (*COPIED, "run_date")} | {
        "list_run_date": pa.array([dt.date.fromisoformat(date) for date, _, _ in runs], pa.date32()),
        "list_run_id": pa.array([run_id for _, _, run_id in runs], pa.string()),
        "items": items,
    }
    return pa.table(columns).select(exposures_table.arrow.names).cast(exposures_table.arrow)


def stage_exposures(lake: Lake, database: DuckDBPyConnection, made: Sequence[Path]) -> Staged | None:
    """Stage the days that these files have rows of, with what the table has of them; None where there is no row.

    An exposure that is there twice is taken once: so what lands a second time changes nothing.
    """
    if not made:
        return None
    incoming = parquet(made, by_folder=False)
    days = [day for (day,) in database.sql(f"select distinct run_date from {incoming} order by 1").fetchall()]
    staged = open_stage(lake.path(exposures_table.name), tuple(map(str, days)))
    columns = ", ".join(exposures_table.columns)
    for day in days:
        sources = [f"select {columns} from {incoming} where run_date = date '{day}'"]
        known = lake.files(exposures_table.name, [("run_date", "=", day)]) if lake.exists(exposures_table.name) else []
        if known:
            sources.append(f"select {columns} from {parquet(known, by_folder=False)}")
        file = lake.path(exposures_table.name) / staged.folder / f"run_date={day}" / "part-00000.zstd.parquet"
        file.parent.mkdir(parents=True)
        database.execute(f"""
            copy (
                select {columns} from ({" union all ".join(sources)})
                qualify row_number() over (partition by exposure_id) = 1 order by shown_at, exposure_id
            ) to {quoted(file)} (format parquet, compression zstd)
        """)
    return staged


def put_away(home: Path, files: Iterable[File], run_date: dt.date, timezone: str) -> int:
    """Move the files to the landed ones; one that has rows of a later day stays. Returns how many were moved."""
    count = 0
    for file in files:
        if _has_all_landed(file, run_date, timezone):
            target = home / FOLDER / LANDED / file.path.parent.name / file.path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            file.path.replace(target)
            count += 1
    return count


def remove_old(home: Path, before: dt.datetime) -> int:
    """Remove landed files whose rows are older, and what killed processes left half written. Returns how many."""
    old = [file.path for file in files_in(home / FOLDER / LANDED) if file.last < before]
    for partial in (home / FOLDER / PENDING).glob("*/.*.partial"):
        if partial.stat().st_mtime < before.timestamp():
            old.append(partial)
    for path in old:
        path.unlink(missing_ok=True)
    for folder in (home / FOLDER).glob("*/*"):
        if folder.is_dir() and not any(folder.iterdir()) and folder.name < f"{before:%Y-%m-%d}":
            folder.rmdir()
    return len(old)


def _has_all_landed(file: File, run_date: dt.date, timezone: str) -> bool:
    """Whether a file has no row of a later day."""
    return _day(file.last, timezone) <= run_date


def _day(at: dt.datetime, timezone: str) -> dt.date:
    return at.astimezone(ZoneInfo(timezone)).date()
