"""Each item's best neighbours, by DuckDB in the job's process, from the files that say how often two items met.

Every pair of items of the state is looked at each night, whatever little the night changed. That is one scan, one sum
and a short list an item: on one machine DuckDB does it in a tenth of Spark's time, within a bound of memory, and while
Spark is at work on the other tables.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import xxhash

from nightshift.config import Settings
from nightshift.contracts.figures import connection
from nightshift.features.lineage import Plan
from nightshift.lake import Lake, Staged
from nightshift.lake.duck import parquet, quoted
from nightshift.lake.reading import run_date_of
from nightshift.lake.stages import open_stage

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

COOCCURRENCE = "cooccurrence"
SEED = 42  # of Spark's xxhash64


def stage_neighbours(
    lake: Lake, plan: Plan, layers: Sequence[str], counts: Staged, items: Staged, settings: Settings
) -> Staged:
    """Stage the table `cooccurrence` as of each target.

    Args:
        layers: the files of `item_pair_counts` that the first target builds upon; none for a rebuild.
        counts: what the targets change of them.
        items: `item_features` as of the targets.
    """
    changes, known = lake.staged_files(counts), lake.staged_files(items)
    staged = open_stage(lake.path(COOCCURRENCE), tuple(day.isoformat() for day in plan.targets))
    folder = lake.path(COOCCURRENCE) / staged.folder
    folder.mkdir()
    for day in plan.targets:
        upto = [*layers, *[str(file) for file in changes if run_date_of(file) <= day.isoformat()]]
        of_day = [str(file) for file in known if run_date_of(file) == day.isoformat()]
        if upto and of_day:
            with connection(folder / "spill", settings.validation.memory, settings.threads) as database:
                write_neighbours(database, upto, of_day, settings.features.neighbours, _file(folder, day))
    return staged


def _file(folder: Path, day: dt.date) -> Path:
    file = folder / f"run_date={day}" / "part-00000.zstd.parquet"
    file.parent.mkdir()
    return file


def write_neighbours(
    database: DuckDBPyConnection, counts: Sequence[str], items: Sequence[str], most: int, file: Path
) -> None:
    """Write the items that met each item in two baskets or more, by the cosine of their baskets, the best first.

    Source: Sarwar et al. (2001), Item-based collaborative filtering recommendation algorithms, WWW 10.

    Args:
        counts: files of `item_pair_counts`, whose sums count.
        items: files with every item's `item_id`.
        most: neighbours an item; of equal ones the lower numbers.
        file: where to; there is none where no two items met.
    """
    # Most pairs meet once, so the rest is over few.
    database.execute(
        "create temp table met as select a, b, sum(baskets)::bigint as baskets, sum(weight) as weight "
        f"from {parquet(counts, by_folder=False)} group by a, b having a = b or sum(baskets) >= 2"
    )
    ids = [
        item for (item,) in database.sql(f"select distinct item_id from {parquet(items, by_folder=False)}").fetchall()
    ]
    numbers = pa.array([number_of(item) for item in ids], pa.int64())
    database.register("named", pa.table({"item_id": pa.array(ids, pa.string()), "number": numbers}))
    # By number and not by name: names are slow to sort, and only few rows need theirs. The least score that an item's
    # best have is found before they are put in order: most rows need not be sorted then.
    database.execute(f"""
        copy (
            with alone as (
                select a as number, weight as size from met where a = b
            ), scored as (
                select a, b, baskets, weight / sqrt(of_a.size * of_b.size) as score
                from met join alone as of_a on a = of_a.number join alone as of_b on b = of_b.number
                where a < b
            ), sides as (
                select a as item, b as neighbour, baskets, score from scored
                union all select b as item, a as neighbour, baskets, score from scored
            ), least as (
                select item, list_min(max(score, {most})) as least from sides group by item
            ), best as (
                select item, neighbour, baskets, score from sides join least using (item) where score >= least
                qualify row_number() over (partition by item order by score desc, neighbour) <= {most}
            )
            select of_item.item_id, of_neighbour.item_id as neighbour_id, baskets, score
            from best
            join named as of_item on item = of_item.number
            join named as of_neighbour on neighbour = of_neighbour.number
            order by item_id, score desc, neighbour_id
        ) to {quoted(file)} (format parquet, compression zstd, write_empty_file false)
    """)


def number_of(item_id: str) -> int:
    """The 64-bit number by which `item_pair_counts` knows an item: Spark's xxhash64 of its name."""
    return int.from_bytes(xxhash.xxh64_digest(item_id.encode(), SEED), "big", signed=True)
