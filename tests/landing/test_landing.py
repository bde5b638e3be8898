"""A day's rows become events, refused rows or repetitions, and nothing else, in whatever order the days are landed."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from nightshift.config.settings import Engine
from nightshift.runs import GateError, StepError
from tests.landing.shop import HEADER, Shop, june, line

ANN = line("1", "ann", "A", "01 09:00")
BOB = line("2", "bob", "B", "01 10:00")
CAT = line("3", "cat", "C", "02 11:00")
DAN = line("4", "dan", "D", "02 12:00")


@pytest.fixture
def shop(tmp_path: Path, warm_engine: Engine) -> Shop:
    return Shop(tmp_path, warm_engine)


REFUSED = {
    "buyer is known": line("5", "", "A", "01 09:00"),
    "cost is positive": line("6", "eve", "A", "01 09:00", cost=-1),
    "item_id is missing or unreadable": line("7", "eve", "", "01 09:00"),
    "event_time is missing or unreadable": "8,eve,A,Thing A,1,2.5,,GB",
    "quantity is missing or unreadable": line("9", "eve", "A", "01 09:00", units="NaN"),
    "fits no event type": line("10", "eve", "A", "01 09:00", units=-1),
    "time is after its run date": line("11", "eve", "A", "02 00:00"),
    "units is not double": line("12", "eve", "A", "01 09:00", units="many"),
}
UNREADABLE = ["13,eve", 'no"thing like, it']


def test_every_row_is_kept_quarantined_with_its_reason_or_a_known_duplicate(shop: Shop) -> None:
    no_price = line("14", "fay", "E", "01 23:59", cost="NaN")
    cancelled = line("C1", "ann", "A", "01 09:30", units=-1)
    kept = [ANN, BOB, no_price, cancelled, *[line(f"2{n}", "gil", "F", "01 08:00") for n in range(8)]]
    shop.deliver(1, [*kept, *REFUSED.values(), *UNREADABLE, "", ANN, HEADER])
    told = shop.land(1)

    expected = [*REFUSED.items(), *[("line is unreadable", raw) for raw in UNREADABLE]]
    assert shop.quarantined() == sorted(expected), "each under its reason, with the line as it came"
    assert (told["rows_in"], told["kept"], told["quarantined"], told["duplicates"]) == (23, 12, 10, 1)
    assert shop.counts() == [("2011-06-01", "23", "12", "10", "1")]
    events = shop.lake.pandas("events").set_index("basket_id")
    assert len(events) == 12
    assert events.loc["1", ["user_id", "item_id", "event_type", "title", "country"]].tolist() == [
        "ann", "A", "purchase", "Thing A", "GB",
    ]  # fmt: skip
    assert (events.loc["1", "weight"], events.loc["1", "price"], events.loc["1", "quantity"]) == (1.0, 2.5, 1.0)
    assert (events.loc["C1", "event_type"], events.loc["C1", "weight"]) == ("cancellation", -1.0)
    assert pd.isna(events.loc["14", "price"]), "NaN is no price"
    assert events.loc["14", "event_time"] == pd.Timestamp("2011-06-01 22:59", tz="UTC"), "London is an hour ahead"
    assert events.loc["14", "event_date"] == june(1), "the business day is the shop's own"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_id_with_nul_is_quarantined_and_never_taken_for_the_id_without(
    tmp_path: Path, warm_engine: Engine, kind: str
) -> None:
    shop = Shop(tmp_path, warm_engine, {"format": kind, "address": "days/{run_date}." + kind})
    sound = [ANN, line("1", "ann", "A", "01 09:01"), line("1", "ann", "A", "01 09:02")]
    nul = [
        line("1", "ann\0", "A", "01 11:00"),
        line("1", "ann", "A\0", "01 12:00"),
        line("1", "a\0nn", "A", "01 13:00"),
    ]
    rows = [*sound, *nul]
    file = shop.deliver(1, rows)
    if kind == "parquet":
        pd.DataFrame([dict(zip(HEADER.split(","), row.split(","), strict=True)) for row in rows]).to_parquet(file)
    told = shop.land(1)
    assert (told["rows_in"], told["kept"], told["quarantined"]) == (6, 3, 3)
    refused = {reason: found["rows"] for reason, found in told["refused"].items()}
    assert refused == {"user_id holds garbled text": 2, "item_id holds garbled text": 1}
    assert set(shop.lake.pandas("events")["user_id"]) == {"ann"}
    assert shop.kept() == [("2011-06-01", "1", "A")] * 3


def test_the_same_day_again_gives_the_same_table(shop: Shop) -> None:
    shop.deliver(1, [ANN, BOB, ANN])
    shop.land(1)
    events, counts = shop.events(), shop.counts()
    shop.land(1)
    shop.validate(1)
    assert (shop.events(), shop.counts()) == (events, counts)


def test_the_first_night_loads_all_days_before_it_and_a_day_without_a_file_has_no_events(shop: Shop) -> None:
    shop.deliver(1, [ANN])
    shop.deliver(3, [line("5", "eve", "A", "03 09:00")])
    assert shop.land(3)["days"] == 3
    assert [row[:2] for row in shop.counts()] == [("2011-06-01", "1"), ("2011-06-02", "0"), ("2011-06-03", "1")]
    assert shop.land(4)["rows_in"] == 0, "a closed day after the first night"
    assert len(shop.kept()) == 2
    assert len(shop.counts()) == 4


def test_a_row_delivered_again_by_a_later_file_is_a_duplicate_whichever_day_is_landed_first(
    tmp_path: Path, warm_engine: Engine
) -> None:
    """A late row too: it is an event of the day whose file brought it first."""
    late = line("9", "zoe", "Z", "01 18:00")
    tables = []
    for order in ("one by one", "together", "the first day late"):
        (tmp_path / order).mkdir()
        shop = Shop(tmp_path / order, warm_engine)
        if order != "the first day late":
            shop.deliver(1, [ANN, BOB])
        shop.deliver(2, [CAT, ANN, late])
        if order == "one by one":
            shop.land(1)
        shop.land(2)
        if order == "the first day late":
            assert ("2011-06-02", "1", "A") in shop.kept(), "nobody knew better"
            shop.deliver(1, [ANN, BOB])
            assert shop.land(1)["days"] == 2, "the day that repeats it is read with it"
        tables.append((shop.events(), shop.counts()))
    assert tables[0] == tables[1] == tables[2]
    assert shop.counts() == [("2011-06-01", "2", "2", "0", "0"), ("2011-06-02", "3", "2", "0", "1")]


def test_a_corrected_file_replaces_its_day_and_gives_back_what_a_later_day_repeated(shop: Shop) -> None:
    shop.deliver(1, [ANN, BOB])
    shop.deliver(2, [CAT, ANN])
    shop.deliver(3, [DAN])
    shop.land(3)
    before = shop.events()
    shop.deliver(1, [BOB])
    assert shop.land(1)["days"] == 2, "the third day repeated nothing, and is left as it is"
    assert shop.kept() == [("2011-06-01", "2", "B"), ("2011-06-02", "1", "A"), ("2011-06-02", "3", "C"),
                           ("2011-06-03", "4", "D")]  # fmt: skip
    shop.deliver(1, [ANN, BOB])
    shop.land(1)
    assert shop.events() == before


def test_two_equal_rows_of_another_user_price_or_basket_are_two_events(shop: Shop) -> None:
    shop.deliver(1, [ANN, line("1", "bob", "A", "01 09:00"), line("1", "ann", "A", "01 09:00", cost=3),
                     line("2", "ann", "A", "01 09:00"), line("1", "ann", "A", "01 09:01")])  # fmt: skip
    assert shop.ingest(1)["kept"] == 5


@pytest.mark.parametrize("folder", ["a b", "ü=1/100%+(x)"])
def test_a_folder_may_have_any_name(tmp_path: Path, warm_engine: Engine, folder: str) -> None:
    home = tmp_path / folder
    home.mkdir(parents=True)
    shop = Shop(home, warm_engine, {"address": "run_date={run_date}/part 1.csv"})
    shop.deliver(1, [ANN])
    shop.land(1)
    shop.deliver(2, [CAT, ANN])
    shop.land(2)
    assert shop.kept() == [("2011-06-01", "1", "A"), ("2011-06-02", "3", "C")]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    "address", ["../raw/{run_date}", "./a/.././{run_date}", "link/../{run_date}", "file://HOME/../{run_date}"]
)
def test_an_address_and_the_configurations_folder_may_go_up(
    tmp_path: Path, warm_engine: Engine, address: str, kind: str
) -> None:
    """Through a link, too: its target's folder is the one above."""
    home = tmp_path / "a" / ".." / "conf"
    for folder in ("a", "conf/a", "raw", "elsewhere/b"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "conf" / "link").symlink_to(tmp_path / "elsewhere/b")
    address = f"{address.replace('HOME', str(home))}.{kind}"
    shop = Shop(home, warm_engine, {"address": address, "format": kind})
    file = home / address.removeprefix("file://").format(run_date=june(1))
    if kind == "parquet":
        pd.DataFrame([dict(zip(HEADER.split(","), ANN.split(","), strict=True))]).to_parquet(file)
    else:
        file.write_text(f"{HEADER}\n{ANN}\n")
    assert shop.ingest(1)["kept"] == 1


def test_a_file_that_spark_names_in_an_unknown_way_is_named_and_no_row_is_lost(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightshift.landing.source._spellings", lambda address: [f"{address}?"])
    file = shop.deliver(1, [ANN])
    with pytest.raises(Exception, match=f"a file that no day is known of: file:.*{file.name}"):
        shop.ingest(1)


def test_a_file_may_begin_with_a_byte_order_mark_and_name_its_columns_in_another_order(shop: Shop) -> None:
    shop.deliver(1, [ANN], header="\ufeff" + HEADER)
    swapped = HEADER.replace("order,buyer", "buyer,order")
    shop.deliver(2, ["cat,3" + CAT.removeprefix("3,cat")], header=swapped)
    shop.ingest(2)
    shop.validate(2)
    assert shop.kept() == [("2011-06-01", "1", "A"), ("2011-06-02", "3", "C")]
    assert shop.quarantined() == []


def test_a_missing_column_names_the_column_the_file_and_the_next_step(shop: Shop) -> None:
    shop.deliver(1, [], header=HEADER.replace("buyer", "purchaser"))
    said = (
        r"days/2011-06-01.csv lacks the column 'buyer' \(it has order, purchaser, .*\): "
        "correct the file, or the expressions under source: in the configuration"
    )
    with pytest.raises(StepError, match=said):
        shop.ingest(1)


def test_a_day_that_is_all_refused_stops_the_night_and_commits_nothing(shop: Shop) -> None:
    shop.deliver(1, [REFUSED["buyer is known"]])
    shop.ingest(1)
    with pytest.raises(GateError, match=r"quarantined_share: column values to be between: found 1 of 1 rows, like 1.0"):
        shop.validate(1)
    assert not shop.lake.exists("events")
    assert not shop.lake.exists("quarantine")
    assert (shop.home / "var/reports/data_docs/2011-06-01/index.html").is_file()


EVENTS = [
    ("u1", "A", "2011-06-01 09:00:00", "buy", 2.0),
    ("u1", "B", "2011-06-01 09:00:00", "return", 1.0),
    ("u2", "A", "2011-06-01 10:00:00", "look", 1.0),
]
OTHER_COMPANY = {
    "timezone": "UTC",
    "types": {"n": "double", "when_it_was": "timestamp"},
    "columns": {"user": "who", "item": "upper(what)", "time": "when_it_was", "quantity": "n"},
    "event_types": [
        {"name": "purchase", "when": "action = 'buy'", "weight": 1},
        {"name": "cancellation", "when": "action = 'return'", "weight": -1},
    ],
    "contract": {},
    "item_attributes": {"colour": "lower(hue)"},
    "user_attributes": {},
}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_another_companys_table_needs_another_configuration_only(
    tmp_path: Path, warm_engine: Engine, kind: str
) -> None:
    shop = Shop(tmp_path, warm_engine, {**OTHER_COMPANY, "format": kind, "address": "in/{run_date:%Y%m%d}." + kind})
    frame = pd.DataFrame(EVENTS, columns=["who", "what", "when_it_was", "action", "n"]).assign(hue="RED", unused=1)
    broken = []
    if kind == "jsonl":
        broken = ['{"who": "u3", "wha']
        shop.deliver(1, [*[json.dumps(row) for row in frame.to_dict("records")], *broken], header=None)
    else:
        file = shop.deliver(1, [])
        frame = frame.assign(when_it_was=pd.to_datetime(frame["when_it_was"]))
        frame.to_parquet(file, coerce_timestamps="us")
    told = shop.land(1)

    assert (told["rows_in"], told["kept"], told["quarantined"]) == (3 + len(broken), 2, 1 + len(broken))
    events = shop.lake.pandas("events").sort_values("item_id")
    assert events[["user_id", "item_id", "event_type", "weight", "quantity", "colour"]].to_numpy().tolist() == [
        ["u1", "A", "purchase", 1.0, 2.0, "red"],
        ["u1", "B", "cancellation", -1.0, 1.0, "red"],
    ]
    assert set(events["basket_id"]) == {"u1 2011-06-01"}, "without baskets, a user's day is one"
    assert events["price"].isna().all()
    reasons = dict(shop.quarantined())
    assert json.loads(reasons["fits no event type"])["who"] == "u2"
    if broken:
        assert reasons["line is unreadable"] == broken[0]
