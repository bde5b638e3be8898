"""What each user bought of late, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightshift.config import Settings
from nightshift.features.contributions import is_new, union
from nightshift.features.lineage import Plan
from nightshift.features.pairs import newest

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def sequences(bought: DataFrame, layers: DataFrame | None, plan: Plan, settings: Settings) -> DataFrame:
    """The recent items of the users that bought since the target before, the most recent first.

    An item counts once a delivery and day, by its last event that day; ties follow the item's id.
    """
    from pyspark.sql import functions as F

    came = bought.where(is_new(plan.base)).groupBy("user_id", "item_id", "run_date", "event_date")
    lines = came.agg(F.max(F.unix_micros("event_time")).alias("moment"))
    parts = [lines.select("user_id", "item_id", "event_date", "moment", "run_date")]
    if layers is not None:
        users = F.broadcast(lines.select("user_id").distinct())
        before = newest(layers.join(users, "user_id", "left_semi"), ["user_id"])
        line = F.explode(F.arrays_zip("items", "days", "moments")).alias("line")
        parts.append(before.select("user_id", line).select(
            "user_id", F.col("line.items").alias("item_id"), F.col("line.days").alias("event_date"),
            F.col("line.moments").alias("moment"), F.lit(plan.base).alias("run_date"),
        ))  # fmt: skip
    newest_first = F.struct((-F.col("moment")).alias("ago"), "item_id", "event_date", "run_date")
    history = union(parts).groupBy("user_id").agg(F.sort_array(F.collect_list(newest_first)).alias("h"))
    # Each target sees what was delivered by then, if any of it came since the target before.
    targets = [
        F.struct(F.lit(day).alias("as_of"), F.lit(on).cast("date").alias("on")) for day, on in plan.states.items()
    ]
    each = history.select("user_id", "h", F.explode(F.array(*targets)).alias("t")).select("user_id", "h", "t.*")
    changed = each.where("exists(h, line -> line.run_date <= as_of and coalesce(line.run_date > on, true))")
    known = F.expr("filter(h, line -> line.run_date <= as_of)")
    recent = changed.select("as_of", "user_id", F.slice(known, 1, settings.features.sequence_length).alias("h"))
    return recent.select(
        "as_of", "user_id", F.col("h.item_id").alias("items"), F.col("h.event_date").alias("days"),
        F.expr("transform(h, line -> -line.ago)").alias("moments"),
    )  # fmt: skip
