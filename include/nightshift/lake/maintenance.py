"""What a year of nights leaves behind, kept small: many files a run date, files no version needs, a long log.

A version stays readable for the retention after another has taken its place, and longer where `needed` names it.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from nightshift.lake.log import log_file
from nightshift.lake.stages import ABANDONED, LakeError, markers, sweep

log = logging.getLogger("nightshift.lake")

SMALL = 100 * 2**20  # bytes; delta-rs merges files up to this size, and leaves larger ones be
ATTEMPTS = 3


def maintain(
    folder: Path, retention: dt.timedelta, most_files: int, needed: Collection[int] = (), dry_run: bool = False
) -> dict[str, Any]:
    """Sweep, compact, vacuum and checkpoint one table, in this order.

    Args:
        folder: the table's.
        retention: for how long a version stays readable after another took its place; whole days.
        most_files: small files of a run date that may stay apart.
        needed: versions that must stay readable however old they are.
        dry_run: change nothing, and say what would be done.

    Returns:
        What was done, in figures.

    Raises:
        LakeError: a compaction changed the number of a run date's rows.
    """
    done: dict[str, Any] = {"swept": sweep_leftovers(folder, dry_run)}
    declare_retention(folder, retention, dry_run)
    done |= compact(folder, most_files, dry_run)
    old, gone = _old_but_needed(folder, retention, needed)
    done["vacuumed"] = vacuum(folder, retention, old, dry_run)
    done["log_files_removed"] = shorten_log(folder, keep_all=bool(old), dry_run=dry_run)
    files = files_of(DeltaTable(str(folder)))
    most = max((count for count, _ in files.values()), default=0)
    if gone:
        log.warning("%s: versions %s, which nights name, are gone", folder.name, sorted(gone))
    versions = {"kept_versions": sorted(old), "lost_versions": sorted(gone)}
    return done | versions | {"run_dates": len(files), "most_files_of_a_run_date": most}


def sweep_leftovers(folder: Path, dry_run: bool = False) -> int:
    """Remove stages and cut-off files that are nobody's any more. Returns how many there were."""
    now, count = dt.datetime.now(dt.UTC), 0
    oldest = (now - ABANDONED).timestamp()
    for marker, owner in markers(folder):
        told = dt.datetime.fromisoformat(owner.at).timestamp() if owner else marker.stat().st_mtime
        if told < oldest:
            count += 1
            if not dry_run:
                sweep(marker, owner)
    for cut_off in folder.rglob("*.parquet#*"):  # of a killed delta-rs writer; its vacuum does not see them
        if cut_off.stat().st_mtime < oldest:
            count += 1
            if not dry_run:
                cut_off.unlink(missing_ok=True)
    if not dry_run:
        _remove_empty_folders(folder)
    return count


def _remove_empty_folders(folder: Path) -> None:
    """Of stages whose files a vacuum has removed; one that somebody is at work on has its marker."""
    for stage in folder.glob("stage-*/"):
        if not stage.with_name(f"{stage.name}.uncommitted").exists():
            for path, _, _ in os.walk(stage, topdown=False):
                try:
                    os.rmdir(path)
                except OSError:
                    continue  # not empty


def declare_retention(folder: Path, retention: dt.timedelta, dry_run: bool = False) -> None:
    """Write the retention into the table, so that every engine's vacuum and log clean-up keep to it."""
    told = f"interval {retention.days} days"
    wanted = {"delta.logRetentionDuration": told, "delta.deletedFileRetentionDuration": told}
    opened = DeltaTable(str(folder))
    if not dry_run and not wanted.items() <= opened.metadata().configuration.items():
        opened.alter.set_table_properties(wanted)


def files_of(opened: DeltaTable, below: float = float("inf")) -> dict[str, tuple[int, int]]:
    """By run date: how many files of fewer bytes than `below` there are, and how many rows they hold."""
    actions = pa.table(opened.get_add_actions(flatten=True)).select(["partition.run_date", "num_records", "size_bytes"])
    counts: dict[str, tuple[int, int]] = {}
    for day, rows, size in zip(*(column.to_pylist() for column in actions.columns), strict=True):
        if size < below:
            files, before = counts.get(str(day), (0, 0))
            counts[str(day)] = (files + 1, before + (rows or 0))
    return counts


def compact(folder: Path, most_files: int, dry_run: bool = False) -> dict[str, int]:
    """Merge the small files of every run date that has more than `most_files`. The rows stay as they are."""
    for _ in range(ATTEMPTS):
        opened = DeltaTable(str(folder))
        before, rows = opened.version(), files_of(opened)
        days = sorted(day for day, (files, _) in files_of(opened, below=SMALL).items() if files > most_files)
        done = {"compacted_run_dates": len(days), "files_merged": 0, "files_written": 0}
        if dry_run or not days:
            return done
        try:
            metrics = opened.optimize.compact(
                partition_filters=[("run_date", "in", days)],
                target_size=SMALL,
                commit_properties=CommitProperties(max_commit_retries=0),
            )
        except CommitFailedError:
            continue  # a night committed meanwhile
        after = files_of(DeltaTable(str(folder), version=before + 1)) if metrics["numFilesAdded"] else rows
        if {day: count for day, (_, count) in after.items()} != {day: count for day, (_, count) in rows.items()}:
            raise LakeError(
                f"table {folder.name}: compaction changed the number of rows: go back by "
                f"DeltaTable({str(folder)!r}).restore({before})"
            )
        return done | {"files_merged": metrics["numFilesRemoved"], "files_written": metrics["numFilesAdded"]}
    log.info("%s: nights were committing all the while: compaction is left to the next time", folder.name)
    return {"compacted_run_dates": 0, "files_merged": 0, "files_written": 0}


def vacuum(folder: Path, retention: dt.timedelta, keep: Collection[int] = (), dry_run: bool = False) -> int:
    """Remove the files that no version within the retention needs, nor any in `keep`. Returns how many there were.

    Raises:
        LakeError: the retention is so short that it would take what a run has staged just now.
    """
    now = dt.datetime.now(dt.UTC)
    if retention < ABANDONED and (busy := [o for _, o in markers(folder) if o and o.is_at_work(now)]):
        raise LakeError(
            f"table {folder.name}: process {busy[0].pid} on {busy[0].host} is at work on run date "
            f"{busy[0].run_dates[0]}: vacuum again when it has ended"
        )
    hours = int(retention.total_seconds() // 3600)
    opened = DeltaTable(str(folder))

    def remove(pretend: bool) -> int:
        return len(opened.vacuum(hours, pretend, enforce_retention_duration=False, full=True, keep_versions=[*keep]))

    found = remove(pretend=True)
    if found and not dry_run:
        found = remove(pretend=False)
        _remove_empty_folders(folder)
    return found


def shorten_log(folder: Path, keep_all: bool = False, dry_run: bool = False) -> int:
    """Checkpoint the newest version and remove what the log retention no longer asks for. Returns files removed."""
    if dry_run:
        return 0
    opened, files = DeltaTable(str(folder)), folder / "_delta_log"
    if not (files / f"{opened.version():020d}.checkpoint.parquet").exists():
        opened.create_checkpoint()
    before = len(list(files.iterdir()))
    if not keep_all:
        opened.cleanup_metadata()
    return before - len(list(files.iterdir()))


def _old_but_needed(folder: Path, retention: dt.timedelta, needed: Collection[int]) -> tuple[set[int], set[int]]:
    """Of the versions needed, those that the retention alone no longer protects; and those that are gone already."""
    oldest = (dt.datetime.now(dt.UTC) - retention).timestamp()
    newest = DeltaTable(str(folder)).version()
    old, gone = set(), set()
    for version in needed:
        successor = log_file(folder, version + 1)
        if version < newest and (not successor.exists() or successor.stat().st_mtime < oldest):
            try:
                DeltaTable(str(folder), version=version)
                old.add(version)
            except DeltaError:
                gone.add(version)
    return old, gone
