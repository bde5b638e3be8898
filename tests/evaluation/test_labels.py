import datetime as dt

import pytest

from nightshift.evaluation.labels import labels
from tests import shop

CUT, END = shop.TEST_CUTOFF, shop.RUN_DATE


def test_labels_are_of_the_days_after_the_cut_off_up_to_the_last():
    known = shop.interactions()
    days = [known["event_date"].iloc[0] + dt.timedelta(days=n) for n in range(-200, 200)]
    moved = known.assign(event_date=[day for day, _ in zip(days * 20, range(len(known)), strict=False)])
    moved["run_date"] = moved["event_date"]
    found = labels(moved, CUT, END, shop.snapshots()[1])
    window = moved[(moved["event_date"] >= CUT + dt.timedelta(days=1)) & (moved["event_date"] <= END)]
    assert set(map(tuple, found.to_numpy())) == set(map(tuple, window[["user_id", "item_id"]].to_numpy()))


def test_a_stranger_and_a_new_item_are_no_labels_and_a_pair_counts_once():
    day = (END - shop.FIRST).days
    rows = [
        ("l00", "MUG00", day, "1"),
        ("l00", "MUG00", day, "2"),
        ("new", "MUG00", day, "3"),
        ("l00", "NEW", day, "4"),
    ]
    assert labels(shop.events(rows), CUT, END, shop.snapshots()[1]).to_numpy().tolist() == [["l00", "MUG00"]]


def test_what_was_delivered_after_the_last_day_is_not_known_yet():
    known = shop.interactions()
    late = known.assign(event_date=END, run_date=END + dt.timedelta(days=1))
    assert len(labels(late.assign(run_date=END), CUT, END, shop.snapshots()[1]))
    assert labels(late, CUT, END, shop.snapshots()[1]).empty


def test_features_that_have_seen_the_labels_are_refused():
    with pytest.raises(ValueError, match="have seen"):
        labels(shop.interactions(), CUT, END, known=shop.snapshots()[2])
