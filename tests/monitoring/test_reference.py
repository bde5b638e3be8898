import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest

from nightshift.monitoring.drift import Limits, compare_frames
from nightshift.monitoring.reference import (
    ReferenceError,
    file_of,
    keep,
    of_served_model,
    parse,
    read,
    reference,
    write,
)
from nightshift.monitoring.windows import Window
from tests.monitoring import plausible

WINDOW = Window(dt.date(2011, 11, 1), dt.date(2011, 11, 28))


def frames() -> dict[str, pd.DataFrame]:
    random = np.random.default_rng(1)
    users = {"user_id": [str(at) for at in range(500)], "events_7d": random.poisson(3, 500), "run_date": WINDOW.end}
    country = random.choice(["UK", "France", None], 500)
    lists = {"score": random.normal(size=500), "source": "repeat"}
    return {"user_features": pd.DataFrame({**users, "country": country}), "lists": pd.DataFrame(lists)}


def test_what_identifies_or_dates_a_row_is_not_compared():
    found = reference(frames(), WINDOW)["frames"]
    assert {name: sorted(columns) for name, columns in found.items()} == {
        "lists": ["score", "source"],
        "user_features": ["country", "events_7d"],
    }


def test_a_reference_comes_back_from_its_file_as_it_was(tmp_path):
    write(tmp_path, reference(frames(), WINDOW))
    found = read(tmp_path, "tonight's model")
    assert found.window == WINDOW
    assert all(finding.psi == 0 for finding in compare_frames(found.frames, _compared(frames()), Limits()))


def test_the_same_rows_make_the_same_bytes(tmp_path):
    once = write(tmp_path, reference(frames(), WINDOW)).read_bytes()
    shuffled = {name: rows.sample(frac=1, random_state=2) for name, rows in reversed(frames().items())}
    assert write(tmp_path, reference(shuffled, WINDOW)).read_bytes() == once


def test_a_model_without_a_reference_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no .*reference\.json: run the night again, or give "):
        read(tmp_path, "a model")


@pytest.mark.parametrize(
    "damage", [{"format": 99}, [], {"format": 1, "window": ["today"], "frames": {}}, {"format": 1, "window": None}]
)
def test_what_is_no_reference_is_refused(damage, tmp_path):
    file_of(tmp_path).write_text(json.dumps(damage))
    with pytest.raises(ReferenceError, match=r"reference\.json: .*drift reference"):
        read(tmp_path, "a model")


def test_bins_and_counts_that_do_not_fit_are_refused():
    value = json.loads(json.dumps(reference(frames())))
    value["frames"]["lists"]["score"]["counts"].pop()
    with pytest.raises(ReferenceError, match="11 bins"):
        parse(value, "a model")


def test_the_reference_is_that_of_the_model_the_verdict_names(tmp_path):
    older = plausible.night(tmp_path, dt.date(2011, 11, 1))
    plausible.put_events(tmp_path, plausible.events(300, dt.date(2011, 10, 5), 28))
    (older.folder / "model").mkdir(parents=True)
    keep(older, older.folder / "model")
    tonight = plausible.night(tmp_path)
    served = {"name": "shop", "version": "3", "kind": "two_stage", "folder": "nights/2011-11-01/model"}
    tonight.write_json("verdict", {"accepted": False, "served": served})
    tonight.write_json("publish", {"moved": True})
    failed = plausible.night(tmp_path, dt.date(2011, 12, 1))
    failed.write_json("verdict", {"accepted": True, "served": {"version": "4"}})
    failed.write_json("publish", {"moved": False})  # never live

    found = of_served_model(tmp_path, dt.date(2011, 12, 1))
    assert found.window == Window(dt.date(2011, 10, 5), dt.date(2011, 11, 1))
    assert found.origin == "two_stage version 3, served by the night of 2011-11-30"


def test_where_no_night_was_live_there_is_no_reference(tmp_path):
    plausible.night(tmp_path).write_json("publish", {"moved": False})
    with pytest.raises(FileNotFoundError, match="no night up to 2011-11-30 is or was live"):
        of_served_model(tmp_path, plausible.RUN_DATE)


def test_a_night_that_makes_its_lists_again_keeps_how_the_new_ones_look(tmp_path):
    tonight = plausible.night(tmp_path)
    plausible.put_lists(tonight, 50)
    first = keep(tonight, tmp_path).read_bytes()
    plausible.put_lists(tonight, 50, shift=5.0)
    assert keep(tonight, tmp_path).read_bytes() != first


def test_a_model_keeps_the_reference_of_the_first_night_it_served(tmp_path):
    plausible.put_events(tmp_path, plausible.events(600, dt.date(2011, 10, 5), 56))
    first = keep(plausible.night(tmp_path, dt.date(2011, 11, 1)), tmp_path).read_bytes()
    assert keep(plausible.night(tmp_path), tmp_path).read_bytes() == first


def _compared(rows: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {name: frame.drop(columns=["user_id", "run_date"], errors="ignore") for name, frame in rows.items()}
