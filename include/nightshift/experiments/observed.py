"""What became of an experiment's users, a row each: the variant that the first exposure gave, and what followed it.

Only what happened from the first exposure on counts, up to the horizon; what happened before it, as many days back as
are asked for, is what CUPED knows of the user.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from nightshift.config.settings import Experiment

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class Observed:
    """An experiment's users.

    Attributes:
        users: `variant`, the `propensity` it was given with, `channel`, `first` (UTC), `done` (UTC: when the horizon
            ends), the figures `conversion`, `value`, `baskets`, `lists` and `bought`, and of the days before
            `conversion_before` and `value_before`.
        several: users who were shown more than one variant; they are not in `users`.
    """

    users: pd.DataFrame
    several: int


def observe(
    database: DuckDBPyConnection, exposures: str, events: str, experiment: Experiment, first: dt.date, last: dt.date
) -> Observed:
    """Join exposures of the days from `first` to `last` with events.

    Args:
        exposures, events: tables in SQL, with the columns of the lake's.
    """
    database.execute("set TimeZone = 'UTC'")
    database.execute(
        f"""
        create or replace temp table taking_part as
        select user_id, shown_at, channel, items, one.variant, one.propensity
        from (
            select *, list_filter(experiments, lambda part: part.experiment = $name)[1] as one
            from {exposures} where run_date between $first and $last and not overridden
        ) where one is not null
        """,
        {"name": experiment.name, "first": first, "last": last},
    )
    database.execute(
        f"""
        create or replace temp table entered as
        select user_id, arg_min(variant, shown_at) as variant, arg_min(propensity, shown_at) as propensity,
            arg_min(channel, shown_at) as channel, count(distinct variant) as variants,
            min(shown_at) as first, min(shown_at) + interval {experiment.horizon_days} day as done
        from taking_part group by user_id
        """
    )
    kinds = ", ".join("'" + name.replace("'", "''") + "'" for name in experiment.event_types)
    database.execute(
        f"""
        create or replace temp table happened as
        select user_id, item_id, event_time, weight > 0 as bought, basket_id,
            weight * abs(quantity) * coalesce(price, 1) as value
        from {events} semi join entered using (user_id)
        {f"where event_type in ({kinds})" if kinds else ""}
        """
    )
    users = database.execute(RESULTS.format(before=experiment.before_days)).df()
    (several,) = database.sql("select count(*) from entered where variants > 1").fetchall()[0]
    return Observed(users, several)


RESULTS = """
    with after as (
        select user_id, bool_or(bought) as conversion, sum(value) as value,
            count(distinct basket_id) filter (where bought) as baskets
        from entered join happened using (user_id) where event_time >= first and event_time < done group by user_id
    ), before as (
        select user_id, bool_or(bought) as conversion, sum(value) as value
        from entered join happened using (user_id)
        where event_time < first and event_time >= first - interval {before} day group by user_id
    ), shown as (
        select user_id, items, shown_at, done from taking_part join entered using (user_id) where shown_at < done
    ), listed as (
        select user_id, item.item_id, min(shown_at) as seen, any_value(done) as done
        from (select user_id, shown_at, done, unnest(items) as item from shown) group by user_id, item.item_id
    ), taken as (
        select user_id, count(distinct item_id) as bought
        from listed join happened using (user_id, item_id)
        where bought and event_time >= seen and event_time < done group by user_id
    ), lists as (
        select user_id, count(*) as lists from shown group by user_id
    )
    select variant, propensity, channel, first, done,
        coalesce(after.conversion, false)::double as conversion, coalesce(after.value, 0)::double as value,
        coalesce(baskets, 0)::double as baskets, lists::double as lists, coalesce(taken.bought, 0)::double as bought,
        coalesce(before.conversion, false)::double as conversion_before,
        coalesce(before.value, 0)::double as value_before
    from entered join lists using (user_id)
        left join after using (user_id) left join before using (user_id) left join taken using (user_id)
    where variants = 1 order by first, user_id
"""
