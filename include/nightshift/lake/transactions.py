"""Write, audit, publish on plain Delta: `stage` writes files nobody sees, `commit` makes them a table's partitions."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.transaction import create_table_with_add_actions

from nightshift.lake.commits import add_action, transact
from nightshift.lake.log import newest_version
from nightshift.lake.reading import dataset_of_files, delta_frame, frame_of_files, run_date_of
from nightshift.lake.stages import LakeError, Staged, claim_again, open_stage, release
from nightshift.lake.tables import Table
from nightshift.lake.types import spark_ddl
from nightshift.lake.where import Filter, arrow_expression, conditions

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger("nightshift.lake")

FEW_DATES = 3  # as many as a night has cut-offs
PROPERTIES = {
    "delta.checkpointInterval": "10",  # so that a table of any age opens by a checkpoint and at most ten commits
    "delta.enableExpiredLogCleanup": "false",  # `maintenance` does it, by the retention of the configuration
}


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
            LakeError: there is none yet, or the version is no more.
        """
        if not self.exists(table):
            raise LakeError(f"no table {table!r} in {self.root}: run a night first")
        try:
            return DeltaTable(str(self.path(table)), version=version)
        except DeltaError as error:
            if version is None:
                raise
            raise LakeError(
                f"the table {table!r} has no version {version} any more, as after an erasure or a clean-up: run the "
                "whole night of this run date again, from ingest on"
            ) from error

    def tables(self) -> list[str]:
        """The names of the tables there are."""
        return sorted(path.parent.name for path in self.root.glob("*/_delta_log"))

    def version(self, table: str) -> int:
        return self.open(table).version()

    def schema(self, table: str, version: int | None = None) -> pa.Schema:
        """The columns that the table's log declares, `run_date` among them."""
        return pa.schema(self.open(table, version).schema().to_arrow())

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

    def text_by_day(self, table: str, column: str) -> dict[dt.date, str | None]:
        """A text column by run date, of a table that has one row a run date.

        A file whose lowest and highest text are one is not opened, for the log has said what is in it: of a table of a
        thousand days and files that takes a fortieth of the time.
        """
        actions = pa.table(self.open(table).get_add_actions(flatten=True))
        bounds = [f"min.{column}", f"max.{column}"]
        found: dict[dt.date, str | None] = dict.fromkeys(actions["partition.run_date"].to_pylist())
        if set(bounds) <= set(actions.column_names):
            told = actions.select(["partition.run_date", *bounds]).to_pydict().values()
            found |= {day: low for day, low, high in zip(*told, strict=True) if low == high}
        if untold := [day for day, text in found.items() if text is None]:
            read = self.arrow(table, ["run_date", column], [("run_date", "in", untold)])
            found |= dict(zip(*(read[name].to_pylist() for name in ("run_date", column)), strict=True))
        return found

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

        By delta-spark where its jars are on Spark's class path. Else Spark is handed the files that may hold a row:
        see `files`.
        """
        opened, plain = self.open(table.name, version), conditions(where, table.arrow)
        found = delta_frame(spark, table, self.path(table.name), opened.version(), plain)
        return frame_of_files(spark, table, _chosen_files(opened, plain), plain) if found is None else found

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
        staged = open_stage(folder, dates)
        columns = frame.select(*table.columns, "run_date")
        if len(dates) > FEW_DATES:  # else every task would write a small file for every date
            columns = columns.repartition("run_date")
        columns.write.partitionBy("run_date").parquet(str(folder / staged.folder))
        for checksum in (folder / staged.folder).rglob(".*.crc"):
            checksum.unlink()
        return staged

    def staged_files(self, staged: Staged) -> list[Path]:
        """The Parquet files of a stage, for the audit. From here on the stage is this process's.

        Raises:
            LakeError: they are gone.
        """
        folder = self.path(staged.table)
        if not (folder / staged.folder).is_dir():
            raise LakeError(
                f"what was staged for {staged.table} is gone ({folder / staged.folder}): run the step before again"
            )
        claim_again(folder, staged)
        return sorted((folder / staged.folder).rglob("*.parquet"))

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
        """Make a stage's files the whole content of its run dates, in one transaction. A second time changes nothing.

        Returns:
            The table's version that holds them.

        Raises:
            LakeError: a file has another schema than the table declares, or belongs to another run date; or another
                run rewrote one of the run dates since they were staged.
        """
        folder = self.path(table.name)
        actions = [add_action(folder, file, table, staged.run_dates) for file in self.staged_files(staged)]
        schema = Schema.from_arrow(table.arrow)

        def write(opened: DeltaTable | None, properties: CommitProperties) -> None:
            if opened is None:
                create_table_with_add_actions(
                    str(folder),
                    schema,
                    actions,
                    partition_by=["run_date"],
                    configuration=PROPERTIES,
                    commit_properties=properties,
                )
            else:
                opened.create_write_transaction(
                    list(actions),
                    "overwrite",
                    schema,
                    partition_by=["run_date"],
                    partition_filters=[("run_date", "in", list(staged.run_dates))],
                    commit_properties=properties,
                )

        version = transact(folder, staged, write)
        release(folder, staged)
        log.info("%s: version %d, %d files for %d run dates", table.name, version, len(actions), len(staged.run_dates))
        return version

    def replace(
        self,
        table: str,
        run_dates: dt.date | Sequence[dt.date],
        rows: pa.Table | pd.DataFrame,
        only: Mapping[str, str] | None = None,
    ) -> int:
        """Make `rows` the whole content of these run dates of a small table. Returns the table's version.

        Rows without a column `run_date` are of the one run date given. `only` names columns with the one value that
        all `rows` have there: what these run dates hold with another value stays.

        Raises:
            LakeError: another run rewrote one of the run dates meanwhile.
        """
        dates = [run_dates] if isinstance(run_dates, dt.date) else list(run_dates)
        if not isinstance(rows, pa.Table):
            rows = pa.Table.from_pandas(rows, preserve_index=False)
        if "run_date" not in rows.column_names:
            (single,) = dates
            rows = rows.append_column("run_date", pa.array([single] * rows.num_rows, pa.date32()))
        folder = self.path(table)
        folder.mkdir(parents=True, exist_ok=True)
        named = Staged(table, f"write-{uuid.uuid4().hex}", tuple(map(str, dates)), newest_version(folder))
        listed = ", ".join(f"'{day}'" for day in dates)
        also = [f"{name} = '{value}'" for name, value in (only or {}).items()]
        replaced = " AND ".join([f"run_date IN ({listed})", *also])

        def write(opened: DeltaTable | None, properties: CommitProperties) -> None:
            how: dict[str, Any] = {"mode": "overwrite", "predicate": replaced}
            if opened is None:
                how = {"mode": "error", "partition_by": ["run_date"], "configuration": PROPERTIES}
            write_deltalake(opened or str(folder), rows, commit_properties=properties, **how)

        return transact(folder, named, write)


def _chosen_files(opened: DeltaTable, plain: Sequence[Filter]) -> list[str]:
    """Paths of the files that the log does not rule out, sorted. delta-rs takes an empty text for NULL: left out."""
    known = [one for one in plain if one[2] != "" and not (one[1] == "in" and "" in one[2])]
    return sorted(unquote(uri) for uri in opened.file_uris(file_pruning_predicate=known or None))
