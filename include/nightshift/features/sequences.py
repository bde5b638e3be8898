"""What each user bought of late, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightshift.features.contributions import each_target, is_new, since_the_target_before, union
from nightshift.features.lineage import Plan
from nightshift.features.pairs import newest

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def sequences(bought: DataFrame, layers: DataFrame | None, plan: Plan, length: int) -> DataFrame:
    """The recent items of the users that bought since the target before, the most recent first.

    An item counts once a day, by its last event that day; ties follow the item's id.
    """
    from pyspark.sql import functions as F

    came = bought.where(is_new(plan.base)).groupBy("user_id", "run_date", "event_date", "item_id")
    lines = each_target(came.agg(F.max(F.unix_micros("event_time")).alias("moment")), plan.targets)
    lines = lines.select("as_of", "user_id", "event_date", "item_id", "moment", F.col("run_date").alias("came"))
    parts = [lines]
    if layers is not None:
        users = F.broadcast(lines.select("user_id").distinct())
        before = newest(layers.join(users, "user_id", "left_semi"), ["user_id"])
        line = F.explode(F.arrays_zip("items", "days", "moments")).alias("line")
        days = F.array(*[F.lit(day) for day in plan.targets])
        old = before.select(F.explode(days).alias("as_of"), "user_id", "items", "days", "moments").select(
            "as_of", "user_id", line
        )
        parts.append(old.select(
            "as_of", "user_id", F.col("line.days").alias("event_date"), F.col("line.items").alias("item_id"),
            F.col("line.moments").alias("moment"), F.lit(None).cast("date").alias("came"),
        ))  # fmt: skip
    repeated = union(parts).groupBy("as_of", "user_id", "event_date", "item_id")
    once = repeated.agg(F.max("moment").alias("moment"), F.max("came").alias("came"))
    newest_first = F.struct(
        (-F.unix_date("event_date")).alias("day"), (-F.col("moment")).alias("moment"), "item_id", "event_date"
    )
    history = once.groupBy("as_of", "user_id").agg(
        F.max("came").alias("came"), F.sort_array(F.collect_list(newest_first)).alias("h")
    )
    recent = history.where(since_the_target_before("came", plan)).withColumn("h", F.slice("h", 1, length))
    return recent.select(
        "as_of", "user_id", F.col("h.item_id").alias("items"), F.col("h.event_date").alias("days"),
        F.expr("transform(h, line -> -line.moment)").alias("moments"),
    )  # fmt: skip
