"""What a night's lists look like from afar. DuckDB reads the files, so that millions of lists need no memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from nightshift.lake.duck import parquet

BINS = 24


@dataclass(frozen=True)
class Overview:
    """Figures of all lists together; None or empty where the files do not tell.

    Attributes:
        coverage: share of the sellable items that are in at least one list.
        sources: (source, share of the list places), the largest first.
        most_listed: item_id, title, share of the users whose list has it; the most listed first.
        concentration: cumulative share of all places by item, the most listed first.
        score_edges, score_shares: a histogram of the scores between their 0.5th and 99.5th percentile; those outside
            are counted into the outermost bins.
        overlap: mean share of a user's list that was in the lists of `overlap_date`'s night too.
        overlap_shares: users by that share, in ten bins from 0 to 1.
    """

    users: int
    places: int
    sellable: int | None
    coverage: float | None
    sources: list[tuple[str, float]]
    most_listed: list[dict[str, Any]]
    concentration: list[float]
    score_edges: list[float]
    score_shares: list[float]
    overlap: float | None
    overlap_date: str | None
    overlap_shares: list[float]


def overview(folder: Path, before: Path | None) -> Overview:
    """The figures of the lists in `folder`, compared with those of the night before it, both a night's `lists/`."""
    with duckdb.connect(":memory:") as db:
        db.execute("set threads = 2")
        db.execute(f"create view lists as select * from {_file(folder / 'lists.parquet')}")
        users, places = db.execute("select count(distinct user_id), count(*) from lists").fetchone() or (0, 0)
        sellable, coverage = _coverage(db, folder)
        edges, shares = _scores(db)
        overlap, overlap_shares = _overlap(db, before)
        return Overview(
            users,
            places,
            sellable,
            coverage,
            db.execute(
                "select source, count(*) / sum(count(*)) over () as share from lists group by source order by 2 desc, 1"
            ).fetchall(),
            _most_listed(db, folder, users),
            [
                row[0]
                for row in db.execute(
                    "with items as (select item_id, count(*) as n from lists group by item_id) "
                    "select sum(n) over (order by n desc, item_id rows unbounded preceding) / sum(n) over () as share "
                    "from items order by share"
                ).fetchall()
            ],
            edges,
            shares,
            overlap,
            before.parent.name if before else None,
            overlap_shares,
        )


def _coverage(db: duckdb.DuckDBPyConnection, folder: Path) -> tuple[int | None, float | None]:
    if not (folder / "items.parquet").is_file():
        return None, None
    items = _file(folder / "items.parquet")
    sellable, listed = db.execute(
        f"select count(*), count(*) filter (item_id in (select item_id from lists)) from {items} where sellable"
    ).fetchone() or (0, 0)
    return sellable, listed / sellable if sellable else None


def _most_listed(db: duckdb.DuckDBPyConnection, folder: Path, users: int) -> list[dict[str, Any]]:
    there = (folder / "items.parquet").is_file()
    title = f"(select any_value(title) from {_file(folder / 'items.parquet')} i where i.item_id = lists.item_id)"
    rows = db.execute(
        f"select item_id, {title if there else 'null'} as title, count(distinct user_id) as n from lists "
        "group by item_id order by n desc, item_id limit 8"
    ).fetchall()
    return [{"item_id": item, "title": name or item, "share": n / users} for item, name, n in rows]


def _scores(db: duckdb.DuckDBPyConnection) -> tuple[list[float], list[float]]:
    finite = "from lists where isfinite(score)"
    low, high = db.execute(f"select quantile_disc(score, 0.005), quantile_disc(score, 0.995) {finite}").fetchone() or (
        0,
        0,
    )
    if low is None or high <= low:
        return [], []
    width = (high - low) / BINS
    counts = dict(
        db.execute(
            f"select least(greatest(floor((score - ?) / ?), 0), {BINS - 1})::int, count(*) {finite} group by 1",
            [low, width],
        ).fetchall()
    )
    total = sum(counts.values())
    return [low + at * width for at in range(BINS + 1)], [counts.get(at, 0) / total for at in range(BINS)]


def _overlap(db: duckdb.DuckDBPyConnection, before: Path | None) -> tuple[float | None, list[float]]:
    if before is None:
        return None, []
    rows = db.execute(
        f"with before as (select user_id, item_id from {_file(before / 'lists.parquet')}), "
        "shared as (select user_id, count(b.item_id) / count(*) as share from lists "
        "left join before b using (user_id, item_id) "
        "where user_id in (select user_id from before) group by user_id) "
        "select least(floor(share * 10), 9)::int as bin, count(*), sum(share) from shared group by bin order by bin"
    ).fetchall()
    users = sum(row[1] for row in rows)
    if not users:
        return None, []
    counts = {row[0]: row[1] for row in rows}
    return sum(row[2] for row in rows) / users, [counts.get(at, 0) / users for at in range(10)]


def _file(path: Path) -> str:
    return parquet([path], by_folder=False)
