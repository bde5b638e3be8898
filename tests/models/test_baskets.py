import datetime as dt

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from nightshift.models.baskets import STEPS, baskets_of, steps
from nightshift.models.coded import Coded
from tests import shop

ITEMS = np.array(["a", "b", "c", "d"], dtype=object)
ROWS = st.lists(
    st.tuples(st.sampled_from("uvw"), st.sampled_from("abcd"), st.integers(0, 5), st.sampled_from("123")), max_size=40
)
LATE = shop.FIRST + dt.timedelta(days=100)


def examples(rows):
    """Per basket of `baskets_of`: user, day, its items, and its context as (item, day)."""
    baskets = baskets_of(shop.events(rows), ITEMS, LATE)
    which = np.arange(len(baskets))
    items, _, known = baskets.contexts(which, 50)
    row, target = baskets.targets(which)
    return [
        (baskets.user_id[at], baskets.day[at], set(ITEMS[target[row == at]]), ITEMS[items[at][known[at]]])
        for at in which
    ]


@given(ROWS)
def test_a_basket_is_foretold_from_the_users_earlier_baskets_alone(rows):
    first_day = (shop.FIRST - dt.date(1970, 1, 1)).days
    for user, day, _, context in examples(rows):
        allowed = {item for who, item, when, _ in rows if who == user and first_day + when < day}
        assert set(context) <= allowed


@given(ROWS)
def test_every_purchase_is_foretold_once_a_user_and_day(rows):
    found = [(user, day, item) for user, day, items, _ in examples(rows) for item in items]
    assert len(found) == len({(user, item, day) for user, item, day, _ in rows})


def test_a_context_is_what_the_snapshot_says_of_the_user():
    known = shop.interactions()
    visit = shop.events([(user, "MUG00", 140, f"{user}-next") for user in ("l00", "m07", "m29")])
    view = shop.snapshot(known)
    baskets = baskets_of(pd.concat([known, visit]), view.items["item_id"].to_numpy(), LATE + dt.timedelta(days=60))
    next_visits = np.flatnonzero(baskets.day == baskets.day.max())
    items, elapsed, _ = baskets.contexts(next_visits, 10)
    starts, sequence, days = Coded(view).sequences
    for row, at in enumerate(next_visits):
        begin = starts[view.users["user_id"].searchsorted(baskets.user_id[at])]
        np.testing.assert_array_equal(items[row], sequence[begin : begin + 10])
        np.testing.assert_array_equal(elapsed[row], steps(days[begin : begin + 10] + 1))


def test_an_event_that_came_late_is_not_known_before_it_came():
    known = shop.events([("u", "a", 0, "1"), ("u", "b", 1, "2")])
    known.loc[1, "run_date"] = shop.FIRST + dt.timedelta(days=9)
    assert len(baskets_of(known, ITEMS, shop.FIRST + dt.timedelta(days=8))) == 1
    assert len(baskets_of(known, ITEMS, shop.FIRST + dt.timedelta(days=9))) == 2


def test_elapsed_time_is_told_finely_at_first_and_never_ends():
    assert steps(np.array([0, 1, 3, 7, 10_000])).tolist() == [0, 2, 4, 6, STEPS - 1]
