"""`python -m jobs.replay_quarantine`: what was refused for a wrong reason becomes an event, once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.replay_quarantine import main, replay_quarantine
from nightshift.config.settings import Engine
from nightshift.features.lineage import State, load_lineage, record
from nightshift.runs import GateError, StepError
from tests.landing.shop import HEADER, SOURCE, Shop, june, line

NO_TYPE = "fits no event type"
KNOWN = [line(str(n), f"buyer{n}", "A", "01 09:00") for n in range(6)]
GIFT = line("g1", "ann", "A", "01 10:00", units=-3)
NOBODY = line("7", "", "B", "01 11:00")
LATE_GIFT = GIFT  # the second day's file brings it again
GIFTS = {"event_types": [*SOURCE["event_types"], {"name": "gift", "when": "order like 'g%'", "weight": 2}]}  # type: ignore[misc]


@pytest.fixture
def shop(tmp_path: Path, warm_engine: Engine) -> Shop:
    """Three days; gifts are refused, on the first and, repeated, on the second."""
    shop = Shop(tmp_path, warm_engine)
    shop.deliver(1, [*KNOWN, GIFT, NOBODY])
    shop.deliver(2, [line(f"2{n}", f"buyer{n}", "B", "02 09:00") for n in range(4)] + [LATE_GIFT])
    shop.deliver(3, [line(f"3{n}", f"buyer{n}", "C", "03 09:00") for n in range(4)])
    shop.land(3)
    return shop


def mended(shop: Shop, **source: Any) -> Shop:
    return replace(shop, source={**GIFTS, **source})


def replay(shop: Shop, first: int = 1, last: int = 3, **options: Any) -> dict[str, Any]:
    return replay_quarantine(shop.settings, june(first), june(last), home=shop.home / "var", **options)


def build_nights(shop: Shop, *days: int) -> None:
    """Have the features of these nights on record, as they are now."""
    lineage, based_on = load_lineage(shop.lake, shop.settings), None
    states = []
    for day in days:
        states.append(State(june(day), lineage.of(june(day)), based_on))
        based_on = june(day)
    record(shop.lake, states)


def test_a_mended_rule_lets_rows_out_of_quarantine_and_each_event_is_counted_once(shop: Shop) -> None:
    assert shop.counts() == [
        ("2011-06-01", "8", "6", "2", "0"),
        ("2011-06-02", "5", "4", "1", "0"),
        ("2011-06-03", "4", "4", "0", "0"),
    ]
    told = replay(mended(shop))
    assert told["days"] == ["2011-06-01", "2011-06-02"]
    assert told["left"] == 2
    assert told["by_reason"] == {"buyer is known": {"before": 1, "after": 1}, NO_TYPE: {"before": 2, "after": 0}}
    assert [row for row in shop.kept() if row[1] == "g1"] == [("2011-06-01", "g1", "A")]
    assert shop.counts() == [
        ("2011-06-01", "8", "7", "1", "0"),
        ("2011-06-02", "5", "4", "0", "1"),
        ("2011-06-03", "4", "4", "0", "0"),
    ]
    assert shop.quarantined() == [("buyer is known", NOBODY)]

    events, counts = shop.events(), shop.counts()
    again = replay(mended(shop))
    assert (shop.events(), shop.counts()) == (events, counts), "running it twice changes nothing"
    assert again["left"] == 0
    assert replay(mended(shop), reason=NO_TYPE)["days"] == [], "no row has this reason any more"


def test_a_dry_run_says_the_same_and_changes_nothing(shop: Shop) -> None:
    before = shop.events(), shop.counts(), shop.quarantined(), shop.lake.version("events")
    told = replay(mended(shop), dry_run=True)
    assert told["left"] == 2
    assert told["by_reason"][NO_TYPE] == {"before": 2, "after": 0}
    assert (shop.events(), shop.counts(), shop.quarantined(), shop.lake.version("events")) == before


def test_a_reason_picks_the_days_that_are_judged_again(shop: Shop) -> None:
    told = replay(mended(shop), reason="buyer is known")
    assert told["days"] == ["2011-06-01"]
    assert shop.counts()[1] == ("2011-06-02", "5", "4", "1", "0"), "the second day was not asked for"


def test_the_nights_whose_features_knew_less_are_named(shop: Shop) -> None:
    build_nights(shop, 1, 2, 3)
    assert replay(shop)["stale_nights"] == [], "nothing was mended"
    settings = mended(shop)
    build_nights(settings, 1, 2, 3)  # a changed configuration is no matter here
    assert replay(settings, 2, 2)["stale_nights"] == ["2011-06-02", "2011-06-03"]
    assert replay(settings)["stale_nights"] == ["2011-06-01", "2011-06-02", "2011-06-03"]


@pytest.mark.parametrize("when_missing", ["empty", "stop"])
def test_lines_whose_file_is_gone_are_judged_from_quarantine_and_other_days_are_left(
    shop: Shop, when_missing: str
) -> None:
    (shop.home / "days/2011-06-01.csv").unlink()
    told = replay(mended(shop, when_missing=when_missing), 1, 1)
    assert told["left"] == 1
    assert [row for row in shop.kept() if row[1] == "g1"] == [("2011-06-01", "g1", "A")]
    assert shop.counts()[0] == ("2011-06-01", "8", "7", "1", "0"), "what the file had is still known"
    assert shop.counts()[1] == ("2011-06-02", "5", "4", "1", "0"), "the second day has its own replay"
    before = shop.events(), shop.counts(), shop.quarantined()
    assert replay(mended(shop), 1, 1)["left"] == 0
    assert (shop.events(), shop.counts(), shop.quarantined()) == before
    replay(mended(shop))
    assert len([row for row in shop.kept() if row[1] == "g1"]) == 1


def test_a_night_whose_file_is_gone_keeps_its_events_when_it_is_run_again(shop: Shop) -> None:
    before = shop.events(), shop.counts(), shop.quarantined()
    (shop.home / "days/2011-06-02.csv").unlink()
    shop.land(2)
    assert (shop.events(), shop.counts(), shop.quarantined()) == before
    shop.deliver(2, [])
    shop.land(2)
    assert [row for row in shop.kept() if row[0] == "2011-06-02"] == [], "a header alone takes them back"


def test_a_line_of_json_or_parquet_is_judged_from_quarantine_too(tmp_path: Path, warm_engine: Engine) -> None:
    source = {"format": "jsonl", "address": "{run_date}.jsonl"}
    names = HEADER.split(",")
    rows = [json.dumps(dict(zip(names, of.split(","), strict=True)) | {"units": 1.0, "cost": 2.0}) for of in KNOWN]
    gift = json.dumps(dict(zip(names, GIFT.split(","), strict=True)) | {"units": -3.0, "cost": 2.0})
    shop = Shop(tmp_path, warm_engine, source)
    file = shop.deliver(1, [*rows, gift], header=None)
    shop.land(1)
    file.unlink()
    assert replay(mended(shop, **source), 1, 1)["left"] == 1
    assert shop.counts() == [("2011-06-01", "7", "7", "0", "0")]


def test_a_day_that_fails_its_audit_stays_as_it_was_and_the_days_before_it_are_done(shop: Shop) -> None:
    shop.deliver(2, [line("9", "", "A", "02 09:00")])
    with pytest.raises(GateError, match="quarantined_share"):
        replay(mended(shop))
    assert shop.counts()[0] == ("2011-06-01", "8", "7", "1", "0")
    assert shop.counts()[1] == ("2011-06-02", "5", "4", "1", "0")


def test_a_line_whose_header_lacks_what_is_read_now_says_so(shop: Shop) -> None:
    (shop.home / "days/2011-06-01.csv").unlink()
    settings = mended(shop, contract={"was asked": "consent = 'yes'"})
    with pytest.raises(StepError, match=r"a file of 2011-06-01 .*, which is gone, lacks the column 'consent'"):
        replay(settings, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "2011-06-03", "--to", "2011-06-01"], "--from 2011-06-03 is after --to 2011-06-01"),
        (["--from", "June", "--to", "2011-06-01"], "--from 'June' is not a day like 2011-11-30"),
        (["--to", "2011-06-01"], "required: --from"),
    ],
)
def test_a_span_that_is_none_is_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_an_empty_lake_has_nothing_to_judge_again(tmp_path: Path) -> None:
    shop = Shop(tmp_path, Engine(kind="connect", remote="sc://127.0.0.1:1"))
    told = replay(shop)
    assert (told["days"], told["left"], told["stale_nights"]) == ([], 0, [])
