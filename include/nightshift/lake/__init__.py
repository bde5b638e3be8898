"""Delta tables: Spark computes and writes files, an audit reads them, delta-rs makes them visible."""

from nightshift.lake.stages import LakeError, Staged
from nightshift.lake.tables import (
    EVENTS_COLUMNS,
    Table,
    events_table,
    exposures_table,
    ingest_counts_table,
    quarantine_table,
)
from nightshift.lake.transactions import Lake

__all__ = [
    "EVENTS_COLUMNS",
    "Lake",
    "LakeError",
    "Staged",
    "Table",
    "events_table",
    "exposures_table",
    "ingest_counts_table",
    "quarantine_table",
]
