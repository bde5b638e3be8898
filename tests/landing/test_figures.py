"""The identity of a day's events, and what else a stage adds up to."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.config.settings import Source
from nightshift.lake import Lake, Staged
from nightshift.landing import dates_of, day_figures, garbled_attributes, refusals
from tests.landing.shop import SOURCE, june

Row = tuple[str, int, float | None]  # id, hour of the first of June, price
MIDNIGHT = dt.datetime(2011, 5, 31, 23, tzinfo=dt.UTC)  # of the first of June in London


def stage(lake: Lake, files: list[list[Row]], days: int = 1) -> Staged:
    folder = lake.path("events") / "stage-x" / "run_date=2011-06-01"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for number, rows in enumerate(files):
        columns = {
            "event_id": pa.array([row[0] for row in rows], pa.string()),
            "event_time": pa.array(
                [MIDNIGHT + dt.timedelta(hours=row[1]) for row in rows], pa.timestamp("us", tz="UTC")
            ),
            "event_date": pa.array([june(1) + dt.timedelta(days=row[1] // 24) for row in rows], pa.date32()),
            "price": pa.array([row[2] for row in rows], pa.float64()),
            "quantity": pa.array([-2.0] * len(rows), pa.float64()),
            "title": pa.array(["It\u00e2\u20ac\u2122s", "Ça va", "S\u00c3O"] * len(rows), pa.string())[: len(rows)],
            "country": pa.array([None] * len(rows), pa.string()),
        }
        pq.write_table(pa.table(columns), folder / f"part-{number}.parquet")
    return Staged("events", "stage-x", tuple(june(day).isoformat() for day in range(1, days + 1)))


SHOP = Source.model_validate(SOURCE)
ROWS = st.lists(
    st.tuples(st.text(max_size=8), st.integers(-48, 23), st.none() | st.floats(0, 1e6)),
    max_size=12,
    unique_by=lambda r: r[0],
)


def content_by_hand(rows: list[Row]) -> str:
    last_half = (int.from_bytes(hashlib.md5(row[0].encode()).digest()[8:], "little") for row in rows)
    return f"{len(rows)}-{sum(last_half) % 2**64:016x}"


@given(rows=ROWS, cut=st.integers(0, 12), order=st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_figures_know_neither_the_order_of_rows_nor_their_files(
    tmp_path_factory: object, rows: list[Row], cut: int, order: object
) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"))  # type: ignore[attr-defined]
    once = day_figures(lake, stage(lake, [rows]), SHOP)
    mixed = list(rows)
    order.shuffle(mixed)  # type: ignore[attr-defined]
    again = day_figures(lake, stage(lake, [mixed[:cut], mixed[cut:]]), SHOP)
    assert once == again
    assert once[june(1)]["content"] == content_by_hand(rows)
    assert once[june(1)]["late"] == sum(row[1] < 0 for row in rows)


def test_another_event_or_one_more_is_another_content(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    found = {
        day_figures(lake, stage(lake, [[(name, 9, 1.0) for name in names]]), SHOP)[june(1)]["content"]
        for names in (["a", "b"], ["a", "c"], ["a"], ["a", "b", "c"], ["ab"])
    }
    assert len(found) == 5


def test_a_day_without_rows_has_a_content_and_no_means(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    found = day_figures(lake, stage(lake, [[("a", 9, 2.0), ("b", -3, 3.0), ("c", 10, None)]], days=2), SHOP)
    assert found[june(1)] == {
        "late": 1, "mean_price": 2.5, "mean_quantity": 2.0, "mean_hour": 9.5,
        "content": content_by_hand([("a", 9, 2.0), ("b", -3, 3.0), ("c", 10, None)]),
    }  # fmt: skip
    assert found[june(2)] == {
        "late": 0, "mean_price": None, "mean_quantity": None, "mean_hour": None, "content": "0-0000000000000000",
    }  # fmt: skip


def test_text_that_shows_an_encoding_slip_is_told_from_text_with_accents(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    staged = stage(lake, [[(name, 9, 1.0) for name in "abc"]])
    assert garbled_attributes(lake, staged, SHOP) == {"title": 1}
    assert dates_of(lake, [staged])[june(1)] == {june(1): 3}


def test_a_stage_without_rows_has_nothing_to_tell(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    staged = stage(lake, [])
    assert refusals(lake, staged, SHOP) == {}
    assert garbled_attributes(lake, staged, SHOP) == {}
    assert not dates_of(lake, [staged])[june(1)]
