"""A gate says what was expected, what was found and what is allowed; what it cannot tell has failed."""

from __future__ import annotations

import datetime as dt
import inspect
import json
from pathlib import Path

import pandas as pd
import pytest

from nightshift.config import load
from nightshift.contracts import check, gate
from nightshift.runs import GateError, Night, open_night

ROOT = Path(__file__).parents[2]
GOOD = {"sku": ["A", "B", "C", "D"], "price": [1.0, 2.0, 3.0, 4.0]}
SUITE = [
    ("expect_column_values_to_be_unique", {"column": "sku"}, "stop"),
    ("expect_column_values_to_be_between", {"column": "price", "min_value": 0, "max_value": 10}, "stop"),
    ("expect_column_mean_to_be_between", {"column": "price", "max_value": {"$PARAMETER": "dearest"}}, "warn"),
]


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return open_night(load(ROOT / "nightshift.yaml"), dt.date(2011, 11, 30), home=tmp_path)


@pytest.fixture(autouse=True)
def suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    expectations = [{"type": kind, "kwargs": kw, "meta": {"severity": severity}} for kind, kw, severity in SUITE]
    folder = tmp_path / "suites"
    folder.mkdir()
    (folder / "prices.json").write_text(json.dumps({"name": "prices", "expectations": expectations}))
    monkeypatch.setattr(gate, "SUITES", folder)
    return folder


def prices(**changes: list[object]) -> dict[str, pd.DataFrame]:
    return {"prices": pd.DataFrame({**GOOD, **changes})}


def test_what_holds_passes_and_is_written_down(night: Night) -> None:
    checks = check(night, "try", prices(), dearest=5)
    assert [found.success for found in checks] == [True, True, True]
    assert len(night.read_json("try_checks")) == 3
    assert (night.home / "reports/data_docs/2011-11-30/try/index.html").is_file()


def test_a_failed_expectation_stops_with_its_name_the_figure_and_the_allowed_range(night: Night) -> None:
    with pytest.raises(GateError) as stopped:
        check(night, "try", prices(price=[1.0, -2.0, 3.0, 400.0], sku=["A", "A", "B", "C"]), dearest=500)
    told = str(stopped.value)
    assert "prices: price: column values to be between: found 2 of 4 rows, like -2.0, allowed 0 to 10" in told
    assert "prices: sku: column values to be unique: found 2 of 4 rows, like 'A', allowed none that breaks it" in told
    assert told.endswith("Nothing of this step is committed, what was live stays live.")
    assert stopped.value.exit_code == 3
    page = night.home / "reports/data_docs/2011-11-30/try/index.html"
    assert page.is_file(), "the Data Docs say so too"
    failed = [found for found in night.read_json("try_checks") if not found["success"]]
    assert {found["observed"] for found in failed} == {"2 of 4 rows, like -2.0", "2 of 4 rows, like 'A'"}


def test_a_warning_is_told_and_does_not_stop(night: Night, caplog: pytest.LogCaptureFixture) -> None:
    checks = check(night, "try", prices(), dearest=2)
    assert [(found.success, found.severity) for found in checks] == [(False, "warn"), (True, "stop"), (True, "stop")]
    assert "price: column mean to be between: found 2.5, allowed … to 2" in caplog.text


def test_an_expectation_that_cannot_be_evaluated_has_failed(night: Night) -> None:
    with pytest.raises(GateError, match=r"price: column values to be between: found not evaluated \(.*price.*\)"):
        check(night, "try", {"prices": pd.DataFrame({"sku": ["A"]})}, dearest=5)


def test_the_last_verdict_takes_the_place_of_the_one_before(night: Night) -> None:
    with pytest.raises(GateError):
        check(night, "try", prices(price=[-1.0] * 4), dearest=5)
    check(night, "try", prices(), dearest=5)
    assert all(found["success"] for found in night.read_json("try_checks"))


def test_every_suite_that_ships_is_made_of_known_expectations_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    from great_expectations.expectations.registry import get_expectation_impl

    files = sorted(gate.SUITES.glob("*.json"))
    assert len(files) >= 7
    for file in files:
        suite = gate.load_suite(file.stem)
        assert suite["name"] == file.stem
        for expectation in suite["expectations"]:
            known = get_expectation_impl(expectation["type"])
            assert inspect.isclass(known)
            assert set(expectation["kwargs"]) <= set(known.__fields__), (file.name, expectation["type"])
            assert expectation["meta"]["severity"] in ("stop", "warn")
            assert expectation["meta"]["why"]
