"""What a step is computed from, whole and in parts."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
import torch

from nightshift.models.attributes import bags, text_columns
from nightshift.models.baskets import baskets_of
from nightshift.models.batches import BatchMaker, faded
from nightshift.models.fitting import bought_by
from nightshift.models.objective import loss_of
from nightshift.models.order import Order
from nightshift.models.towers import ItemInputs, Towers
from tests import shop

CPU = torch.device("cpu")


def maker(**changed: int) -> BatchMaker:
    view = shop.snapshots()[2]
    baskets = baskets_of(shop.interactions(), view.users["user_id"], view.items["item_id"], view.as_of)
    order = Order(baskets, (view.as_of - dt.date(1970, 1, 1)).days, 90.0, 32, 1, 1)
    return BatchMaker(order, view.users, len(view.items), shop.settings(two_tower=changed).two_tower, 10, CPU)


def towers_and_inputs(make: BatchMaker) -> tuple[Towers, ItemInputs]:
    items = shop.snapshots()[2].items
    torch.manual_seed(1)
    words = bags(items, text_columns(items, "item_id"), 256)
    bought = bought_by(make.baskets, len(items), make.baskets.day.max())
    return Towers(len(items), 16, 256), ItemInputs.of(words, bought, CPU)


@pytest.mark.parametrize("parts", [1, 2, 3, 40])
def test_the_gradient_of_a_step_in_parts_is_that_of_the_step(parts: int) -> None:
    make = maker(random_negatives=5)
    towers, inputs = towers_and_inputs(make)
    which = np.arange(100, 132)
    gradients, losses = [], []
    for of in (1, parts):
        towers.zero_grad()
        found = [loss_of(towers, inputs, batch, 0.1) for batch in make.step(3, which, range(of), of)]
        for loss in found:
            loss.backward()
        losses.append(sum(loss.item() for loss in found))
        gradients.append(torch.cat([value.grad.flatten() for value in towers.parameters()]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-7)


def test_the_chance_of_a_candidate_is_how_often_it_is_one() -> None:
    make = maker(random_negatives=6)
    rng, rounds = np.random.default_rng(1), 400
    chance = np.exp2(-(make.baskets.day.max() - make.baskets.day) / 90.0)
    times, told = np.zeros(len(make.catalogue)), np.full(len(make.catalogue), np.nan)
    for number in range(rounds):
        which = np.sort(rng.choice(len(make.baskets), 8, p=chance / chance.sum()))
        (batch,) = make.step(number, which, [0], 1)
        times[batch.candidates] += 1
        told[batch.candidates] = np.exp(batch.log_chance.numpy())
    assert np.abs(times / rounds - told).max() < 5 * np.sqrt(0.25 / rounds)
    assert np.corrcoef(times, told)[0, 1] > 0.95


def test_every_item_is_a_candidate_where_more_are_drawn_than_there_are() -> None:
    make = maker(random_negatives=1000)
    (batch,) = make.step(0, np.arange(4), [0], 1)
    assert batch.candidates.tolist() == make.catalogue.tolist()
    assert not batch.log_chance.any()


def test_a_step_draws_the_same_items_again_and_another_step_others() -> None:
    make = maker(random_negatives=6)
    once, again, other = (next(make.step(number, np.arange(1), [0], 1)).candidates.tolist() for number in (1, 1, 2))
    assert once == again != other


def test_older_purchases_fade_and_a_users_weights_sum_to_1() -> None:
    row, item, days = np.array([0, 0, 2]), np.array([5, 6, 7]), np.array([10, 0, 300])
    items, weight, starts = faded(row, item, days, 3, half_life=10.0)
    assert items.tolist() == [5, 6, 7]
    np.testing.assert_allclose(weight, [1 / 3, 2 / 3, 1], rtol=1e-6)
    assert starts.tolist() == [0, 2, 2]


@pytest.mark.parametrize("hidden", [0, 135, 136])
def test_an_item_that_first_sells_in_hidden_days_is_read_as_one_that_never_sold(hidden: int) -> None:
    make, view = maker(), shop.snapshots()[2]
    until = view.as_of - dt.timedelta(days=hidden)
    bought = bought_by(make.baskets, len(view.items), (until - dt.date(1970, 1, 1)).days)
    events = shop.interactions()
    sold = set(events["item_id"][events["event_date"] <= until])
    assert bought.tolist() == view.items["item_id"].isin(sold).tolist()
    assert bought.all() == (hidden == 0)
