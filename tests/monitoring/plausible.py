"""A small shop and one night over it, made up: what the pages and the drift report are tried on.

Nothing is trained here: the summaries are what the steps would leave, so that a page can be had in a second.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nightshift.config.settings import Columns, EventType, Monitoring, Settings, Source
from nightshift.lake import Lake
from nightshift.runs import Night

RUN_DATE = dt.date(2011, 11, 30)
RUN_ID = "manual__2011-11-30T02-00-00"
HOSTILE = "<script>alert('$x^2$')</script> \"MUG\" & co"
TITLES = [
    "WHITE HANGING HEART T-LIGHT HOLDER", "REGENCY CAKESTAND 3 TIER", "JUMBO BAG RED RETROSPOT", "PARTY BUNTING",
    "ASSORTED COLOUR BIRD ORNAMENT", "LUNCH BAG RED RETROSPOT", "SET OF 3 CAKE TINS PANTRY DESIGN",
    "PACK OF 72 RETROSPOT CAKE CASES", "LUNCH BAG BLACK SKULL", "NATURAL SLATE HEART CHALKBOARD",
    "HEART OF WICKER SMALL", "JAM MAKING SET WITH JARS", "PAPER CHAIN KIT 50'S CHRISTMAS", "SPOTTY BUNTING",
    "ALARM CLOCK BAKELIKE RED", "WOODEN PICTURE FRAME WHITE FINISH", HOSTILE, "GARDENERS KNEELING PAD KEEP CALM",
]  # fmt: skip
REASONS = [
    ("You bought this 3 times, last 12 days ago", "repeat"),
    ("Often bought with WHITE METAL LANTERN", "cooccurrence"),
    ("Matches your recent purchases", "two_tower"),
    ("Popular this month", "trending"),
]
COUNTRIES = ["United Kingdom", "Germany", "France", "EIRE"]
QUALITY = {
    "two_tower": 0.061, "two_stage": 0.1472, "repeat": 0.1213, "item_item": 0.0934, "popularity": 0.0281,
    "recent_popularity": 0.0457,
}  # fmt: skip


def night(home: Path, run_date: dt.date = RUN_DATE, run_id: str = RUN_ID, **monitoring: Any) -> Night:
    source = Source(
        address="{run_date}.csv",
        format="csv",
        first_day=dt.date(2010, 12, 1),
        columns=Columns(user="u", item="i", time="t"),
        event_types=[EventType(name="purchase", when="true", weight=1)],
        item_attributes={"title": "title", "kind": "kind"},
        user_attributes={"country": "country"},
    )
    return Night(Settings(name="shop", source=source, monitoring=Monitoring(**monitoring)), run_date, run_id, home)


def events(
    rows: int, first: dt.date, days: int, price: float = 1.0, countries: list[str] = COUNTRIES, seed: int = 1
) -> pd.DataFrame:
    """Events spread over `days` days; prices are log-normal around `price`."""
    random = np.random.default_rng(seed)
    dates = [first + dt.timedelta(days=int(day)) for day in np.sort(random.integers(0, days, rows))]
    items = np.minimum(random.geometric(0.15, rows) - 1, len(TITLES) - 1)
    shares = np.array([2.0 ** -(at + 1) for at in range(len(countries))])
    return pd.DataFrame(
        {
            "event_id": [f"e{first:%m%d}{at}" for at in range(rows)],
            "user_id": [f"{12000 + user}" for user in random.integers(0, 60, rows)],
            "item_id": [f"{22000 + item}" for item in items],
            "event_type": np.where(random.random(rows) < 0.02, "cancellation", "purchase"),
            "weight": 1.0,
            "event_time": [pd.Timestamp(date, tz="UTC") + pd.Timedelta(hours=12) for date in dates],
            "event_date": dates,
            "quantity": random.geometric(0.2, rows).astype(float),
            "price": np.round(random.lognormal(math.log(price), 0.6, rows), 2),
            "basket_id": [
                f"b{date:%m%d}{user}" for date, user in zip(dates, random.integers(0, 40, rows), strict=True)
            ],
            "title": [TITLES[item] for item in items],
            "kind": [str(item // 2) for item in items],
            "country": random.choice(countries, rows, p=shares / shares.sum()),
            "run_date": dates,
        }
    )


def put_events(home: Path, rows: pd.DataFrame) -> None:
    lake = Lake(home / "lake")
    lake.replace("events", sorted(rows["run_date"].unique()), rows.astype({"event_time": "datetime64[us, UTC]"}))


def put_features(home: Path, run_date: dt.date, users: int = 400, scale: float = 1.0, seed: int = 1) -> None:
    random = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "user_id": [f"{12000 + user}" for user in range(users)],
            "events_28d": random.poisson(6 * scale, users),
            "baskets_all": random.geometric(0.2, users),
            "days_since_last": random.integers(0, 90, users),
            "mean_price": random.lognormal(0.7 * scale, 0.5, users),
            "country": random.choice(COUNTRIES, users, p=[0.7, 0.15, 0.1, 0.05]),
            "run_date": run_date,
        }
    )
    Lake(home / "lake").replace("user_features", run_date, rows)


def put_counts(home: Path, last: dt.date = RUN_DATE, days: int = 50) -> None:
    random = np.random.default_rng(7)
    dates = [
        last - dt.timedelta(days=at) for at in reversed(range(days)) if (last - dt.timedelta(days=at)).weekday() != 5
    ]
    kept = random.integers(900, 2600, len(dates))
    quarantined, duplicates = kept // 3, kept // 60
    rows = {
        "rows_in": kept + quarantined + duplicates,
        "kept": kept,
        "quarantined": quarantined,
        "duplicates": duplicates,
    }
    lake = Lake(home / "lake")
    lake.replace("ingest_counts", dates, pd.DataFrame({**rows, "run_date": dates}))
    reasons = ["customer is known"] * 590 + ["item is a product"] * 31 + ["price is positive"] * 3
    quarantine = pd.DataFrame({"reason": reasons, "raw": "...", "source_file": "2011-11-30.csv", "run_date": last})
    lake.replace("quarantine", last, quarantine)


def put_lists(night: Night, users: int = 400, size: int = 20, shift: float = 0.0, seed: int = 1) -> None:
    """Lists that have passed their gate."""
    random = np.random.default_rng(seed)
    folder = night.folder / "lists"
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for user in range(users):
        weights = 1 / (np.arange(120) + 4)
        items = random.choice(120, size, replace=False, p=weights / weights.sum())
        scores = np.sort(random.normal(shift, 1.0, size) + random.normal(0, 0.4))[::-1]
        for rank, (item, score) in enumerate(zip(items, scores, strict=True), 1):
            reason, source = REASONS[random.choice(4, p=[0.25, 0.4, 0.25, 0.1])]
            entries.append((f"{12000 + user}", rank, f"{22000 + item}", float(score), source, reason))
    lists = pd.DataFrame(entries, columns=["user_id", "rank", "item_id", "score", "source", "reason"])
    lists.astype({"rank": "int32"}).to_parquet(folder / "lists.parquet")
    ids = [f"{22000 + item}" for item in range(160)]
    titles = [TITLES[at] if at < len(TITLES) else f"{TITLES[at % 16]} NO {at // 16}" for at in range(160)]
    items = pd.DataFrame({"item_id": ids, "title": titles, "kind": [str(at // 2) for at in range(160)]})
    items.assign(sellable=[at < 150 for at in range(160)]).to_parquet(folder / "items.parquet")
    night.write_json(
        "validate_lists",
        {"sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}},
    )


def sliced(ndcg: float) -> list[dict[str, Any]]:
    return [
        {"by": by, "slice": name, "users": 40, "mean": ndcg, "low": ndcg - 0.02, "high": ndcg + 0.02}
        for by, name in (("history", "1 basket"), ("history", "2 to 4"), ("country", "France"))
    ]


RULES_COST = [
    {"rule": "scores", "ndcg": 0.1472, "cost": 0.0, "error": 0.0},
    {"rule": "cap: by kind, most 3", "ndcg": 0.1431, "cost": 0.0041, "error": 0.0006},
    {"rule": "freshness: days 28, boost 0.02", "ndcg": 0.1433, "cost": -0.0002, "error": 0.0001},
]


def summaries() -> dict[str, dict[str, Any]]:
    """What the steps of a good night leave, by the name of the file."""
    table = [
        {
            "model": name,
            "ndcg": ndcg,
            "recall": ndcg * 1.32,
            "map": ndcg * 0.55,
            "mrr": ndcg * 1.7,
            "hit_rate": ndcg * 3.6,
        }
        for name, ndcg in QUALITY.items()
    ]
    bell = [[step, 6.1 * math.exp(-step / 40) + 3.2] for step in range(0, 200, 4)]
    told = {
        "ingest": {"rows_in": 3091, "kept": 2441, "quarantined": 624, "duplicates": 26, "days": 1,
                   "counts": [{"run_date": "2011-11-30"}], "seconds": 14.2, "peak_mib": 310},
        "validate_events": {"expectations": 18, "seconds": 3.1, "peak_mib": 290,
                            "tables": {"events": 41, "quarantine": 41, "ingest_counts": 41}},
        "build_features": {"seconds": 31.4, "peak_mib": 420, "tables": {"user_features": 12, "item_features": 12}},
        "train": {"seconds": 38.9, "peak_mib": 1210, "rules_cost": RULES_COST,
                  "params": {"dimension": 64, "epochs": 4, "learning_rate": 0.003},
                  "calibration": {"days": 14, "users": 900, "entries": 90000, "rate": 0.021, "ece": 0.0041,
                                  "bins": [[at / 100, at / 90, 900] for at in range(1, 11)]},
                  "metrics_new": {"two_stage": {"ndcg": 0.0512, "recall": 0.0713, "users": 311.0}},
                  "slices": {"two_stage": sliced(0.14), "repeat": sliced(0.12)},
                  "curves": {"two_tower loss": bell, "ranker ndcg": [[at, 0.3 - 0.2 / at] for at in range(1, 60)]}},
        "build_index": {"seconds": 1.2, "peak_mib": 350, "recall": 0.9931, "indexes": {
            "graph_filter": {"kind": "flat", "items": 2671, "dimension": 256, "recall": 1.0},
            "two_tower": {"kind": "hnsw", "items": 2671, "dimension": 64, "recall": 0.9931}}},
        "evaluate": {"seconds": 9.4, "peak_mib": 600},
        "infer": {"seconds": 11.8, "peak_mib": 700},
        "validate_lists": {"seconds": 2.7, "peak_mib": 300},
        "promote": {"seconds": 1.9, "peak_mib": 300},
        "publish": {"seconds": 0.8, "peak_mib": 200, "content_hash": "9f2c4e71d0ab" * 5 + "9f2c",
                    "run": f"2011-11-30/{RUN_ID}", "live": f"2011-11-30/{RUN_ID}"},
    }  # fmt: skip
    shared = {"run_id": RUN_ID, "run_date": RUN_DATE.isoformat(), "code": "0.1.0+5c1f0a2b9d11"}
    steps = {name: {"step": name, **shared, **summary} for name, summary in told.items()}
    verdict = {
        "run_date": RUN_DATE.isoformat(),
        "served": {"name": "shop-recommender", "version": "7", "kind": "two_stage"},
        "accepted": True,
        "reasons": [
            "ndcg 0.1472 beats repeat 0.1213, the best baseline",
            "ndcg 0.1472 beats the champion (version 6) 0.1439",
        ],
        "table": table,
        "gains": {
            name: {"mean": QUALITY["two_stage"] - ndcg, "low": QUALITY["two_stage"] - ndcg - 0.01, "high": 0.157 - ndcg}
            for name, ndcg in QUALITY.items()
            if name != "two_stage"
        },
    }
    return {**steps, "verdict": verdict}


def checks(failing: bool = False) -> list[dict[str, Any]]:
    names = ["user_id: values to not be null", "price: values to be between", "quantity: values to be between"]
    found = [
        {"suite": "events", "expectation": name, "observed": "0 of 2441 rows", "allowed": "0 to 100000",
         "success": True, "severity": "stop"}
        for name in names
    ]  # fmt: skip
    warning = {"suite": "ingest_counts", "expectation": "quarantined_share: max to be between", "observed": "0.412",
               "allowed": "0 to 0.4", "success": False, "severity": "warn"}  # fmt: skip
    if failing:
        found[1] |= {"success": False, "observed": "37 of 2441 rows, like -11062.06"}
    return [*found, warning]


def put_night(home: Path, night: Night | None = None, **changed: Any) -> Night:
    """A whole good night with the lake behind it. `changed` replaces summaries; None removes one."""
    night = night or globals()["night"](home)
    put_lists(night)
    passed = night.read_json("validate_lists")
    for name, summary in {**summaries(), **changed}.items():
        if summary is not None:
            whole = {**passed, **summary} if name == "validate_lists" else summary
            (night.folder / f"{name}.json").write_text(json.dumps(whole))
    night.write_json("validate_events_checks", checks())
    night.write_json("validate_lists_checks", checks()[:2])
    put_events(home, events(3000, night.run_date - dt.timedelta(days=27), 28, price=2.0))
    put_features(home, night.run_date)
    put_counts(home, night.run_date)
    return night
