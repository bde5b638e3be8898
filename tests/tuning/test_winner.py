"""Which nights train with a winner: none that had begun before it, and none after the one that refused it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from nightshift.runs import Night, StepError
from nightshift.tuning import winner as winners
from nightshift.tuning.winner import Gain, Winner, in_force, judge, keep, last_begun, tuned
from tests import shop

DAY = dt.timedelta(days=1)
DATE = dt.date(2024, 5, 1)
GAIN = Gain(metric="ndcg@10", mean=0.02, low=0.01, high=0.03, users=100)


SETTINGS = shop.settings()


def night_of(home: Path, day: int, **sections) -> Night:
    return Night(shop.settings(**sections) if sections else SETTINGS, DATE + (day - 1) * DAY, "by-hand", home)


def begun(home: Path, day: int) -> Night:
    night = night_of(home, day)
    night.folder.mkdir(parents=True, exist_ok=True)
    return night


def searched(home: Path, day: int, leaves: int = 31) -> Winner:
    """What a search of a day leaves."""
    night = begun(home, day)
    winner = Winner(
        search=f"{night.run_date}-planted",
        trial=f"1/ranker/{leaves}",
        run_date=night.run_date,
        after=max(night.run_date, last_begun(home)),
        overrides={"ranker.leaves": leaves},
        configured={"ranker.leaves": 15},
        gain=GAIN,
    )
    keep(home, winner)
    return winner


def leaves(night: Night) -> int:
    return tuned(night)[0].settings.ranker.leaves


def test_nights_after_the_search_train_with_it(tmp_path):
    winner = searched(tmp_path, 5)
    assert [leaves(night_of(tmp_path, day)) for day in (4, 5, 6, 9)] == [15, 15, 31, 31]
    assert tuned(night_of(tmp_path, 6))[1] == winner
    assert leaves(night_of(tmp_path, 6, tuning={"use_winner": False})) == 15


def test_a_search_of_an_old_day_changes_no_night_that_has_begun(tmp_path):
    begun(tmp_path, 8)
    searched(tmp_path, 5)
    assert [leaves(night_of(tmp_path, day)) for day in (6, 8, 9)] == [15, 15, 31]


def test_a_refused_winner_is_put_aside_with_the_reason_but_that_night_can_be_run_again(tmp_path):
    winner = searched(tmp_path, 5)
    refused = judge(tmp_path, winner.name, DATE + 6 * DAY, False, ("0.1 against 0.2 of repeat",))
    assert refused.judgement.reasons == ("0.1 against 0.2 of repeat",)
    assert winners.winners(tmp_path) == (refused,)
    assert [leaves(night_of(tmp_path, day)) for day in (6, 7, 8)] == [31, 31, 15]


def test_an_accepted_winner_stays_until_a_later_one_and_comes_back_when_that_is_refused(tmp_path):
    first = searched(tmp_path, 5)
    judge(tmp_path, first.name, DATE + 5 * DAY, True, ("better",))
    judge(tmp_path, first.name, DATE + 6 * DAY, False, ("a bad night",))  # it is not on trial any more
    begun(tmp_path, 8)
    assert leaves(night_of(tmp_path, 9)) == 31
    second = searched(tmp_path, 8, leaves=63)
    assert [leaves(night_of(tmp_path, day)) for day in (8, 9)] == [31, 63]
    judge(tmp_path, second.name, DATE + 8 * DAY, False, ("worse",))
    assert [leaves(night_of(tmp_path, day)) for day in (8, 9, 10)] == [31, 63, 31]
    assert in_force(night_of(tmp_path, 1))[1].name == first.name


def test_what_is_written_into_the_configuration_counts_for_more(tmp_path, caplog):
    searched(tmp_path, 5)
    assert leaves(night_of(tmp_path, 6, ranker={"leaves": 20})) == 20
    assert "ranker.leaves is 20 now, was 15" in caplog.text


def test_the_same_winner_again_does_not_forget_what_was_said_of_it(tmp_path):
    winner = searched(tmp_path, 5)
    judge(tmp_path, winner.name, DATE + 5 * DAY, False, ("worse",))
    keep(tmp_path, winner)
    assert [one.judgement.accepted for one in winners.winners(tmp_path)] == [False]


def test_a_record_that_cannot_be_read_stops_the_night(tmp_path):
    searched(tmp_path, 5)
    file = tmp_path / "search" / "winner.json"
    file.write_text(file.read_text().replace('"low"', '"lowest"'))
    with pytest.raises(StepError, match=r"winner\.json is not a record of winners: winner\.gain\.low"):
        tuned(night_of(tmp_path, 6))


def test_a_winner_that_is_not_on_record_cannot_be_judged(tmp_path):
    with pytest.raises(StepError, match="does not name lost, which the night of 2024-05-01 trained with"):
        judge(tmp_path, "lost", DATE, True, ())


ACTS = st.lists(st.tuples(st.sampled_from(["night", "search"]), st.integers(1, 6)), max_size=14)


@budget(max_examples=60, deadline=None)
@given(ACTS)
def test_a_night_run_again_trains_with_what_it_trained_with(tmp_path_factory, acts):
    """Whatever was searched, backfilled, accepted and refused since."""
    home, trained = tmp_path_factory.mktemp("home"), {}
    for number, (what, day) in enumerate(acts):
        if what == "search":
            if day in trained:
                searched(home, day, leaves=100 + number)
            continue
        night, winner = tuned(begun(home, day))
        found = trained.setdefault(day, night.settings.ranker.leaves)
        assert night.settings.ranker.leaves == found
        if winner:
            judge(home, winner.name, night.run_date, (found + day) % 3 > 0, ("the same night, the same verdict",))
    for day, found in trained.items():
        assert leaves(night_of(home, day)) == found
