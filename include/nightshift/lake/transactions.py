"""Write, audit, publish on plain Delta: `stage` writes files nobody sees, `commit` makes them a table's partitions.

A staged folder lies inside the table's own folder, beside a marker that names its run dates. Whoever is killed before
the commit leaves folder and marker; the next stage for one of these run dates sweeps them.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake
from deltalake.transaction import AddAction, create_table_with_add_actions

from nightshift.lake.reading import dataset_of_files, frame_of_files, run_date_of
from nightshift.lake.statistics import statistics
from nightshift.lake.tables import Table
from nightshift.lake.types import spark_ddl, spark_type
from nightshift.lake.where import Filter, arrow_expression, conditions
from nightshift.runs import StepError

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger("nightshift.lake")

FEW_DATES = 2


class LakeError(StepError):
    """A table is not there, or what was staged is not what its table declares."""


@dataclass(frozen=True)
class Staged:
    """Files written for some run dates of a table, not visible yet. `as_dict` survives the process that wrote them."""

    table: str
    folder: str  # inside the table's folder
    run_dates: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, value: dict[str, Any]) -> Staged:
        return cls(value["table"], value["folder"], tuple(value["run_dates"]))


class Lake:
    """The tables under one folder.

    Args:
        root: the folder; it need not exist yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, table: str) -> Path:
        return self.root / table

    def exists(self, table: str) -> bool:
        return DeltaTable.is_deltatable(str(self.path(table)))

    def open(self, table: str, version: int | None = None) -> DeltaTable:
        """The table, at a version or the newest.

        Raises:
            LakeError: there is none yet.
        """
        if not self.exists(table):
            raise LakeError(f"no table {table!r} in {self.root}: run a night first")
        return DeltaTable(str(self.path(table)), version=version)

    def version(self, table: str) -> int:
        return self.open(table).version()

    def run_dates(self, table: str) -> set[str]:
        """The run dates that have rows in the table; empty where there is no table."""
        if not self.exists(table):
            return set()
        return {partition["run_date"] for partition in self.open(table).partitions()}

    # reading

    def arrow(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: Sequence[Filter] = (),
        version: int | None = None,
    ) -> pa.Table:
        """Rows for which every (column, operator, value) of `where` holds, in no particular order."""
        opened = self.open(table, version)
        schema = pa.schema(opened.schema())
        plain = conditions(where, schema)
        dataset = dataset_of_files(_chosen_files(opened, plain), schema)
        return dataset.to_table(columns=list(columns) if columns else None, filter=arrow_expression(plain, schema))

    def pandas(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: Sequence[Filter] = (),
        version: int | None = None,
    ) -> pd.DataFrame:
        """The same as a pandas frame; dates are `datetime.date`."""
        return self.arrow(table, columns, where, version).to_pandas()

    def files(self, table: str, where: Sequence[Filter] = (), version: int | None = None) -> list[str]:
        """The Parquet files that may hold a row for which `where` holds, in the order of their paths.

        By `run_date` the choice is exact; by other columns it goes by the lowest and highest values in the log, so that
        whoever reads the files filters their rows as well.
        """
        opened = self.open(table, version)
        return _chosen_files(opened, conditions(where, pa.schema(opened.schema())))

    def spark(
        self, spark: SparkSession, table: Table, where: Sequence[Filter] = (), version: int | None = None
    ) -> DataFrame:
        """The rows for which all of `where` holds, for Spark, under the declared schema.

        Spark sees only the files that may hold one: see `files`.
        """
        files = self.files(table.name, where, version)
        return frame_of_files(spark, table, files, conditions(where, table.arrow))

    # writing

    def stage(self, frame: DataFrame, table: Table, run_dates: Iterable[dt.date]) -> Staged:
        """Write a Spark frame's rows as files that no reader of the table sees.

        The frame has the table's columns and `run_date`. What a killed run left staged for these run dates goes first.

        Raises:
            LakeError: a column is missing or has another type.
        """
        dates = tuple(sorted(day.isoformat() for day in run_dates))
        found = {field.name: field.dataType.simpleString() for field in frame.schema.fields}
        wanted = {name: spark_ddl(kind) for name, kind in table.columns.items()} | {"run_date": "date"}
        wrong = [f"{c}: {found.get(c, 'missing')}, not {t}" for c, t in wanted.items() if found.get(c) != t]
        if wrong:
            raise LakeError(f"table {table.name}: {'; '.join(wrong)}")

        folder = self.path(table.name)
        folder.mkdir(parents=True, exist_ok=True)
        self._sweep(folder, dates)
        staged = Staged(table.name, f"stage-{uuid.uuid4().hex}", dates)
        _marker(folder, staged.folder).write_text(json.dumps(dates))
        columns = frame.select(*table.columns, "run_date")
        if len(dates) > FEW_DATES:  # else every task would write a small file for every date
            columns = columns.repartition("run_date")
        columns.write.partitionBy("run_date").parquet(str(folder / staged.folder))
        for checksum in (folder / staged.folder).rglob(".*.crc"):
            checksum.unlink()
        return staged

    def staged_files(self, staged: Staged) -> list[Path]:
        """The Parquet files of a stage, for the audit.

        Raises:
            LakeError: they are gone.
        """
        folder = self.path(staged.table) / staged.folder
        if not folder.is_dir():
            raise LakeError(f"what was staged for {staged.table} is gone ({folder}): run the step before again")
        return sorted(folder.rglob("*.parquet"))

    def staged_rows(self, staged: Staged, table: Table) -> pd.DataFrame:
        """The rows of a stage without their run date, for the audit; there may be none."""
        files = [pq.read_table(file, partitioning=None) for file in self.staged_files(staged)]
        return (pa.concat_tables(files) if files else table.arrow.empty_table().drop_columns("run_date")).to_pandas()

    def staged_counts(self, staged: Staged) -> dict[str, int]:
        """Rows by run date, from the files' footers."""
        counts = dict.fromkeys(staged.run_dates, 0)
        for file in self.staged_files(staged):
            counts[run_date_of(file)] += pq.read_metadata(file).num_rows
        return counts

    def commit(self, staged: Staged, table: Table) -> int:
        """Make a stage's files the whole content of its run dates, in one transaction.

        Returns:
            The table's version that holds them.

        Raises:
            LakeError: a file has another schema than the table declares, or belongs to another run date.
        """
        folder = self.path(table.name)
        actions = [_add_action(folder, file, table, staged.run_dates) for file in self.staged_files(staged)]
        if self._is_committed(staged, actions):  # and its writer was killed before it could say so
            _marker(folder, staged.folder).unlink(missing_ok=True)
            return self.version(table.name)
        schema = Schema.from_arrow(table.arrow)
        properties = CommitProperties(custom_metadata={"stage": staged.folder})
        if not self.exists(table.name):
            create_table_with_add_actions(
                str(folder), schema, actions, partition_by=["run_date"], commit_properties=properties
            )
        else:
            DeltaTable(str(folder)).create_write_transaction(
                list(actions),
                "overwrite",
                schema,
                partition_by=["run_date"],
                partition_filters=[("run_date", "in", list(staged.run_dates))],
                commit_properties=properties,
            )
        _marker(folder, staged.folder).unlink(missing_ok=True)
        version = self.version(table.name)
        log.info("%s: version %d, %d files for %d run dates", table.name, version, len(actions), len(staged.run_dates))
        return version

    def replace(self, table: str, run_dates: dt.date | Sequence[dt.date], rows: pa.Table | pd.DataFrame) -> int:
        """Make `rows` the whole content of these run dates of a small table. Returns the table's version.

        Rows without a column `run_date` are of the one run date given.
        """
        dates = [run_dates] if isinstance(run_dates, dt.date) else list(run_dates)
        if not isinstance(rows, pa.Table):
            rows = pa.Table.from_pandas(rows, preserve_index=False)
        if "run_date" not in rows.column_names:
            (only,) = dates
            rows = rows.append_column("run_date", pa.array([only] * rows.num_rows, pa.date32()))
        self.root.mkdir(parents=True, exist_ok=True)
        listed = ", ".join(f"'{day}'" for day in dates)
        predicate = f"run_date IN ({listed})" if self.exists(table) else None
        write_deltalake(str(self.path(table)), rows, partition_by=["run_date"], mode="overwrite", predicate=predicate)
        return self.version(table)

    def _is_committed(self, staged: Staged, actions: list[AddAction]) -> bool:
        """Whether these run dates hold just this stage. Adding a file twice would make it one that is also removed."""
        if not actions or not self.exists(staged.table):
            return False
        live = self.open(staged.table).file_uris([("run_date", "in", list(staged.run_dates))])
        ends = {"/".join(Path(unquote(uri)).parts[-3:]) for uri in live}
        return ends == {action.path for action in actions}

    def _sweep(self, folder: Path, run_dates: tuple[str, ...]) -> None:
        """Remove stages for these run dates that never were committed."""
        live = (
            {Path(uri).parts[-3] for uri in self.open(folder.name).file_uris()} if self.exists(folder.name) else set()
        )
        for marker in folder.glob("stage-*.uncommitted"):
            if set(json.loads(marker.read_text() or "[]")) & set(run_dates):
                if marker.stem not in live:  # else it was committed, and killed before it could say so
                    log.info("sweeping %s, which a run before this one left", folder / marker.stem)
                    shutil.rmtree(folder / marker.stem, ignore_errors=True)
                marker.unlink()


def _marker(folder: Path, stage: str) -> Path:
    return folder / f"{stage}.uncommitted"


def _add_action(folder: Path, file: Path, table: Table, run_dates: tuple[str, ...]) -> AddAction:
    """The log's entry for a staged file, after a check that it is what the table declares."""
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


def _chosen_files(opened: DeltaTable, plain: Sequence[Filter]) -> list[str]:
    """Paths of the files that the log does not rule out, sorted. delta-rs takes an empty text for NULL: left out."""
    known = [one for one in plain if one[2] != "" and not (one[1] == "in" and "" in one[2])]
    return sorted(unquote(uri) for uri in opened.file_uris(file_pruning_predicate=known or None))
