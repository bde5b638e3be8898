"""Baskets made user by user and kept in files are those made of all events at once, and so is what is learnt."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.models.basket_files import write_baskets
from nightshift.models.baskets import Baskets, baskets_of
from nightshift.models.fitting import fit
from tests import shop
from tests.models.test_baskets import ITEMS, LATE, ROWS, USERS


def of_users(known: pd.DataFrame, users: list[str]) -> pd.DataFrame:
    return known[known["user_id"].isin(users)].reset_index(drop=True)


@given(ROWS, st.integers(0, 3))
def test_files_hold_what_memory_would(tmp_path_factory: pytest.TempPathFactory, rows: list, cut: int) -> None:
    known, folder = shop.events(rows), tmp_path_factory.mktemp("baskets")
    histories = [of_users(known, list(USERS[:cut])), of_users(known, list(USERS[cut:]))]
    expected, found = baskets_of(known, USERS, ITEMS, LATE), write_baskets(histories, USERS, ITEMS, LATE, folder)
    for field in fields(Baskets):
        array = getattr(expected, field.name)
        assert array.dtype == getattr(found, field.name).dtype, field.name
        np.testing.assert_array_equal(getattr(found, field.name), array, err_msg=field.name)
    found.release()
    np.testing.assert_array_equal(found.target, expected.target)


def test_a_fit_from_files_is_the_fit_from_memory_and_leaves_none(tmp_path: Path) -> None:
    view, known = shop.snapshots()[0], shop.interactions()
    settings = shop.settings(two_tower={"epochs": 1, "refresh_epochs": 1})
    halves = [of_users(known, list(users)) for users in np.array_split(view.users["user_id"], 2)]
    fit(view, known, settings)[0].save(tmp_path / "memory")
    fit(view, lambda day: iter(halves), settings, folder=tmp_path / "fit")[0].save(tmp_path / "files")
    assert (tmp_path / "memory/weights.safetensors").read_bytes() == (
        tmp_path / "files/weights.safetensors"
    ).read_bytes()
    assert not list((tmp_path / "fit").glob("baskets-*"))


def test_events_that_are_not_in_memory_need_a_folder() -> None:
    with pytest.raises(ValueError, match="need a folder"):
        fit(shop.snapshots()[0], partial(iter, []), shop.settings())
