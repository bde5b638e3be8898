import datetime as dt

import pytest

from nightshift.monitoring.windows import Window, frames, newest_event
from tests.monitoring import plausible

DAY = dt.timedelta(days=1)


def test_a_window_is_written_as_its_two_days():
    window = Window.parse("2011-10-01..2011-10-28")
    assert (window.days, str(window)) == (28, "2011-10-01..2011-10-28")
    assert window == Window.last(dt.date(2011, 10, 28), 28)
    assert Window.parse("2011-10-01").days == 1


@pytest.mark.parametrize("text", ["", "yesterday", "2011-10-01..", "2011-10-01..2011-13-01", "2011-10-01 2011-10-02"])
def test_what_is_no_window_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"not a window of days like 2011-10-01\.\.2011-10-28"):
        Window.parse(text)


def test_a_window_does_not_end_before_it_starts():
    with pytest.raises(ValueError, match="ends on or after its start"):
        Window.parse("2011-10-02..2011-10-01")


def test_shared_days_are_counted():
    october = Window.parse("2011-10-01..2011-10-31")
    assert october.overlap(Window.parse("2011-10-30..2011-11-05")) == 2
    assert october.overlap(Window.parse("2011-11-01..2011-11-05")) == 0


def test_a_window_has_its_days_events_and_its_latest_features_and_lists(tmp_path):
    last = plausible.RUN_DATE
    plausible.put_events(tmp_path, plausible.events(900, last - 29 * DAY, 30))
    for back, users in ((0, 100), (5, 200), (20, 300)):
        plausible.put_features(tmp_path, last - back * DAY, users)
        plausible.put_lists(plausible.night(tmp_path, last - back * DAY), users, size=3)

    found = frames(plausible.night(tmp_path), Window(last - 9 * DAY, last - 2 * DAY))
    assert sorted(found) == ["events", "lists", "user_features"]
    assert 0 < len(found["events"]) < 900
    assert len(found["user_features"]) == 200
    assert len(found["lists"]) == 600
    assert sorted(found["events"]) == ["country", "event_type", "kind", "price", "quantity", "title"]
    assert "state" not in found["user_features"]


def test_what_came_in_after_the_run_date_is_not_looked_at(tmp_path):
    on_time = plausible.events(300, dt.date(2011, 11, 1), 10)
    late = plausible.events(50, dt.date(2011, 11, 1), 10).assign(run_date=dt.date(2011, 11, 20))
    plausible.put_events(tmp_path, on_time)
    plausible.put_events(tmp_path, late)
    window = Window(dt.date(2011, 11, 1), dt.date(2011, 11, 10))
    assert len(frames(plausible.night(tmp_path, dt.date(2011, 11, 15)), window)["events"]) == 300
    assert len(frames(plausible.night(tmp_path, dt.date(2011, 11, 20)), window)["events"]) == 350


def test_an_empty_home_has_no_frames(tmp_path):
    window = Window.last(plausible.RUN_DATE, 28)
    assert frames(plausible.night(tmp_path), window) == {}
    assert newest_event(plausible.night(tmp_path), window.end) is None


def test_the_newest_event_may_lie_before_the_window_and_not_in_the_newest_file(tmp_path):
    plausible.put_events(tmp_path, plausible.events(300, dt.date(2011, 10, 1), 10))
    late = plausible.events(50, dt.date(2011, 9, 1), 5).assign(run_date=dt.date(2011, 10, 12))
    plausible.put_events(tmp_path, late)
    newest = newest_event(plausible.night(tmp_path), plausible.RUN_DATE)
    assert newest == dt.datetime(2011, 10, 10, 12, tzinfo=dt.UTC)
    assert newest_event(plausible.night(tmp_path), dt.date(2011, 9, 2)) == dt.datetime(2011, 9, 2, 12, tzinfo=dt.UTC)
