"""Erased rows are counted, keep nothing of the person, and do not come back; an erasure that was killed is finished."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightshift.config.settings import Engine
from nightshift.erasure import landed
from nightshift.erasure.landed import erase_landed, refused_lines
from nightshift.erasure.people import People
from nightshift.lake import Lake, Staged, engine
from nightshift.landing.suppression import load_suppression, suppress
from tests.landing.shop import Shop, line

ANNA = People.of(["anna"])
SOURCE = {"columns": {"user": "lower(buyer)", "item": "sku", "time": "at", "quantity": "units", "price": "cost",
                      "basket": "order"}}  # fmt: skip


@pytest.fixture
def shop(warm_engine: Engine, tmp_path: Path) -> Shop:
    """Two days: Anna buys on both, and once for nothing, which is refused; her name is spelled as it comes."""
    made = Shop(tmp_path, warm_engine, SOURCE)
    bob = [line(order, "bob", sku, "01 09:05") for order, sku in (("2", "A"), ("7", "D"))]
    made.deliver(1, [line("1", "ANNA", "A", "01 09:00"), *bob])
    bob = [line(order, "bob", sku, "02 09:05") for order, sku in (("4", "B"), ("8", "D"), ("9", "E"))]
    free = [line("5", "Anna", "C", "02 09:10", cost=0), line("6", "bob", "C", "02 09:15", cost=0)]
    made.deliver(2, [line("3", "anna", "B", "02 09:00"), *bob, *free])
    for day in (1, 2):
        made.land(day)
    return made


def erase(shop: Shop) -> dict[str, int]:
    suppress(shop.home / "var", ANNA.ids)
    with engine.session(shop.engine, shop.home / "var") as spark:
        refused = refused_lines(spark, shop.lake, shop.settings.source, ANNA)
    return erase_landed(shop.lake, shop.settings, ANNA, refused)


def state(shop: Shop) -> tuple[object, ...]:
    rows = shop.lake.arrow("quarantine", ["reason", "run_date"]).to_pylist()
    contents = sorted(shop.lake.arrow("ingest_counts", ["content"])["content"].to_pylist())
    return shop.kept(), shop.counts(), sorted((row["reason"], str(row["run_date"])) for row in rows), contents


def test_her_events_and_her_refused_line_are_erased_and_only_they(shop: Shop) -> None:
    assert erase(shop) == {"events": 2, "quarantine": 1}
    assert {row[1] for row in shop.kept()} == {"2", "4", "7", "8", "9"}
    quarantine = shop.lake.pandas("quarantine")
    hers = quarantine[quarantine["reason"] == "erased"]
    assert len(hers) == 3
    assert hers.drop(columns=["reason", "run_date"]).isna().all().all()
    assert list(quarantine.loc[quarantine["reason"] != "erased", "raw"].str.contains("bob")) == [True]
    assert shop.counts() == [("2011-06-01", "3", "2", "1", "0"), ("2011-06-02", "6", "3", "3", "0")]


def test_an_erasure_killed_before_its_last_commit_ends_in_the_same_when_run_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    def killed(lake: Lake, staged: Staged) -> int:
        if staged.table == "events":
            raise KilledError
        return whole(lake, staged)

    whole = landed.commit
    with monkeypatch.context() as patched:
        patched.setattr(landed, "commit", killed)
        with pytest.raises(KilledError):
            erase(shop)
    assert {"1", "3"} < {row[1] for row in shop.kept()}
    assert erase(shop)["events"] == 2
    ended = state(shop)
    assert ended[1] == [("2011-06-01", "3", "2", "1", "0"), ("2011-06-02", "6", "3", "3", "0")]
    assert erase(shop)["events"] == 0
    assert state(shop) == ended


def test_landing_the_same_files_again_gives_what_the_erasure_left(shop: Shop) -> None:
    erase(shop)
    ended = state(shop)
    for day in (1, 2):
        shop.land(day)
    assert state(shop) == ended
    assert "anna" not in shop.lake.pandas("quarantine").to_json().lower()


def test_erased_rows_of_a_day_whose_file_is_gone_stay_counted(shop: Shop) -> None:
    erase(shop)
    ended = state(shop)
    (shop.home / shop.settings.source.address.format(run_date="2011-06-02")).unlink()
    shop.land(2)
    assert state(shop) == ended


def test_the_list_names_nobody_and_cannot_be_used_without_its_salt(tmp_path: Path) -> None:
    first = suppress(tmp_path, ["anna"])
    second = suppress(tmp_path, ["anna", "bob"])
    assert first.hashes < second.hashes
    assert second == load_suppression(tmp_path)
    assert "anna" not in (tmp_path / "erasure" / "suppressed.txt").read_text()
    assert suppress(tmp_path / "elsewhere", ["anna"]).hashes.isdisjoint(second.hashes)
    (tmp_path / "erasure" / "salt").unlink()
    with pytest.raises(FileNotFoundError, match="restore the salt"):
        load_suppression(tmp_path)
