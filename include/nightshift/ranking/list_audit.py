"""Which entries of the night's lists keep the rules: asked of DuckDB in the rules' own words.

It shares nothing with `rerank` but the settings, so that what is wrong there is found here.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import sqlglot

from nightshift.config.settings import AlreadyBought, Cap, Exposure, Lists
from nightshift.lake.duck import quoted

CHECKS = ("sellable", "due", "in_place", "within_caps", "exposed")

HELD = {
    "keep": "select user_id, item_id from pairs where false",
    "drop": "select user_id, item_id from pairs",
    "wait": """
        with typical as (select item_id, median(mean_gap_days) as gap from pairs group by item_id)
        select user_id, pairs.item_id from pairs join typical on typical.item_id = pairs.item_id
        where not coalesce(days_since_last >= round({factor} * coalesce(mean_gap_days, gap), 6), false)""",
}
"""The pairs that are not to be offered, by the mode of the rule."""

OFFERED = """
select lists.*, coalesce(lists.item_id in (from allowed), false) as sellable, held.item_id is null as due,
    coalesce(lists.item_id = pinned.item_id, pinned.item_id is null) as in_place
from lists
left join held on held.user_id = lists.user_id and held.item_id = lists.item_id
left join pinned on pinned.user_id = lists.user_id and pinned.place = lists.rank"""


def audited(lists: pd.DataFrame, items: pd.DataFrame, pairs: pd.DataFrame, settings: Lists) -> pd.DataFrame:
    """The entries with what the gate asks of each.

    Args:
        lists: user_id, rank, item_id, and whatever else.
        items: of the snapshot that the lists were made with; so are the pairs.

    Returns:
        `lists` with, as bool: `sellable`, it may be in a list and is not banned; `due`, the user may be offered it
        (again); `in_place`, it does not stand where a pinned item should; `within_caps`, of none of its values there
        are too many in its list; `exposed`, its list has enough members of every group.
    """
    with duckdb.connect() as db:
        db.register("items", items)
        db.register("pairs", pairs)
        db.register("lists", lists[["user_id", "rank", "item_id"]].assign(entry=range(len(lists))))
        hold(db, settings)
        found = db.sql(f"{_asked(db, settings)} order by entry").df()[list(CHECKS)]
    return lists.assign(**{name: found[name].to_numpy(dtype=bool) for name in found})


def audit_file(db: duckdb.DuckDBPyConnection, settings: Lists, target: Path) -> None:
    """Write the entries of `lists` with the columns that `audited` adds, in no order.

    Args:
        db: with the tables of `hold`, and `lists`, of which each row has a number, its `entry`.
    """
    db.execute(f"copy ({_asked(db, settings)}) to {quoted(target)} (format parquet)")


def hold(db: duckdb.DuckDBPyConnection, settings: Lists) -> None:
    """Make tables of what may be in a list, `allowed`, and of which pairs are not to be offered, `held`.

    Args:
        db: with `items` and `pairs` as a snapshot has them.
    """
    db.execute(
        "create table allowed as select item_id from items where sellable and not list_contains(?::varchar[], item_id)",
        [sorted(settings.banned)],
    )
    rule = next(iter(settings.of(AlreadyBought)), None)
    query = HELD[rule.mode].format(factor=rule.factor) if rule else HELD["keep"]
    db.execute(f"create table held as {query}")


def _asked(db: duckdb.DuckDBPyConnection, settings: Lists) -> str:
    """A query for all entries with their checks."""
    _pin(db, settings)
    capped = [_over(db, rule) for rule in settings.of(Cap)]
    unexposed = [_without(rule) for rule in settings.of(Exposure)]
    within = " and ".join(f"entry not in ({over})" for over in capped) or "true"
    exposed = " and ".join(f"user_id not in ({without})" for without in unexposed) or "true"
    return f"select *, {within} as within_caps, coalesce({exposed}, false) as exposed from ({OFFERED})"


def _pin(db: duckdb.DuckDBPyConnection, settings: Lists) -> None:
    """A table of the pinned items that each user's list begins with, and their places."""
    pins = {"item_id": list(settings.pinned), "turn": list(range(len(settings.pinned)))}
    db.register("pins", pd.DataFrame(pins, dtype=object))
    db.execute(
        "create table pinned as "
        "select user_id, item_id, row_number() over (partition by user_id order by turn) as place "
        "from (select distinct user_id, pins.item_id::varchar as item_id, turn::int as turn from lists, pins) "
        "semi join allowed using (item_id) anti join held using (user_id, item_id) "
        f"qualify place <= {settings.size}"
    )


def _over(db: duckdb.DuckDBPyConnection, rule: Cap) -> str:
    """A query for the rows of lists that have too many of a value."""
    if rule.by not in db.table("items").columns:
        return "select entry from lists where false"
    value = '"' + rule.by.replace('"', '""') + '"'
    return f"""
        select entry from lists join items using (item_id) left join pinned using (user_id, item_id)
        where items.{value} is not null
        window same as (partition by user_id, items.{value})
        qualify count(*) over same > greatest({rule.most}, count(place) over same)"""


def _without(rule: Exposure) -> str:
    """A query for the users whose lists have fewer of a group than they could."""
    where = sqlglot.transpile(rule.where, read="spark", write="duckdb")[0]
    return f"""
        with members as (select item_id from items where ({where}) intersect from allowed),
        kept as (select user_id, count(*) as n from held join members using (item_id) group by user_id)
        select user_id from lists left join kept using (user_id)
        group by user_id, n
        having count(*) filter (item_id in (from members))
            < least({rule.least}, (select count(*) from members) - coalesce(n, 0))"""
