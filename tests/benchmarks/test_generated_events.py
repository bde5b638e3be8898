"""The generator keeps what it promises: the same bytes, one day at a time, and what is planted can be measured."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks.events import Drift, Flaws, Shop
from benchmarks.events.__main__ import main
from benchmarks.events.day import Day
from benchmarks.events.files import file_rows, write_config, write_day
from benchmarks.events.fill import events_table, fill_lake
from nightshift.config import load
from nightshift.lake import Lake
from nightshift.lake import events_table as declared_events

SHOP = Shop(events_a_day=20_000, users=3_000, items=600, groups=6)
DAY = dt.date(2022, 3, 9)


def rows_of(shop: Shop, day: dt.date) -> pa.Table:
    return pa.concat_tables(rows.table for rows in Day(shop, day).rows())


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path: Path, file_format: str) -> None:
    for name, seed in (("one", "7"), ("two", "7"), ("other", "8")):
        shape = ["--days", "2", "--events-a-day", "500", "--users", "100", "--items", "50"]
        main(["--out", str(tmp_path / name), *shape, "--format", file_format, "--seed", seed])
    (file, *_) = sorted((tmp_path / "one").glob("2022-01-02.*"))
    assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    assert file.read_bytes() != (tmp_path / "other" / file.name).read_bytes()


def test_a_day_made_alone_is_the_day_of_the_series(tmp_path: Path) -> None:
    shape = ["--events-a-day", "500", "--users", "100", "--items", "50"]
    main(["--out", str(tmp_path / "series"), "--days", "6", *shape])
    main(["--out", str(tmp_path / "alone"), "--only", "2022-01-05", *shape])
    assert [f.name for f in (tmp_path / "alone").glob("*.gz")] == ["2022-01-05.csv.gz"]
    name = "2022-01-05.csv.gz"
    assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "series" / name).read_bytes()


def test_rows_do_not_depend_on_how_a_day_is_cut_into_batches() -> None:
    small = pa.concat_tables(rows.table for rows in Day(SHOP, DAY).rows(batch_rows=700))
    assert small.combine_chunks() == rows_of(SHOP, DAY).combine_chunks()


def test_the_truth_counts_what_the_files_hold(tmp_path: Path) -> None:
    main(["--out", str(tmp_path), "--days", "5", "--events-a-day", "2000", "--users", "100", "--items", "50"])
    for told in json.loads((tmp_path / "planted.json").read_text())["days"]:
        lines = gzip.decompress((tmp_path / f"{told['run_date']}.csv.gz").read_bytes()).splitlines()[1:]
        assert len(lines) == told["rows"] == told["kept"] + told["repeated"] + sum(told["broken"].values())
        late = [line for line in lines if told["run_date"].replace("-", "") not in line.decode()]
        assert len(late) >= told["late"]
    assert told["late"] > 0
    assert sum(told["broken"].values()) > 0


def test_the_configuration_beside_the_files_is_one_that_loads(tmp_path: Path) -> None:
    main(["--out", str(tmp_path), "--days", "1", "--events-a-day", "100", "--users", "10", "--items", "10"])
    settings = load(tmp_path / "nightshift.yaml")
    assert settings.source.first_day == dt.date(2022, 1, 1)
    assert declared_events(settings.source) == events_table


def test_a_share_of_rows_is_late_by_one_to_three_days(tmp_path: Path) -> None:
    delivery, batches = file_rows(SHOP, DAY)
    rows = pa.concat_tables(batches)
    days = pc.days_between(pc.cast(rows["time"], pa.date32()), pa.scalar(DAY))
    assert set(pc.unique(days).drop_null().to_pylist()) <= {0, 1, 2, 3, 4}
    assert delivery.late / delivery.kept == pytest.approx(0.01, rel=0.3)
    assert delivery.repeated / delivery.kept == pytest.approx(0.006, rel=0.3)


def test_popularity_follows_zipfs_law() -> None:
    shop = Shop(events_a_day=400_000, users=50_000, items=2_000, favourites=0, complements=0, groups=5)
    items = np.sort(np.bincount(np.concatenate([r.shelves for r in Day(shop, DAY).rows()])))[::-1]
    users = np.sort(np.bincount(np.concatenate([r.users for r in Day(shop, DAY).rows()])))[::-1]
    assert slope(items, 20, 800) == pytest.approx(-shop.zipf_items, abs=0.15)
    assert slope(users, 20, 800) == pytest.approx(-shop.zipf_users, abs=0.15)


def slope(counts: np.ndarray, first: int, last: int) -> float:
    """Of log count over log rank."""
    ranks = np.arange(first, last)
    return float(np.polyfit(np.log(ranks), np.log(counts[first:last]), 1)[0])


def test_users_buy_of_their_group_and_their_favourites_again() -> None:
    rows = list(Day(SHOP, DAY).rows())
    users = np.concatenate([r.users for r in rows])
    shelves = np.concatenate([r.shelves for r in rows])
    same = (SHOP.group_of_user(users, DAY) == SHOP.group_of_shelf[shelves]).mean()
    assert same > 0.65  # by chance a sixth
    favourites = np.stack([SHOP.favourite_shelf(users, SHOP.group_of_user(users, DAY), np.full(len(users), n))
                           for n in range(6)])  # fmt: skip
    hit = (favourites == shelves).any(axis=0).mean()
    others = (favourites == np.roll(shelves, 1000)).any(axis=0).mean()
    assert hit > 3 * others


def test_complements_are_bought_together_far_more_often_than_chance() -> None:
    def follows(complements: float) -> float:
        shop = Shop(events_a_day=20_000, users=3_000, items=600, groups=6, complements=complements)
        shelves = np.concatenate([r.shelves for r in Day(shop, DAY).rows()])
        return float((shelves[1:] == shelves[:-1] ^ 1).mean())

    assert follows(0.25) > 5 * follows(0.0)


def test_a_planted_drift_turns_taste_prices_and_volume_on_its_day_and_not_before() -> None:
    drift = Drift(start=DAY, taste=1.0, price=2.0, volume=3.0)
    moved = Shop(events_a_day=20_000, users=3_000, items=600, groups=6, drift=drift)
    before = DAY - dt.timedelta(days=1)
    assert rows_of(moved, before).equals(rows_of(SHOP, before))
    assert moved.baskets(DAY) == pytest.approx(3 * SHOP.baskets(DAY), abs=3)
    mean = [pc.mean(rows_of(shop, DAY)["price"]).as_py() for shop in (SHOP, moved)]
    assert mean[1] / mean[0] == pytest.approx(2, rel=0.2)
    users = np.arange(SHOP.users)
    assert (moved.group_of_user(users, DAY) == (SHOP.group_of_user(users, DAY) + 1) % 6).all()


def test_the_catalogue_grows_and_turns_over_and_seasons_show() -> None:
    alive = [(SHOP.generation_of_shelf(SHOP.first_day + dt.timedelta(days=n)) >= 0).mean() for n in (0, 365, 800)]
    assert alive[0] == pytest.approx(0.65, abs=0.06)
    assert alive[0] < alive[1] < alive[2] == 1.0
    first, later = (set(rows_of(SHOP, SHOP.first_day + dt.timedelta(days=n))["item"].to_pylist()) for n in (0, 700))
    assert len(first & later) < 0.6 * len(first)
    year = [SHOP.baskets(SHOP.first_day + dt.timedelta(days=n)) for n in range(365)]
    assert np.mean(year) * SHOP.lines_a_basket == pytest.approx(SHOP.events_a_day, rel=0.05)
    assert SHOP.baskets(dt.date(2022, 12, 3)) > 1.3 * SHOP.baskets(dt.date(2022, 6, 4))  # both Saturdays


def test_a_filled_lake_holds_what_the_files_would_have_brought(tmp_path: Path) -> None:
    shop = Shop(events_a_day=2_000, users=200, items=100, groups=4, flaws=Flaws(late=0.05))
    days = [shop.first_day + dt.timedelta(days=n) for n in range(7)]
    lake = Lake(tmp_path / "lake")
    source = load(write_config(shop, tmp_path, "parquet")).source
    total = fill_lake(shop, lake, source, days, days_a_commit=3)
    kept = [write_day(shop, day, tmp_path, "parquet").kept for day in days]
    events = lake.arrow("events")
    assert events.num_rows == total == sum(kept)
    assert lake.run_dates("events") == {day.isoformat() for day in days}
    assert len(events["event_id"].unique()) == total
    assert all(pc.match_substring_regex(events["event_id"], "^[0-9A-F]{16}-[0-9A-F]{16}$").to_pylist())
    counts = lake.pandas("ingest_counts").sort_values("run_date")
    assert counts["kept"].tolist() == kept
    assert counts["content"].nunique() == len(days)
    late = pc.greater(pc.days_between(events["event_date"], events["run_date"]), 0)
    assert 0.02 < pc.mean(late.cast(pa.int8())).as_py() < 0.06


def test_a_parquet_file_holds_the_columns_of_the_csv_with_their_types(tmp_path: Path) -> None:
    write_day(SHOP, DAY, tmp_path, "parquet")
    found = pq.read_schema(tmp_path / f"{DAY}.parquet")
    assert found.field("time").type == pa.timestamp("us")
    assert found.names[:7] == ["user", "item", "time", "quantity", "price", "basket", "type"]
