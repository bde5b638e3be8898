"""The pairs of a user and an item that a night touches, as the state last had them: few, found by DuckDB.

All of the state's layers are looked through for them, however little the night touches. That is a scan and a look into
a small table, which DuckDB does while Spark would still be planning it; Spark then reads what was found.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nightshift.config import Settings
from nightshift.contracts.figures import connection
from nightshift.lake import Lake
from nightshift.lake.duck import parquet, quoted
from nightshift.lake.stages import open_stage, release

TABLE = "user_item_features"


@contextmanager
def known_pairs(
    lake: Lake, targets: Sequence[dt.date], layers: Sequence[str], came: Sequence[str], settings: Settings
) -> Iterator[Path]:
    """A Parquet file with the newest row of each touched pair that the layers have; it is gone afterwards.

    It lies in a stage that is never committed, so that what a kill leaves of it is swept as any other stage is.

    Args:
        targets: the days for which they are needed.
        layers: files of `user_item_features`, whose folders name their run date.
        came: files of the events that touch pairs.
    """
    staged = open_stage(lake.path(TABLE), tuple(f"known before {day}" for day in targets))
    folder = lake.path(TABLE) / staged.folder
    folder.mkdir()
    try:
        with connection(folder / "spill", settings.validation.memory, settings.threads) as database:
            database.execute(f"""
                copy (
                    with touched as (select distinct user_id, item_id from {parquet(came)})
                    select * exclude (run_date) from {parquet(layers)} semi join touched using (user_id, item_id)
                    qualify row_number() over (partition by user_id, item_id order by run_date desc) = 1
                ) to {quoted(folder / "known.parquet")} (format parquet)
            """)
        yield folder / "known.parquet"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        release(lake.path(TABLE), staged)
