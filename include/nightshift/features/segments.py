"""Segments of users: the values of their attributes that have users enough to say something of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from nightshift.features.snapshot import Versions, partition_rows
from nightshift.lake import Lake

Segments = Mapping[str, Sequence[str]]
"""An attribute -> its values, in order."""

NOT_ATTRIBUTES = ("user_id", "run_date")


def segments_of(lake: Lake, as_of: dt.date, versions: Versions | None, users: int, values: int) -> Segments:
    """The segments of the users as of a day, by the attributes that are text.

    Args:
        users: that a value must have at least.
        values: that an attribute may have at most; one with more, as a postcode or a name, makes no segments.
    """
    found: dict[str, list[str]] = {}
    with partition_rows(lake, "user_features", [as_of], versions) as rows:
        columns = {name: kind for name, kind, *_ in rows.execute("describe rows").fetchall()}
        for name in (name for name, kind in columns.items() if kind == "VARCHAR" and name not in NOT_ATTRIBUTES):
            column = '"' + name.replace('"', '""') + '"'
            counted = rows.execute(
                f"select {column}, count(*) from rows where {column} <> '' group by 1 order by 1 limit {values + 1}"
            ).fetchall()
            large = [value for value, count in counted if count >= users]
            if large and len(counted) <= values:
                found[name] = large
    return found
