import datetime as dt
from pathlib import Path

import pytest

from jobs.drift_report import drift_report
from nightshift.lake import Lake
from nightshift.monitoring import reference
from nightshift.monitoring.windows import Window
from nightshift.runs import StepError
from tests.monitoring import plausible
from tests.monitoring.read_page import check

TRAINED = dt.date(2011, 10, 31)
OCTOBER, NOVEMBER = Window.parse("2011-10-04..2011-10-31"), Window.parse("2011-11-03..2011-11-30")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A shop whose model of October is served still; in November prices rise, Spain comes and EIRE goes."""
    home = tmp_path_factory.mktemp("home")
    then = plausible.night(home, TRAINED)
    plausible.put_events(home, plausible.events(3000, OCTOBER.start, 28, price=2.0))
    plausible.put_features(home, TRAINED)
    plausible.put_lists(then)
    (then.folder / "model").mkdir()
    reference.keep(then, then.folder / "model")
    then.write_json("publish", {"moved": True})
    then.write_json("verdict", {"served": {"name": "two_stage", "version": 6}})
    now = ["United Kingdom", "Spain", "Germany", "France"]
    plausible.put_events(home, plausible.events(3000, NOVEMBER.start, 28, price=3.5, countries=now, seed=3))
    plausible.put_features(home, plausible.RUN_DATE, seed=9)
    plausible.put_lists(plausible.night(home), seed=4)
    return home


def results(home: Path, windows: str = "2011-11-30") -> dict[str, dict]:
    rows = Lake(home / "lake").pandas("drift_results", where=[("windows", "=", windows)])
    return {f"{row['frame']}.{row['feature']}": row for row in rows.to_dict("records")}


def test_what_was_planted_is_found_and_nothing_else(home):
    summary = drift_report(plausible.night(home))
    found = results(home)
    assert {name for name, row in found.items() if row["verdict"] == "alert"} == {"events.price", "events.country"}
    assert {name for name, row in found.items() if row["verdict"] == "insufficient data"} == set()
    assert [line.split(":")[0] for line in summary["alerts"]] == ["events.country", "events.price"]
    assert '["Spain"' in found["events.country"]["new_values"]
    assert '["EIRE"' in found["events.country"]["lost_values"]
    assert found["lists.score"]["psi"] < 0.1
    assert summary["reference"] == str(OCTOBER)


def test_the_page_shows_it_and_needs_nothing_from_elsewhere(home):
    page = check(Path(drift_report(plausible.night(home))["report"]).read_text(encoding="utf-8"))
    assert page.headings[0].strip() in ("Alerts", "")
    assert "2 alerts" in page.text
    assert "New: Spain" in page.text
    assert "two_stage version 6, served by the night of 2011-10-31" in page.text
    assert page.tags["svg"] > 10


def test_two_windows_chosen_by_hand_agree_with_the_stored_bins_and_stand_beside_them(home):
    stored = drift_report(plausible.night(home))
    by_hand = drift_report(plausible.night(home), reference=str(OCTOBER), current=str(NOVEMBER))
    assert by_hand["alerts"] == stored["alerts"]
    assert by_hand["report"] != stored["report"]
    assert len(results(home)) == len(results(home, f"2011-11-30_{OCTOBER}_{NOVEMBER}")) > 10
    drift_report(plausible.night(home))  # again
    assert len(results(home)) == stored["verdicts"]["alert"] + stored["verdicts"]["warn"] + stored["verdicts"]["ok"]


def test_a_window_compared_with_itself_has_not_drifted_and_says_why(home):
    summary = drift_report(plausible.night(home, TRAINED))
    assert summary["verdicts"]["alert"] == summary["verdicts"]["warn"] == 0
    text = check(Path(summary["report"]).read_text(encoding="utf-8")).text
    assert "The windows share 28 of 28 days." in text


def test_without_a_reference_nothing_is_guessed(tmp_path):
    plausible.put_events(tmp_path, plausible.events(900, NOVEMBER.start, 28))
    summary = drift_report(plausible.night(tmp_path))
    text = check(Path(summary["report"]).read_text(encoding="utf-8")).text
    assert summary["verdicts"] == {"alert": 0, "warn": 0, "insufficient data": 6, "ok": 1}  # freshness needs none
    assert not summary["alerts"]
    assert "There is no reference." in text


def test_a_window_without_rows_is_insufficient_data(home):
    summary = drift_report(plausible.night(home), str(OCTOBER), "2011-06-01..2011-06-28")
    assert summary["verdicts"]["ok"] == summary["verdicts"]["warn"] == summary["verdicts"]["alert"] == 0


def test_retraining_is_asked_for_where_it_is_configured(home):
    assert not drift_report(plausible.night(home))["retrain"]
    assert drift_report(plausible.night(home, retrain=True))["retrain"]


def test_a_webhook_that_cannot_be_reached_is_on_the_page(home, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    summary = drift_report(plausible.night(home, webhook="http://127.0.0.1:9/x"))
    assert summary["webhook"].startswith("failed: http://127.0.0.1 could not be reached")
    assert "could not be reached" in Path(summary["report"]).read_text(encoding="utf-8")


def test_a_window_that_is_none_is_refused_with_an_example(tmp_path):
    with pytest.raises(StepError, match=r"'lately' is not a window of days like 2011-10-01\.\.2011-10-28"):
        drift_report(plausible.night(tmp_path), current="lately")
