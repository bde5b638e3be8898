import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from jobs import command
from jobs.report import report
from nightshift.monitoring.report.night import STEPS, gather
from nightshift.runs import StepError, open_night
from tests.monitoring import plausible
from tests.monitoring.read_page import check

AFTER_INGEST = dict.fromkeys([*STEPS[1:], "verdict"])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    plausible.put_night(home)
    return home


@pytest.fixture
def altered(home, tmp_path):
    """Makes a night of its own of the good one, with other summaries; None takes one away."""

    def alter(**changed):
        shutil.copytree(home, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("reports"))
        night = plausible.night(tmp_path)
        for name, summary in changed.items():
            file = night.folder / f"{name}.json"
            file.unlink() if summary is None else file.write_text(json.dumps(summary))
        return night

    return alter


@pytest.fixture(scope="module")
def good(home):
    """The good night after another, its page and what the job said."""
    night = plausible.night(home)
    plausible.put_lists(plausible.night(home, plausible.RUN_DATE - dt.timedelta(days=1)), seed=5)
    docs = home / "reports" / "data_docs" / "2011-11-30"
    docs.mkdir(parents=True)
    (docs / "index.html").touch()
    summary = report(night)
    return night, summary, Path(summary["report"]).read_text(encoding="utf-8")


def test_a_good_night_has_every_section_and_needs_nothing_from_elsewhere(good):
    _, summary, html = good
    page = check(html)
    assert page.headings == [
        "Stages", "Data", "Checks", "Training", "Quality", "Lists", "Three customers", "What made it",
    ]  # fmt: skip
    assert summary["headline"] == "Published, new model promoted"
    assert summary["stopped_at"] is None


def test_the_page_says_what_the_steps_left(good):
    _, _, html = good
    text = check(html).text
    for figure in (
        "Night of Wednesday 30 November 2011",
        "manual__2011-11-30T02-00-00",
        "9f2c4e71d0ab9f2c",
        "3,091 rows in = 2,441 kept + 624 quarantined + 26 duplicates",
        "customer is known 590",
        "recall@100 against exact search is 99.31 %",
        "ndcg 0.1472 beats repeat 0.1213, the best baseline",
        "two stage served 0.1472 0.1943",
        "+ cap: by kind, most 3 0.1431 0.0041 ±0.0006",
        "user_features 12",
        "quarantined_share: max to be between 0.412 0 to 0.4",
        "1 of 4 gave a warning",
        "1 min 55 s",
    ):
        assert figure in text, figure


def test_the_lists_are_measured_against_those_before(good):
    night, _, html = good
    lists = pd.read_parquet(night.folder / "lists" / "lists.parquet")
    before = pd.read_parquet(night.home / "nights" / "2011-11-29" / "lists" / "lists.parquet")
    shared = lists.merge(before, on=["user_id", "item_id"])
    listed = lists["item_id"].value_counts()
    text = check(html).text
    assert f"Same as before {len(shared) / len(lists):.1%} of a list, against 2011-11-29".replace("%", " %") in text
    assert f"Coverage {len(listed) / 150:.1%} of 150 sellable items".replace("%", " %") in text
    assert f"Ten items take {listed.head(10).sum() / len(lists):.1%} of all places".replace("%", " %") in text
    for source, share in lists["source"].value_counts(normalize=True).items():
        assert f"{source.replace('_', ' ')} {share * 100:.1f} %" in text


def test_three_customers_are_shown_with_what_they_bought_and_what_they_get(good):
    night, summary, html = good
    text = check(html).text
    lists = pd.read_parquet(night.folder / "lists" / "lists.parquet")
    assert len(summary["customers"]) == 3
    for user in summary["customers"]:
        assert f"Customer {user}" in text
        assert lists[lists["user_id"] == user]["reason"].isin(reason for reason, _ in plausible.REASONS).all()
    assert "Buys often" in text
    assert "Bought before, latest first" in text
    assert "You bought this 3 times, last 12 days ago" in text


def test_a_hostile_title_is_text_and_nothing_else(good):
    _, _, html = good
    page = check(html)
    assert "<script>alert" not in html
    assert plausible.HOSTILE in page.text


def test_the_data_docs_are_linked(good):
    _, _, html = good
    assert "../data_docs/2011-11-30/index.html" in check(html).links


def test_the_same_night_makes_the_same_page(good):
    night, summary, html = good
    assert report(night)["bytes"] == summary["bytes"]
    assert Path(summary["report"]).read_text(encoding="utf-8") == html
    assert [file.name for file in Path(summary["report"]).parent.iterdir()] == ["2011-11-30.html"]


def test_a_failed_gate_is_named_with_its_figure_and_range(altered):
    night = altered(**AFTER_INGEST)
    night.write_json("validate_events_checks", plausible.checks(failing=True))
    summary = report(night)
    page = check(Path(summary["report"]).read_text(encoding="utf-8"))
    assert summary["stopped_at"] == "validate_events"
    assert "Failed at validate events" in page.text
    assert "price: values to be between: found 37 of 2441 rows, like -11062.06, allowed 0 to 100000" in page.text
    assert page.headings == ["Stages", "Data", "Checks", "What made it"]


def test_a_second_gate_of_a_step_is_shown_and_may_be_what_failed(altered):
    night = altered()
    night.write_json("train_ranker_checks", plausible.checks())
    page = check(Path(report(night)["report"]).read_text(encoding="utf-8"))
    assert "train ranker ! 1 of 4 gave a warning" in page.text
    night = altered(**dict.fromkeys(STEPS[STEPS.index("train") :]), verdict=None)
    night.write_json("train_ranker_checks", plausible.checks(failing=True))
    summary = report(night)
    assert summary["stopped_at"] == "train"
    assert "Failed at train" in check(Path(summary["report"]).read_text(encoding="utf-8")).text


def test_a_gate_that_failed_in_a_run_before_this_one_is_not_held_against_it(altered):
    night = altered(**AFTER_INGEST)
    night.write_json("validate_events_checks", plausible.checks(failing=True))
    os.utime(night.folder / "validate_events_checks.json", (0, 0))
    summary = report(night)
    assert summary["headline"] == "Stopped before validate events"


def test_a_step_that_raised_is_named_with_its_error(altered):
    missing = dict.fromkeys(
        ["train", "build_index", "evaluate", "infer", "validate_lists", "promote", "publish", "verdict"]
    )
    night = altered(**missing)
    night.write_json(
        "failed", {"step": "train", "run_id": plausible.RUN_ID, "error": "no positive events before <cut>"}
    )
    page = check(Path(report(night)["report"]).read_text(encoding="utf-8"))
    assert "Failed at train. no positive events before <cut>" in page.text


@pytest.mark.parametrize(("failed_at", "headline"), [(0, "Published, new model promoted"), (2e9, "Failed at infer")])
def test_of_a_failure_and_a_success_of_one_step_the_later_counts(failed_at, headline, altered):
    night = altered(failed={"step": "infer", "run_id": plausible.RUN_ID, "error": "killed"})
    os.utime(night.folder / "failed.json", (failed_at, failed_at))
    assert gather(night).headline[1] == headline


def refuse(tmp_path, monkeypatch, run_id="scheduled"):
    """Have ingest fail, as a process does."""

    def ingest(night):
        raise StepError("days/2011-11-30.csv is not there")

    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    with pytest.raises(SystemExit):
        command.run(ingest, None, argv=["--run-date", str(plausible.RUN_DATE), "--run-id", run_id])


def test_a_report_by_hand_says_why_a_night_failed_at_its_first_step(tmp_path, monkeypatch):
    refuse(tmp_path, monkeypatch)
    by_hand = open_night(plausible.night(tmp_path).settings, plausible.RUN_DATE, home=tmp_path)
    summary = command.execute(report, by_hand, time.monotonic())
    assert (summary["headline"], summary["stopped_at"]) == ("Failed at ingest", "ingest")
    page = check(Path(summary["report"]).read_text(encoding="utf-8"))
    assert "Failed at ingest. days/2011-11-30.csv is not there" in page.text
    assert "scheduled" in page.text


def test_a_report_by_hand_is_of_the_run_that_failed_last(altered, tmp_path, monkeypatch):
    good = altered()
    by_hand = open_night(good.settings, plausible.RUN_DATE, home=tmp_path)
    refuse(tmp_path, monkeypatch)
    assert gather(by_hand).headline == ("bad", "Failed at ingest")
    assert gather(good).headline[1] == "Published, new model promoted"
    good.write_json("failed", {"step": "drift_report", "run_id": "scheduled", "error": "of no concern here"})
    assert gather(by_hand).headline[1] == "Published, new model promoted"


def test_a_run_that_was_published_beside_its_id_is_live(altered):
    publish = plausible.summaries()["publish"]
    beside = f"2011-11-30/{plausible.RUN_ID}.9f2c4e71"
    publish |= {"run": beside, "live": beside}
    assert gather(altered(publish=publish)).is_live
    assert not gather(altered(publish={**publish, "live": f"{beside}0"})).is_live


def test_what_an_earlier_run_left_is_not_shown_as_this_runs(altered):
    stale = {**plausible.summaries()["publish"], "run_id": "the-run-before"}
    night = altered(promote=None, publish=stale)
    summary = report(night)
    page = check(Path(summary["report"]).read_text(encoding="utf-8"))
    assert summary["headline"] == "Stopped before promote"
    assert "left by the-run-before" in page.text
    assert "9f2c4e71" not in page.text


def test_a_refused_model_and_a_run_that_is_not_live_are_told(altered):
    table = [*plausible.summaries()["verdict"]["table"], {"model": "champion", "ndcg": 0.16}]
    served = {"name": "shop-recommender", "version": "6", "kind": "two_stage"}
    verdict = {"accepted": False, "reasons": ["recall fell to 0.01"], "table": table, "served": served}
    publish = {**plausible.summaries()["publish"], "live": "2011-12-01/b", "why": "2011-12-01 is newer"}
    summary = report(altered(verdict=verdict, publish=publish))
    text = check(Path(summary["report"]).read_text(encoding="utf-8")).text
    assert summary["headline"] == "Complete, but not live, new model refused"
    assert "This run is published, and not live. 2011-12-01 is newer Live is 2011-12-01/b" in text
    assert "The new model is refused. Lists are made by two stage version 6. recall fell to 0.01" in text
    assert "champion served 0.1600" in text


@pytest.mark.parametrize("gone", ["ingest", "infer", "verdict"])
def test_a_page_is_made_whatever_is_missing(gone, altered):
    night = altered(**{gone: None})
    check(Path(report(night)["report"]).read_text(encoding="utf-8"))


def test_summaries_without_figures_make_a_page_without_them(altered):
    bare = {name: {"run_id": plausible.RUN_ID} for name in [*STEPS, "verdict"]}
    night = altered(**bare)
    (night.folder / "validate_events_checks.json").write_text("{not json")
    (night.folder / "lists" / "items.parquet").unlink()
    page = check(Path(report(night)["report"]).read_text(encoding="utf-8"))
    assert "rows in" not in page.text
    assert "Coverage" not in page.text


def test_a_night_of_which_nothing_is_there_still_has_a_page(tmp_path):
    summary = report(plausible.night(tmp_path))
    page = check(Path(summary["report"]).read_text(encoding="utf-8"))
    assert summary["headline"] == "Stopped before ingest"
    assert page.headings == ["Stages", "What made it"]


def test_the_command_line_ends_with_the_page_as_json(altered, tmp_path):
    altered()
    line = [sys.executable, "-m", "jobs.report", "--run-date", "2011-11-30", "--run-id", plausible.RUN_ID]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        line,
        cwd=root,
        env={**os.environ, "NIGHTSHIFT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert Path(summary["report"]).is_file()
    assert summary["seconds"] < 20
