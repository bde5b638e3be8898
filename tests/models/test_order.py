import datetime as dt

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nightshift.models.baskets import NEVER, Baskets, baskets_of
from nightshift.models.order import ROUNDS, Order, permuted
from tests import shop


def baskets() -> Baskets:
    view = shop.snapshots()[2]
    return baskets_of(shop.interactions(), view.users["user_id"], view.items["item_id"], view.as_of)


def order(seed: int = 1, half_life: float = 90.0, epochs: int = 3, days_left_out: int = 0) -> Order:
    until = (shop.RUN_DATE - dt.date(1970, 1, 1)).days - days_left_out
    return Order(baskets(), until, half_life, 32, epochs, seed)


@given(st.integers(1, 500), st.integers(0, 2**60))
def test_every_place_of_a_permutation_holds_another_number(count, seed):
    keys = np.random.default_rng(seed).integers(0, 2**63, ROUNDS, dtype=np.uint64)
    found = permuted(np.arange(count, dtype=np.uint64), count, keys)
    assert sorted(found.tolist()) == list(range(count))


def test_any_step_can_be_had_without_those_before_it():
    whole = list(order().steps())
    assert [number for number, _ in whole] == list(range(len(order())))
    for first in (1, order().ends[0], len(whole) - 1, len(whole)):
        rest = list(order().steps(first))
        assert [number for number, _ in rest] == list(range(first, len(whole)))
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(rest, whole[first:], strict=True))


def test_an_epoch_takes_a_basket_once_and_each_epoch_in_another_order():
    one = order(half_life=1e9, epochs=2)
    steps = [which for _, which in one.steps()]
    first, second = steps[: one.ends[0]], steps[one.ends[0] :]
    for epoch in (first, second):
        assert sorted(np.concatenate(epoch).tolist()) == list(range(len(one.baskets)))
        assert {len(which) // 2 for which in epoch} <= {15, 16}
    assert not np.array_equal(first[0], second[0])
    assert not np.array_equal(first[0], next(order(seed=2, half_life=1e9).steps())[1])


def test_a_basket_is_taken_half_as_often_after_a_half_life():
    one = order(half_life=40, epochs=60)
    taken = np.bincount(np.concatenate([which for _, which in one.steps()]), minlength=len(one.baskets))
    age = one.until - one.baskets.day
    young, old = (taken[(age >= begin) & (age < begin + 20)].mean() for begin in (0, 40))
    assert 0.45 < old / young < 0.55


def test_days_that_are_left_out_are_not_taken():
    one = order(days_left_out=20)
    assert max(one.baskets.day[which].max() for _, which in one.steps()) == one.until


def test_an_epoch_that_takes_no_basket_has_no_step():
    days = np.array([0, 200, 390], dtype=np.int32)  # of one user; the last is of ten days ago
    few = Baskets(
        user=np.zeros(3, dtype=np.int32),
        day=days,
        start=np.arange(4),
        target=np.zeros(3, dtype=np.int32),
        history_item=np.zeros(3, dtype=np.int32),
        history_day=days,
        history_next=np.array([1, 2, NEVER]),
        history_start=np.zeros(3, dtype=np.int64),
        history_end=np.arange(3),
    )
    one = Order(few, until=400, half_life=10, size=32, epochs=8, seed=1)
    assert 0 in one.taken[1:]
    steps = [which for _, which in one.steps()]
    assert [len(which) for which in steps] == [taken for taken in one.taken if taken]
    assert len(steps) == len(one)
