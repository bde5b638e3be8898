"""The declared schema of the tables that hold what came in. Feature tables are declared with their features."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from nightshift.config.settings import Source
from nightshift.lake.types import arrow_type


@dataclass(frozen=True)
class Table:
    """A Delta table, partitioned by `run_date`; `columns` maps the others, in order, to their Spark SQL types."""

    name: str
    columns: dict[str, str]

    @property
    def ddl(self) -> str:
        """The columns in Spark's words, without the partition column."""
        return ", ".join(f"`{name}` {kind}" for name, kind in self.columns.items())

    @property
    def arrow(self) -> pa.Schema:
        """The whole schema, the partition column last, as the table's log declares it."""
        fields = [pa.field(name, arrow_type(kind)) for name, kind in self.columns.items()]
        return pa.schema([*fields, pa.field("run_date", pa.date32())])


EVENTS_COLUMNS = {
    "event_id": "string",
    "user_id": "string",
    "item_id": "string",
    "event_type": "string",
    "weight": "double",
    "event_time": "timestamp",
    "event_date": "date",
    "quantity": "double",
    "price": "double",
    "basket_id": "string",
}


def events_table(source: Source) -> Table:
    """What was kept, one row an event, with the item's and user's attributes as the source had them that day."""
    attributes = dict.fromkeys([*source.item_attributes, *source.user_attributes], "string")
    return Table("events", EVENTS_COLUMNS | attributes)


quarantine_table = Table(
    "quarantine",
    {
        "reason": "string",
        "value": "string",  # what the reason is about, where it is about one value
        "raw": "string",  # the line as it came; of a Parquet row its columns as JSON
        "header": "string",  # the line that names a CSV line's fields
        "source_file": "string",
        "event_date": "date",  # the business day of its time, where it has one
    },
)

ingest_counts_table = Table(
    "ingest_counts",
    {
        "rows_in": "bigint",
        "kept": "bigint",
        "quarantined": "bigint",
        "duplicates": "bigint",
        "repeats_back": "bigint",  # days back to the oldest event that an earlier day's file had brought; 0: none
        "late": "bigint",  # kept events of an earlier day than the run date
        "mean_price": "double",  # over the kept events that have one
        "mean_quantity": "double",  # without its sign
        "mean_hour": "double",  # since the run date's midnight in the source's zone, of its own events
        "content": "string",  # identity of the kept events, whatever their order and files
    },
)

exposures_table = Table(
    "exposures",  # by the business day on which a list was shown
    {
        "exposure_id": "string",
        "shown_at": "timestamp",
        "user_id": "string",
        "surface": "string",
        "channel": "string",  # whose run was answered from
        "list_run_date": "date",  # of that run
        "list_run_id": "string",
        "experiments": "array<struct<experiment:string,variant:string,propensity:double>>",  # NULL: was asked for
        "holdouts": "array<string>",  # layers whose experiments the user is kept out of; global: of all
        "overridden": "boolean",  # a tester asked for a variant: it counts nowhere
        "items": "array<struct<item_id:string,position:int>>",  # from 1; NULL where the run is gone
        "request_id": "string",
    },
)
