"""The same features by Spark from all events, as a straightforward pipeline computes them every night.

It is the library's own code upon no state, so that only the way differs, and the same features as of one day alone.
A process of its own, that features.py calls: `python -m benchmarks.from_scratch`, a JSON object on standard input.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path

from nightshift.config import Settings, load
from nightshift.contracts.figures import connection
from nightshift.features.increments import Base, build
from nightshift.features.lineage import Plan
from nightshift.features.neighbours import COOCCURRENCE, write_neighbours
from nightshift.lake import Lake, engine, events_table


def compute(lake: Lake, as_of: dt.date, settings: Settings, home: Path, out: Path) -> None:
    """Write each feature table as of the day into `out`."""
    with engine.session(settings.engine, home) as spark, engine.caching() as cached:
        events = lake.spark(spark, events_table(settings.source), [("run_date", "<=", as_of)])
        frames = build(events, Base({}), Plan(None, (as_of,)), settings, cached)
        for name, frame in frames.items():
            frame.write.mode("overwrite").parquet(str(out / name))
    counts, items = (sorted(map(str, (out / name).glob("*.parquet"))) for name in ("item_pair_counts", "item_features"))
    (out / COOCCURRENCE).mkdir(exist_ok=True)
    with connection(out / "spill", settings.validation.memory, settings.threads) as database:
        file = out / COOCCURRENCE / "part-00000.zstd.parquet"
        write_neighbours(database, counts, items, settings.features.neighbours, file)


if __name__ == "__main__":
    given = json.load(sys.stdin)
    compute(
        Lake(Path(given["lake"])),
        dt.date.fromisoformat(given["as_of"]),
        load(given["config"]),
        Path(given["lake"]).parent,
        Path(given["out"]),
    )
