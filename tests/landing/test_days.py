"""Where the days' files lie, and what is said when one is not there or not as configured."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from nightshift.config.settings import Engine, Source
from nightshift.lake import Lake
from nightshift.landing import DayFile, business_days, day_files, delivered, look_at
from nightshift.landing.columns import needed_columns
from nightshift.runs import StepError
from tests.landing.shop import HEADER, SOURCE, Shop, june, line


def source_with(**changes: object) -> Source:
    return Source.model_validate({**SOURCE, **changes})


def test_a_day_without_a_file_is_left_out_where_the_shop_may_be_closed(tmp_path: Path) -> None:
    shop = Shop(tmp_path, Engine())
    shop.deliver(1, [])
    shop.deliver(3, [])
    delivery = delivered(shop.lake, shop.settings.source, tmp_path, business_days(june(1), june(3)))
    assert [look.file.run_date for look in delivery.looks] == [june(1), june(3)]
    assert delivery.rows_in == {june(1): 0, june(2): 0, june(3): 0}


def test_a_day_without_a_file_stops_the_night_where_every_day_has_one(tmp_path: Path) -> None:
    source = source_with(when_missing="stop")
    with pytest.raises(StepError, match=r"no file for 2011-06-02: .*/days/2011-06-02.csv. Deliver it, or set source"):
        delivered(Lake(tmp_path), source, tmp_path, [june(2)])


def test_an_address_may_spread_days_over_folders(tmp_path: Path) -> None:
    (tmp_path / "2011" / "06").mkdir(parents=True)
    (tmp_path / "2011" / "06" / "02.csv").write_text(HEADER)
    address = str(tmp_path / "{run_date:%Y/%m/%d}.csv")
    found = day_files(source_with(address=f"file://{address}"), Path("/elsewhere"), [june(2), june(3)])
    assert found == (
        [DayFile(june(2), f"file://{tmp_path}/2011/06/02.csv")],
        [DayFile(june(3), f"file://{tmp_path}/2011/06/03.csv")],
    )


def test_both_ends_of_a_span_of_days_are_in_it() -> None:
    assert business_days(june(29), june(29)) == [june(29)]
    assert len(business_days(june(1), june(30))) == 30


def test_only_the_columns_that_the_configuration_reads_are_needed() -> None:
    assert needed_columns(source_with()) == sorted(HEADER.split(","))
    assert "land" not in needed_columns(source_with(user_attributes={}))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_are_counted_without_header_and_empty_lines(tmp_path: Path, compressed: bool, end: str) -> None:
    text = end.join([HEADER, line("1", "ann", "A", "01 09:00"), "", "broken", HEADER, ""]).encode()
    file = tmp_path / ("day.csv.gz" if compressed else "day.csv")
    file.write_bytes(gzip.compress(text) if compressed else text)
    assert look_at(source_with(), DayFile(june(1), str(file))).rows == 2
    assert look_at(source_with(format="jsonl"), DayFile(june(1), str(file))).rows == 4


def test_columns_of_json_lines_are_the_keys_of_its_readable_lines(tmp_path: Path) -> None:
    file = tmp_path / "day.jsonl"
    file.write_text('{"a": 1}\n[2]\n{"b\n{"c": null, "a": 3}\n')
    look = look_at(source_with(format="jsonl"), DayFile(june(1), str(file)))
    assert (look.rows, look.columns) == (4, ("a", "c"))
