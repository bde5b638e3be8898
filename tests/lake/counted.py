"""A small table, staged without Spark, and runs that commit to it at the same moment from processes of their own."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.lake import Lake, LakeError, Staged, Table
from nightshift.lake.log import newest_version
from nightshift.lake.stages import Owner, claim
from tests.forks import FORKS

TABLE = Table("counts", {"name": "string", "n": "int"})
D1, D2, D3 = (dt.date(2011, 6, day) for day in (1, 2, 3))

Lines = Sequence[tuple[str, int]]


def stage(lake: Lake, rows: dict[dt.date, Lines], number: int = 0, owner: Owner | None = None) -> Staged:
    """What `Lake.stage` leaves: one file a run date that has rows, and the marker, of this process or of `owner`."""
    folder = lake.path(TABLE.name)
    days = tuple(sorted(day.isoformat() for day in rows))
    staged = Staged(TABLE.name, f"stage-{number:032d}", days, newest_version(folder))
    for day, lines in rows.items():
        target = folder / staged.folder / f"run_date={day}"
        target.mkdir(parents=True)
        columns = {"name": [name for name, _ in lines], "n": pa.array([n for _, n in lines], pa.int32())}
        if lines:
            pq.write_table(pa.table(columns), target / "part-0.parquet")
    if owner is None:
        claim(folder, staged)
    else:
        (folder / f"{staged.folder}.uncommitted").write_text(json.dumps(asdict(owner)))
    return staged


def rows(lake: Lake, version: int | None = None) -> list[tuple[str, str, int]]:
    frame = lake.pandas(TABLE.name, version=version)
    return sorted((str(day), name, n) for day, name, n in frame[["run_date", "name", "n"]].itertuples(index=False))


def markers(lake: Lake) -> list[str]:
    return [path.stem for path in lake.path(TABLE.name).glob("*.uncommitted")]


# at the same moment

barrier: Barrier


def at_once(lake: Lake, how: str, days: Sequence[dt.date]) -> list[int | str]:
    """Have one process a day commit that day, all at the same moment, with the number of the process as the row.

    Args:
        how: `commit` of a stage, or `replace`.

    Returns:
        The version that each committed, or why it did not.
    """
    together = FORKS.Barrier(len(days))
    with FORKS.Pool(len(days), _meet, (together,)) as pool:
        return pool.starmap(_commit_one, [(lake.root, how, day, number) for number, day in enumerate(days)], 1)


def _meet(together: Barrier) -> None:
    global barrier
    barrier = together


def _commit_one(root: Path, how: str, day: dt.date, number: int) -> int | str:
    lake = Lake(root)
    try:
        if how == "commit":
            staged = stage(lake, {day: [("run", number)]}, number + 100)
            barrier.wait(60)
            return lake.commit(staged, TABLE)
        barrier.wait(60)
        return lake.replace(TABLE.name, day, pa.table({"name": ["run"], "n": pa.array([number], pa.int32())}))
    except LakeError as error:
        return str(error)
