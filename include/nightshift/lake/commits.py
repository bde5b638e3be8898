"""One transaction on a table that others write to as well: all of it, against the version it was checked against.

delta-rs merges a commit into a newer version by itself where it sees no conflict, and sees none between two first
writes of one run date: both would stay, and every row be there twice. So it may not; who was not first looks again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction

from nightshift.lake.log import newest_version, since
from nightshift.lake.reading import run_date_of
from nightshift.lake.stages import LakeError, Staged
from nightshift.lake.statistics import statistics
from nightshift.lake.tables import Table
from nightshift.lake.types import spark_ddl, spark_type

ATTEMPTS = 60
PAUSE_SECONDS = 0.05  # at most, before one more attempt


def transact(folder: Path, staged: Staged, write: Callable[[DeltaTable | None, CommitProperties], None]) -> int:
    """Have `write` commit to the table as it is now, again and again until no other commit came first.

    Args:
        write: is given the table opened, None where there is none, and what to commit with.

    Returns:
        The version that holds it. A write that was committed before is not committed again.

    Raises:
        LakeError: another run rewrote one of the run dates since `staged.base`.
    """
    properties = CommitProperties(custom_metadata={"stage": staged.folder}, max_commit_retries=0)
    last: DeltaError | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0, PAUSE_SECONDS))
        newest = newest_version(folder)
        if (done := _version_of(folder, staged, newest)) is not None:
            return done
        opened = DeltaTable(str(folder), version=newest) if newest >= 0 else None
        try:
            write(opened, properties)
        except CommitFailedError as error:
            last = error
            continue
        except DeltaError as error:
            if opened is None and newest_version(folder) >= 0:  # another created the table
                last = error
                continue
            raise
        return newest + 1
    raise LakeError(
        f"table {staged.table}: {ATTEMPTS} attempts to commit {', '.join(staged.run_dates)} all met another commit: "
        f"run the step again when fewer write to it ({last})"
    )


def _version_of(folder: Path, staged: Staged, newest: int) -> int | None:
    """The version that holds this write; None if it is not committed yet.

    Raises:
        LakeError: another run rewrote one of its run dates.
    """
    try:
        happened = since(folder, staged.base, newest, staged.run_dates)
    except FileNotFoundError:
        raise LakeError(
            f"table {staged.table}: its log no longer reaches back to version {staged.base}, on which this is based: "
            "run the step before again"
        ) from None
    mine = happened.writes.get(staged.folder)
    for day, version in sorted(happened.rewritten.items()):
        if version > (staged.base if mine is None else mine):
            raise LakeError(
                f"table {staged.table}: another run rewrote run date {day} (version {version}) after this one had "
                f"started from version {staged.base}; nothing of this one is committed: see which of the two should "
                "stay, and run the night again from its first step if it is this one"
            )
    return mine


def add_action(folder: Path, file: Path, table: Table, run_dates: tuple[str, ...]) -> AddAction:
    """The log's entry for a staged file, after a check that it is what the table declares.

    Raises:
        LakeError: it has another schema, or belongs to another run date.
    """
    run_date = run_date_of(file)
    if run_date not in run_dates:
        raise LakeError(f"{file}: staged for {', '.join(run_dates)}, not for {run_date}")
    metadata = pq.read_metadata(file)
    found = {field.name: spark_type(field.type) for field in metadata.schema.to_arrow_schema()}
    wanted = {name: spark_ddl(kind) for name, kind in table.columns.items()}
    if found != wanted:
        wrong = [f"{name}: {found.get(name)}, not {kind}" for name, kind in wanted.items() if found.get(name) != kind]
        raise LakeError(f"{file}: {'; '.join(wrong) or f'columns {sorted(set(found) - set(wanted))} are not declared'}")
    stat = file.stat()
    return AddAction(
        path=file.relative_to(folder).as_posix(),
        size=stat.st_size,
        partition_values={"run_date": run_date},
        modification_time=int(stat.st_mtime * 1000),
        data_change=True,
        stats=statistics(metadata),
    )
