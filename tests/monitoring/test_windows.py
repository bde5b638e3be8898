import datetime as dt

import pytest

from nightshift.monitoring.windows import Window, frames, newest_event, nights_live
from nightshift.publishing.pointer import put_pointer, read_pointer
from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import open_storage
from tests.monitoring import plausible
from tests.publishing.planted import NOW, day, publish_live

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


def test_lists_that_have_not_passed_their_gate_are_compared_with_nothing(tmp_path):
    nights = [plausible.night(tmp_path, plausible.RUN_DATE - back * DAY) for back in range(3)]
    for night, users in zip(nights, (100, 200, 300), strict=True):
        plausible.put_lists(night, users, size=3)
    (nights[0].folder / "validate_lists.json").unlink()  # its gate has stopped it
    passed = nights[1].read_json("validate_lists")
    plausible.put_lists(nights[1], 250, size=3)  # made again since
    nights[1].write_json("validate_lists", passed)
    window = Window.last(plausible.RUN_DATE, 28)
    assert len(frames(nights[0], window)["lists"]) == 900
    assert len(frames(nights[0], window, unjudged=True)["lists"]) == 300


def put_live(home, storage, number, run_id="nightly", moved=None):
    move = publish_live(storage, day(number), run_id, mark=str(number))
    told = {"run": f"{day(number)}/{run_id}", "moved": move.moved if moved is None else moved}
    at = {"surface": "home", "store": storage.address, "endpoint": None}
    plausible.night(home, day(number)).write_json("publish", {**told, **at})


def test_a_night_that_was_rolled_back_or_never_live_is_not_among_the_live_ones(tmp_path):
    storage = open_storage((tmp_path / "published").as_uri())
    for number in (26, 27, 28, 29):
        put_live(tmp_path, storage, number, moved=number != 27 and None)  # the 27th was published again by a retry
    put_live(tmp_path, storage, 25)  # a backfill
    plausible.night(tmp_path, day(30)).write_json("verdict", {})

    def live(until=30):
        return [int(folder.name[-2:]) for folder in nights_live(tmp_path, Window(day(1), day(until)))]

    assert live() == [29, 28, 27, 26]
    assert live(27) == [27, 26]
    roll_back(storage, "home", None, NOW)
    assert live() == [28, 27, 26]
    roll_back(storage, "home", "2011-11-25", NOW)
    assert live() == [25]


def test_an_erasure_that_renames_runs_leaves_a_withdrawn_one_withdrawn(tmp_path):
    storage = open_storage((tmp_path / "published").as_uri())
    for number in (28, 29):
        put_live(tmp_path, storage, number)
    roll_back(storage, "home", None, NOW)
    pointer, tag = read_pointer(storage, "home")
    renamed = [run.model_copy(update={"run_id": f"{run.run_id}.erased-1a-2b"}) for run in pointer.withdrawn]
    put_pointer(storage, pointer.model_copy(update={"withdrawn": tuple(renamed)}), tag)
    assert [folder.name for folder in nights_live(tmp_path, Window(day(1), day(30)))] == ["2011-11-28"]


def test_without_a_known_store_a_night_that_moved_the_pointer_is_live(tmp_path):
    for number, moved in ((28, True), (29, False)):
        plausible.night(tmp_path, day(number)).write_json("publish", {"moved": moved})
    assert [folder.name for folder in nights_live(tmp_path, Window(day(1), day(30)))] == ["2011-11-28"]


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
