import datetime as dt

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from nightshift.models.baskets import STEPS, baskets_of, steps
from nightshift.models.coded import Coded
from tests import shop

USERS = np.array(["u", "v", "w"], dtype=object)
ITEMS = np.array(["a", "b", "c", "d"], dtype=object)
ROWS = st.lists(
    st.tuples(st.sampled_from("uvw"), st.sampled_from("abcd"), st.integers(0, 5), st.sampled_from("123")), max_size=40
)
LATE = shop.FIRST + dt.timedelta(days=100)


def examples(rows):
    """Per basket of `baskets_of`: user, day, its items, and its context as (item, day)."""
    baskets = baskets_of(shop.events(rows), USERS, ITEMS, LATE)
    which = np.arange(len(baskets))
    items, _, known = baskets.contexts(which, 50)
    row, target = baskets.targets(which)
    return [
        (USERS[baskets.user[at]], baskets.day[at], set(ITEMS[target[row == at]]), ITEMS[items[at][known[at]]])
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
    ids = view.users["user_id"].to_numpy(), view.items["item_id"].to_numpy()
    baskets = baskets_of(pd.concat([known, visit]), *ids, LATE + dt.timedelta(days=60))
    next_visits = np.flatnonzero(baskets.day == baskets.day.max())
    items, elapsed, _ = baskets.contexts(next_visits, 10)
    starts, sequence, days = Coded(view).sequences
    for row, at in enumerate(next_visits):
        begin = starts[baskets.user[at]]
        np.testing.assert_array_equal(items[row], sequence[begin : begin + 10])
        np.testing.assert_array_equal(elapsed[row], steps(days[begin : begin + 10] + 1))


def test_an_event_that_came_late_is_not_known_before_it_came():
    known = shop.events([("u", "a", 0, "1"), ("u", "b", 1, "2")])
    known.loc[1, "run_date"] = shop.FIRST + dt.timedelta(days=9)
    assert len(baskets_of(known, USERS, ITEMS, shop.FIRST + dt.timedelta(days=8))) == 1
    assert len(baskets_of(known, USERS, ITEMS, shop.FIRST + dt.timedelta(days=9))) == 2


@given(ROWS)
def test_what_was_bought_is_every_item_once_with_the_days_since_its_last_purchase(rows):
    baskets = baskets_of(shop.events(rows), USERS, ITEMS, LATE)
    which = np.arange(len(baskets))
    row, item, days = baskets.bought(which)
    first_day = (shop.FIRST - dt.date(1970, 1, 1)).days
    for at in which:
        user, day = USERS[baskets.user[at]], baskets.day[at]
        last = {}
        for who, bought, when, _ in sorted(rows, key=lambda one: one[2]):
            if who == user and first_day + when < day:
                last[bought] = day - first_day - when
        found = list(zip(ITEMS[item[row == at]], days[row == at], strict=True))
        assert dict(found) == last
        assert len(found) == len(last)


def test_what_was_bought_is_what_the_snapshot_says_of_the_user():
    known = shop.interactions()
    visit = shop.events([(user, "MUG00", 139, f"{user}-next") for user in ("l00", "m07")])
    before = known[known["run_date"] < shop.RUN_DATE]
    view = shop.snapshot(before)
    ids = view.users["user_id"].to_numpy(), view.items["item_id"].to_numpy()
    baskets = baskets_of(pd.concat([before, visit]), *ids, shop.RUN_DATE)
    next_visits = np.flatnonzero(baskets.day == baskets.day.max())
    row, item, days = baskets.bought(next_visits)
    for at, visited in enumerate(next_visits):
        pairs = view.pairs[view.pairs["user_id"] == ids[0][baskets.user[visited]]]
        found = dict(zip(ids[1][item[row == at]], days[row == at], strict=True))
        assert found == dict(zip(pairs["item_id"], pairs["days_since_last"], strict=True))


def test_elapsed_time_is_told_finely_at_first_and_never_ends():
    assert steps(np.array([0, 1, 3, 7, 10_000])).tolist() == [0, 2, 4, 6, STEPS - 1]
