"""The figures over all lists of a night that the gate bounds, asked of DuckDB: there may be more than memory holds."""

from __future__ import annotations

import math
from typing import Any

import duckdb

BY_USER = """
create table by_user as
select user_id, count(rank) as entries, min(rank) as first, max(rank) as last
from lists where user_id is not null group by user_id"""

KEPT = """
create table kept as select user_id, count(*) as n from held where item_id in (from allowed) group by user_id"""

OF_USERS = """
select count(*) as users,
    count(*) filter (entries < least($size, $sellable - coalesce(n, 0))) as short_lists,
    count(*) filter (last is distinct from entries or first is distinct from 1) as lists_with_gaps
from by_user left join kept using (user_id)"""

WITHOUT = """
select count(distinct user_id) from users
anti join by_user using (user_id) anti join (from kept where n >= $sellable) as sated using (user_id)"""

OVERLAP = """
with common as (select user_id, entries from by_user semi join before using (user_id)),
    both_nights as (select user_id, count(*) as shared from lists join before using (user_id, item_id) group by user_id)
select coalesce(shared, 0) as shared, entries, count(*) as users
from common left join both_nights using (user_id) group by all order by all"""


def summarise(db: duckdb.DuckDBPyConnection, size: int, compared: bool) -> dict[str, Any]:
    """The figures of `lists`.

    Args:
        db: with `lists` (user_id, rank, item_id); `users` (user_id), who are to have one; the tables of
            `list_audit.hold`; and where they are compared `before` (user_id, item_id), the lists published before.
        size: of a list.
        compared: without, on a first night, the overlap is not known, and so not bounded. Lists that no user of before
            has any more have an overlap of 0.
    """
    db.execute(BY_USER)
    db.execute(KEPT)
    (sellable,) = _row(db, "select count(*) from allowed")
    users, short, gaps = _row(db, OF_USERS, size=size, sellable=sellable)
    (without,) = _row(db, WITHOUT, sellable=sellable)
    (listed,) = _row(db, "select count(distinct item_id) from lists where item_id in (from allowed)")
    groups = db.execute(OVERLAP).fetchall() if compared else []
    both = sum(users for *_, users in groups)
    overlap = math.fsum(users * shared / max(entries, 1) for shared, entries, users in groups) / max(both, 1)
    return {
        "users": users,
        "users_without_list": without,
        "short_lists": short,
        "lists_with_gaps": gaps,
        "coverage": listed / max(sellable, 1),
        "overlap": overlap if compared else None,
        "users_compared": both,
    }


def _row(db: duckdb.DuckDBPyConnection, query: str, **values: int) -> tuple[Any, ...]:
    (row,) = db.execute(query, values).fetchall()
    return tuple(row)
