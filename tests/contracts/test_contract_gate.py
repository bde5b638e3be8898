"""A gate says what was expected, what was found, what is allowed and what to do; what it cannot tell has failed."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nightshift.contracts import check, data_docs, expectations, gate
from nightshift.contracts.learned import Learning
from nightshift.runs import GateError, Night
from tests.contracts.prices import night_of, write_suite

GOOD = {"sku": ["A", "B", "C", "D"], "price": [1.0, 2.0, 3.0, 4.0]}
SUITE = [
    ("expect_column_values_to_be_unique", {"column": "sku"}, {"severity": "stop", "do": "Ask the source."}),
    ("expect_column_values_to_be_between", {"column": "price", "min_value": 0, "max_value": 10}, {}),
    (
        "expect_column_mean_to_be_between",
        {"column": "price", "max_value": {"$PARAMETER": "most"}},
        {"severity": "warn"},
    ),
]


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return night_of(tmp_path)


@pytest.fixture(autouse=True)
def suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "suites"
    write_suite(folder, "prices", SUITE)
    monkeypatch.setattr(expectations, "SUITES", folder)
    return folder


def prices(**changes: list[object]) -> dict[str, pd.DataFrame]:
    return {"prices": pd.DataFrame({**GOOD, **changes})}


def site(night: Night) -> Path:
    return night.home / "reports/data_docs/2011-11-30"


def test_what_holds_passes_and_is_written_down(night: Night) -> None:
    checks = check(night, "try", prices(), most=5)
    assert [found.success for found in checks] == [True, True, True]
    assert len(night.read_json("try_checks")) == 3
    assert checks.summary() == {"expectations": 3, "warnings": 0, "validation_seconds": round(checks.seconds, 2)}
    assert not site(night).exists(), "Data Docs take a while: the night's report makes them"
    assert data_docs.build(night) == []
    assert (site(night) / "index.html").is_file()


def test_several_suites_are_one_gate(night: Night, suites: Path) -> None:
    write_suite(suites, "costs", SUITE)
    checks = check(night, "try", {**prices(), "costs": pd.DataFrame(GOOD).assign(price=9.0)}, most=10)
    assert sorted((found.suite, found.success) for found in checks) == [("costs", True)] * 3 + [("prices", True)] * 3


def test_an_advice_that_ends_a_message_is_one_sentence(night: Night) -> None:
    with pytest.raises(GateError, match=r"-> Ask the source\. Nothing of this step is committed"):
        check(night, "try", prices(sku=["A", "A", "B", "C"]), most=500)


def test_a_failed_expectation_stops_with_its_name_the_figure_the_allowed_range_and_what_to_do(night: Night) -> None:
    with pytest.raises(GateError) as stopped:
        check(night, "try", prices(price=[1.0, -2.0, 3.0, 400.0], sku=["A", "A", "B", "C"]), most=500)
    told = str(stopped.value)
    assert "prices: price: column values to be between: found 2 of 4 rows, like -2.0, allowed 0 to 10" in told
    unique = "prices: sku: column values to be unique: found 2 of 4 rows, like 'A', allowed none that breaks it"
    assert f"{unique} -> Ask the source." in told
    assert told.endswith("allowed 0 to 10. Nothing of this step is committed, what was live stays live.")
    assert stopped.value.exit_code == 3
    assert (site(night) / "index.html").is_file(), "the Data Docs say so too, at once"
    assert any("Ask the source." in page.read_text() for page in site(night).rglob("*.html"))
    failed = [found for found in night.read_json("try_checks") if not found["success"]]
    assert {found["observed"] for found in failed} == {"2 of 4 rows, like -2.0", "2 of 4 rows, like 'A'"}


def test_a_warning_is_told_and_does_not_stop(night: Night, caplog: pytest.LogCaptureFixture) -> None:
    checks = check(night, "try", prices(), most=2)
    assert [(found.success, found.severity) for found in checks] == [(False, "warn"), (True, "stop"), (True, "stop")]
    assert "price: column mean to be between: found 2.5, allowed … to 2" in caplog.text


CANNOT = [
    ({"column": "nope", "min_value": 0}, "between", r"not evaluated \(.*nope.*\)"),
    ({"column": "sku", "min_value": 0}, "between", r"sku: .* not evaluated \(.*compare.*\)"),
    ({"column": "price", "min_value": 0, "row_condition": "x"}, "between", "is not measured here with row_condition"),
    ({"column": "price", "min_value": {"$PARAMETER": "gone"}}, "between", "the parameter 'gone' was not given"),
    ({"column": "sku", "regex": "A"}, "match_regex", "expect_column_values_to_match_regex is not measured here"),
    ({"column": "price"}, "between", "neither min_value nor max_value is given"),
    ({"column": "price", "min_value": [1]}, "between", "is a list, of which there is no SQL here"),
    ({}, "not_be_null", "column"),
]


@pytest.mark.parametrize(("kwargs", "kind", "said"), CANNOT)
def test_an_expectation_that_cannot_be_evaluated_has_failed_and_the_others_are_evaluated(
    night: Night, suites: Path, kwargs: dict[str, Any], kind: str, said: str
) -> None:
    kind = kind if kind.startswith(("not", "match")) else f"be_{kind}"
    write_suite(suites, "prices", [(f"expect_column_values_to_{kind}", kwargs, {}), *SUITE])
    with pytest.raises(GateError, match=said):
        check(night, "try", prices(), most=5)
    assert [found["success"] for found in night.read_json("try_checks")] == [False, True, True, True]


def test_columns_of_a_suites_own_are_computed_and_a_broken_one_fails_the_suite(night: Night, suites: Path) -> None:
    between = ("expect_column_values_to_be_between", {"column": "cents", "max_value": 400}, {})
    write_suite(suites, "prices", [between], {"cents": "price * $hundred"})
    check(night, "try", prices(), hundred=100)
    with pytest.raises(GateError, match="the parameter 'hundred' was not given"):
        check(night, "try", prices())
    write_suite(suites, "prices", [between], {"cents": "nonsense(price)"})
    with pytest.raises(GateError, match=r"not evaluated \(.*nonsense"):
        check(night, "try", prices())


def test_rows_in_parquet_files_are_not_loaded_and_none_is_no_row(night: Night, tmp_path: Path) -> None:
    pd.DataFrame(GOOD).to_parquet(tmp_path / "a'1.parquet")
    pd.DataFrame(GOOD).to_parquet(tmp_path / "2.parquet")
    with pytest.raises(GateError, match=r"sku: column values to be unique: found 8 of 8 rows, like 'A'"):
        check(night, "try", {"prices": sorted(tmp_path.glob("*.parquet"))}, most=5)
    with pytest.raises(GateError, match=r"not evaluated \(.*gone.parquet"):
        check(night, "try", {"prices": [tmp_path / "gone.parquet"]}, most=5)
    checks = check(night, "try", {"prices": []}, most=5)
    mean = next(found for found in checks if "mean" in found.expectation)
    assert (mean.success, mean.observed) == (False, "nothing"), "of no rows there is no mean, and that is told"
    assert data_docs.build(night) == []


def test_the_last_verdict_takes_the_place_of_the_one_before(night: Night) -> None:
    with pytest.raises(GateError):
        check(night, "try", prices(price=[-1.0] * 4), most=5)
    check(night, "try", prices(), most=5)
    assert all(found["success"] for found in night.read_json("try_checks"))
    assert not list(night.folder.glob("*.spill"))


def test_the_message_comes_through_when_the_results_cannot_be_kept(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(gate, "record", broken)
    with pytest.raises(GateError, match=r"price: .* found 4 of 4 rows, like -1.0, allowed 0 to 10"):
        check(night, "try", prices(price=[-1.0] * 4), most=5)
    with pytest.raises(OSError, match="no space left"):
        check(night, "try", prices(), most=5)


def test_a_verdict_that_gx_does_not_share_is_told(night: Night) -> None:
    check(night, "try", prices(), most=5)
    told = night.read_json("try_figures")
    told[1]["figures"]["column_values.between.unexpected_count"] = 3
    night.write_json("try_figures", told)
    (sentence,) = data_docs.build(night)
    assert sentence.startswith("try: prices: expect_column_values_to_be_between")
    assert sentence.endswith("GX says False, the gate True")


def test_every_suite_that_ships_is_made_of_known_expectations_with_a_reason_and_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    from great_expectations.core import ExpectationSuite
    from great_expectations.expectations.registry import get_expectation_impl

    files = sorted(expectations.SUITES.glob("*.json"))
    assert len(files) >= 11
    for file in files:
        raw = json.loads(file.read_text())
        assert len(ExpectationSuite(**raw).expectations) == len(raw["expectations"]), "GX takes it as it is"
        suite = expectations.load_suite(file.stem)
        assert raw["name"] == file.stem
        for expectation in suite.expectations:
            known = get_expectation_impl(expectation.type)
            assert inspect.isclass(known)
            assert set(expectation.kwargs) <= set(known.__fields__), (file.name, expectation.type)
            assert expectation.severity in ("stop", "warn")
            assert expectation.why
            assert expectation.do
            learned = [
                value for value in expectation.kwargs.values() if isinstance(value, dict) and "$LEARNED" in value
            ]
            assert bool(learned) == isinstance(expectation.learning, Learning), (file.name, expectation.words)
