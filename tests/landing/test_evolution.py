"""docs/contracts.md: every row of its table is a file that is delivered here, and ends as the page says."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import lzma
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from jobs.ingest import ingest
from nightshift.config.settings import Engine
from nightshift.runs import StepError
from tests.landing.shop import HEADER, Shop, june, line

PAGE = Path(__file__).parents[2] / "docs" / "contracts.md"
ANN = line("1", "ann", "A", "01 09:00")
DAY = [line(str(n), f"buyer{n}", "A", f"01 {9 + n % 8:02}:00", cost=2 + n % 5) for n in range(24)]
ROWS = [dict(zip(HEADER.split(","), row.split(","), strict=True)) | {"units": 2.0, "cost": 2.5} for row in DAY]


@dataclass(frozen=True)
class Case:
    """A file, or two, of which the last is the one that has changed."""

    deliver: Callable[[Shop], object]
    day: int = 1
    audited: bool = False  # it is the gate that speaks
    source: Mapping[str, Any] = field(default_factory=dict)


def lines(*extra: str, header: str = HEADER, day: int = 1) -> Callable[[Shop], object]:
    return lambda shop: shop.deliver(day, [*DAY, *extra], header)


def content(data: bytes) -> Callable[[Shop], object]:
    return lambda shop: shop.deliver(1, []).write_bytes(data)


def parquet(rows: list[dict[str, Any]], **change: Any) -> Callable[[Shop], object]:
    return lambda shop: pd.DataFrame(rows).assign(**change).to_parquet(shop.deliver(1, []))


def two_kinds_of_parquet(shop: Shop) -> None:
    pd.DataFrame(ROWS).to_parquet(shop.deliver(1, []))
    pd.DataFrame(ROWS).assign(sku=7).to_parquet(shop.deliver(2, []))


def broken_parquet(shop: Shop) -> None:
    file = shop.deliver(1, [])
    pd.DataFrame(ROWS).to_parquet(file)
    file.write_bytes(file.read_bytes()[:-40])


def another_days(shop: Shop) -> None:
    rows = [line(str(n), f"buyer{n}", "A", "01 09:00") for n in range(30)]
    shop.deliver(1, rows)
    shop.deliver(2, rows)


def flipped(data: bytes) -> bytes:
    return data[:-6] + bytes([data[-6] ^ 1]) + data[-5:]


TEXT = "\n".join([HEADER, *DAY, ""]).encode()
GZ = {"address": "days/{run_date}.csv.gz"}
PARQUET = {"format": "parquet", "address": "days/{run_date}.parquet"}
WITHOUT_NAME = [",".join([*row.split(",")[:3], *row.split(",")[4:]]) for row in DAY]
NO_NAME = HEADER.replace("name,", "")

CASES = {
    "a new column": Case(lambda shop: shop.deliver(1, [ANN + ",0.1"], HEADER + ",discount")),
    "a new column, with new_columns: stop": Case(
        lines(header=HEADER + ",discount"), source={"evolution": {"new_columns": "stop"}}
    ),
    "a column is missing that events need": Case(lines(header=HEADER.replace("buyer", "purchaser"))),
    "a column is missing that attributes alone read": Case(lambda shop: shop.deliver(1, WITHOUT_NAME, NO_NAME)),
    "the same, with missing_attributes: stop": Case(
        lambda shop: shop.deliver(1, WITHOUT_NAME, NO_NAME), source={"evolution": {"missing_attributes": "stop"}}
    ),
    "a column is there twice": Case(lines(header=HEADER.replace("name", "SKU")), source={"item_attributes": {}}),
    "some values are of another type": Case(lines(line("9", "eve", "A", "01 09:00", units="1 box"))),
    "most values are of another type": Case(
        lambda shop: shop.deliver(1, [line(str(n), "eve", "A", "01 09:00", units="1 box") for n in range(24)]),
        audited=True,
    ),
    "a Parquet column is of another type": Case(
        parquet([*ROWS, ROWS[0]], units=["2"] * 24 + ["1 box"]), source=PARQUET
    ),
    "a Parquet column without a declared type differs between files": Case(two_kinds_of_parquet, 2, source=PARQUET),
    "a new event type": Case(lines(line("R7", "eve", "A", "01 09:00", units=-1))),
    "times after the file's day, as by a shifted time zone": Case(lines(line("9", "eve", "A", "02 00:30"))),
    "a key holds bytes that are not UTF-8": Case(
        content(TEXT + line("9", "zoë", "A", "01 09:00").encode("latin-1") + b"\n")
    ),
    "a key holds UTF-8 that was read as Latin-1": Case(
        lines(line("9", "zoë".encode().decode("latin-1"), "A", "01 09:00"))
    ),
    "a key holds NUL, as by a text of fixed width": Case(lines(line("9", "eve", "A\0", "01 09:00"))),
    "an attribute holds garbled text": Case(lines(line("9", "zoë", "A", "01 09:00").replace("Thing A", "CafÃ©"))),
    "the header is not UTF-8": Case(content(HEADER.replace("land", "länd").encode("latin-1") + b"\n")),
    "a file of 0 bytes": Case(content(b"")),
    "a header alone, where a day may be without events": Case(content(HEADER.encode())),
    "a header alone, where every day has events": Case(content(HEADER.encode()), source={"when_missing": "stop"}),
    "no file, where a day may be without events": Case(lambda shop: None),
    "no file, where every day has events": Case(lambda shop: None, source={"when_missing": "stop"}),
    "a gzip file that broke off": Case(content(gzip.compress(TEXT)[:-20]), source=GZ),
    "a gzip file with a flipped bit": Case(content(flipped(gzip.compress(TEXT))), source=GZ),
    "a .gz file that is not gzip": Case(content(TEXT), source=GZ),
    "a compression that Spark does not read": Case(
        content(lzma.compress(TEXT)), source={"address": "days/{run_date}.csv.xz"}
    ),
    "a Parquet file that broke off": Case(broken_parquet, source=PARQUET),
    "Parquet times in nanoseconds": Case(
        parquet(ROWS[:1], at=pd.to_datetime(["2011-06-01 09:00:00.123456789"])), source=PARQUET
    ),
    "a file for another day": Case(another_days, 2),
    "the same, with wrong_day: accept": Case(another_days, 2, source={"evolution": {"wrong_day": "accept"}}),
    "a line with too few fields": Case(lines("9,eve,A")),
    "a quoted text that goes over the end of its line": Case(lines(f'{ANN[:-2]}"Great', 'Br"')),
    "a lone carriage return inside a text": Case(content(f"{HEADER}\n{ANN}\n".replace("Thing A", "Thing\rA").encode())),
    "lines that end with a carriage return alone": Case(content(TEXT.replace(b"\n", b"\r"))),
}  # fmt: skip


def usual(day: int, many: int = 24, hour: int = 9, units: int = 1, cents: int = 100) -> list[str]:
    """A day's lines; its events are alike on every day."""
    return [
        line(f"{day}-{n}", f"buyer{n}", "A", f"{day:02} {hour + n % 8:02}:00", units, (2 + n % 5) * cents / 100)
        for n in range(many)
    ]


FIGURES: dict[str, tuple[list[str], Callable[[float, float], bool]]] = {  # day 1 is as usual, these are the next
    "times shifted within the day": (usual(2, hour=11), lambda before, now: now == before + 2),
    "more rows of earlier days": ([*usual(3), *usual(2)[:9]], lambda before, now: (before, now) == (0, 9)),
    "prices in another unit": (usual(4, cents=10_000), lambda before, now: now == pytest.approx(before * 100)),
    "quantities in another unit": (usual(5, units=100), lambda before, now: now == before * 100),
    "ten times the volume": (usual(6, many=240), lambda before, now: now == before * 10),
    "half the volume": (usual(7, many=12), lambda before, now: now == before / 2),
}


def page() -> dict[str, tuple[str, str, str]]:
    """The rows of the page's table: case -> outcome, what is said, what to do."""
    rows = [[cell.strip() for cell in row.strip("| \n").split(" | ")] for row in PAGE.read_text().splitlines()]
    outcomes = ("accept", "quarantine", "stop", "gate")
    return {r[0]: (r[1], r[2].strip("`"), r[3].strip("`")) for r in rows if len(r) == 4 and r[1] in outcomes}


def test_every_case_of_the_page_is_delivered_here_and_the_reverse() -> None:
    gate = {name for name, row in page().items() if row[0] == "gate"}
    assert set(page()) - gate == set(CASES)
    assert gate == set(FIGURES)


@pytest.mark.parametrize("name", CASES)
def test_a_file_that_has_changed_ends_as_the_page_says(
    name: str, tmp_path: Path, warm_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    case = CASES[name]
    shop = Shop(tmp_path, warm_engine, case.source)
    caplog.set_level("INFO", "nightshift")
    case.deliver(shop)
    try:
        told = shop.ingest(case.day)
        outcome, words = ("quarantine" if told["quarantined"] else "accept"), caplog.text + json.dumps(told["refused"])
        if case.audited:
            shop.validate(case.day)
    except StepError as error:
        outcome, words = "stop", str(error)
    decided, said, advice = page()[name]
    assert outcome == decided
    assert said in words
    assert advice in words
    if outcome == "stop" and not case.audited:
        file = shop.settings.source.address.format(run_date=june(case.day))
        assert file in words or "2011-06-01" in words or "(1 file)" in words, "which file it is"


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory, warm_engine: Engine) -> list[dict[str, Any]]:
    """The figures of a usual day, and of a day for each case of FIGURES."""
    shop = Shop(tmp_path_factory.mktemp("shop"), warm_engine)
    shop.deliver(1, usual(1))
    for day, (rows, _) in enumerate(FIGURES.values(), start=2):
        shop.deliver(day, rows)
    told: list[dict[str, Any]] = shop.ingest(7)["counts"]
    return told


@pytest.mark.parametrize("name", FIGURES)
def test_a_change_that_no_single_row_shows_is_a_figure_of_the_day(name: str, counts: list[dict[str, Any]]) -> None:
    _, figure, _ = page()[name]
    before, now = counts[0][figure], counts[list(FIGURES).index(name) + 1][figure]
    assert FIGURES[name][1](before, now), f"{figure}: {before}, then {now}"


def test_the_mean_hour_does_not_show_the_change_to_summer_time(tmp_path: Path, warm_engine: Engine) -> None:
    """On 27 March 2011 London went an hour ahead at 01:00."""
    shop = Shop(tmp_path, warm_engine, {"first_day": "2011-03-26"})
    row = line("1", "ann", "A", "01 09:30")
    for day in ("2011-03-26", "2011-03-28"):
        shop.deliver(1, [row.replace("2011-06-01", day)]).rename(tmp_path / f"days/{day}.csv")
    night = replace(shop.night(1), run_date=dt.date(2011, 3, 28))
    assert [count["mean_hour"] for count in ingest(night)["counts"]] == [9.5, None, 9.5]


def test_a_column_that_is_named_as_unused_is_not_new(tmp_path: Path, warm_engine: Engine) -> None:
    known = {"evolution": {"new_columns": "stop", "unused_columns": ["discount"]}}
    shop = Shop(tmp_path, warm_engine, known)
    shop.deliver(1, [ANN + ",0.1"], header=HEADER + ",discount")
    told = shop.ingest(1)
    assert (told["kept"], told["new_columns"]) == (1, {})


def test_the_commonest_values_that_fit_no_event_type_are_told_with_their_rows(
    tmp_path: Path, warm_engine: Engine
) -> None:
    types = [{"name": "purchase", "when": "order = 'buy'", "weight": 1}]
    shop = Shop(tmp_path, warm_engine, {"event_types": types, "contract": {}})
    kinds = ["buy"] * 3 + ["look"] * 5 + ["wish"] * 2 + [f"rare{n}" for n in range(9)]
    shop.deliver(1, [line(kind, f"buyer{n}", "A", "01 09:00") for n, kind in enumerate(kinds)])
    found = shop.ingest(1)["refused"]["fits no event type"]
    assert found["rows"] == 16
    assert list(found["values"].items())[:3] == [("order=look", 5), ("order=wish", 2), ("order=rare0", 1)]
    assert len(found["values"]) == 5
