"""A snapshot of some users."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from nightshift.models.coded import Coded
from tests import shop


def test_of_some_users_a_snapshot_knows_what_it_knew_and_of_others_nothing() -> None:
    view = shop.snapshots()[1]
    coded = Coded(view)
    some = coded.user_positions(["l03", "l07", "m05"])
    few = coded.of_users(some)
    for table in ("users", "pairs", "sequences"):
        whole = getattr(view, table)
        expected = whole[whole["user_id"].isin(["l03", "l07", "m05"])].reset_index(drop=True)
        assert len(expected) >= 3
        pd.testing.assert_frame_equal(getattr(few, table), expected)
    assert few.items is view.items
    assert few.as_of == view.as_of


def test_a_user_without_a_sequence_is_there_all_the_same() -> None:
    view = shop.snapshots()[1]
    without = view.sequences[view.sequences["user_id"] != "l03"].reset_index(drop=True)
    coded = Coded(replace(view, sequences=without))
    few = coded.of_users(coded.user_positions(["l03", "l07"]))
    assert few.users["user_id"].tolist() == ["l03", "l07"]
    assert few.sequences["user_id"].tolist() == ["l07"]


def test_snapshots_that_share_their_items_share_what_follows_from_them_and_others_do_not():
    whole = shop.snapshots()[0]
    part = Coded(whole).of_users(np.arange(3))
    assert Coded(part).cooccurrence is Coded(whole).cooccurrence
    fewer = replace(whole, items=whole.items.iloc[1:], pairs=whole.pairs.iloc[:0], sequences=whole.sequences.iloc[:0])
    assert len(Coded(fewer).items) == len(Coded(whole).items) - 1
    assert Coded(fewer).cooccurrence.shape == (len(fewer.items), len(fewer.items))
    alone = replace(whole, cooccurrence=whole.cooccurrence.iloc[:0])
    assert Coded(alone).cooccurrence.nnz == 0 < Coded(whole).cooccurrence.nnz
