"""The lists of segments: what their users bought of late, by the rules of all lists, however the users are cut up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.config.settings import AlreadyBought, Lists
from nightshift.features.segments import segments_of
from nightshift.features.snapshot import Snapshot
from nightshift.lake import Lake
from nightshift.ranking.segments import PARTS, segment_lists, summed, votes_of
from tests import shop

TASTES = {"taste": ["LANTERN", "MUG"]}
PLAIN = Lists(size=10, rules=[])


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    """The shop's last day, whose users have a taste: that of lovers of lanterns is said of the first 20 alone."""
    found = shop.snapshots()[-1]
    names = found.users["user_id"]
    taste = np.where(names.str[0] == "m", "MUG", np.where(names.str[1:] < "20", "LANTERN", None))
    return replace(found, users=found.users.assign(taste=pd.Series(taste, dtype=object)))


def of_users(snapshot: Snapshot, users: Sequence[str]) -> Snapshot:
    """The snapshot of a block of users."""
    tables = {name: getattr(snapshot, name) for name in ("users", "pairs", "sequences")}
    cut = {name: rows[rows["user_id"].isin(users)].reset_index(drop=True) for name, rows in tables.items()}
    return replace(snapshot, **cut)


def votes(snapshot: Snapshot, folder: Path, *blocks: Sequence[str]) -> pd.DataFrame:
    files = [folder / f"{number}.parquet" for number in range(len(blocks))]
    for file, users in zip(files, blocks, strict=True):
        pq.write_table(votes_of(of_users(snapshot, users), TASTES), file)
    return summed(files)


@pytest.fixture(scope="module")
def counted(snapshot: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return votes(snapshot, tmp_path_factory.mktemp("votes"), snapshot.users["user_id"].tolist())


def test_a_vote_halves_in_a_month_and_counts_once_a_user(snapshot: Snapshot, counted: pd.DataFrame) -> None:
    pairs = snapshot.pairs.merge(snapshot.users[["user_id", "taste"]]).dropna(subset="taste")
    pairs["votes"] = 0.5 ** (pairs["days_since_last"] / 28)
    expected = pairs.groupby(["taste", "item_id"])["votes"].sum()
    found = counted.set_index(["value", "item_id"])["votes"] / PARTS
    assert found.to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-4)
    assert found.index.tolist() == expected.index.tolist()


@settings(max_examples=20, deadline=None)
@given(cut=st.data())
def test_no_cut_into_blocks_shows(
    snapshot: Snapshot, counted: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory, cut: st.DataObject
) -> None:
    users = cut.draw(st.permutations(snapshot.users["user_id"].tolist()))
    at = cut.draw(st.integers(0, len(users)))
    pd.testing.assert_frame_equal(votes(snapshot, tmp_path_factory.mktemp("votes"), users[:at], users[at:]), counted)


def test_a_segment_gets_what_its_users_buy_the_most_wanted_first(snapshot: Snapshot, counted: pd.DataFrame) -> None:
    lists = segment_lists(counted, snapshot, PLAIN)
    assert lists.columns.tolist() == ["attribute", "value", "rank", "item_id", "score", "source", "reason"]
    for value, of in lists.groupby("value"):
        assert of["rank"].tolist() == list(range(1, 11))
        assert of["item_id"].str.startswith((value, "RIBBON")).all()
        wanted = counted[(counted["value"] == value) & ~counted["item_id"].isin(shop.GONE)]
        assert set(of["item_id"]) == set(wanted.nlargest(10, "votes")["item_id"])
        assert of["score"].iloc[0] == 1
        assert of["score"].is_monotonic_decreasing
    assert set(lists["source"]) == {"trending"}


def test_a_segment_that_is_short_is_completed_and_keeps_the_rules(snapshot: Snapshot, counted: pd.DataFrame) -> None:
    few = counted.groupby("value").head(3)
    rules = [AlreadyBought(rule="already_bought", mode="wait"), *Lists().rules]
    lists = segment_lists(few, snapshot, Lists(size=10, rules=rules))
    kinds = snapshot.items.set_index("item_id")["kind"]
    for value, of in lists.groupby("value"):
        assert len(of) == of["item_id"].nunique() == 10
        assert of["item_id"].map(kinds).value_counts().max() <= 3
        assert of["score"].min() < few.loc[few["value"] == value, "votes"].min() / few["votes"].max()
        assert not set(shop.GONE) & set(of["item_id"])


def test_without_segments_there_are_no_lists(snapshot: Snapshot, tmp_path: Path) -> None:
    pq.write_table(votes_of(snapshot, {}), tmp_path / "0.parquet")
    lists = segment_lists(summed([tmp_path / "0.parquet"]), snapshot, PLAIN)
    assert lists.empty
    assert lists.columns.tolist() == ["attribute", "value", "rank", "item_id", "score", "source", "reason"]


def test_a_segment_is_a_value_with_users_enough_of_an_attribute_with_few_values(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    users = pd.DataFrame({"user_id": [f"u{number}" for number in range(9)], "events_all": 1})
    users["country"] = ["Spain"] * 4 + ["France"] * 3 + ["Malta", ""]
    users["postcode"] = [f"P{number}" for number in range(9)]
    users["unknown"] = pd.Series([None] * 9, dtype="string")
    lake.replace("user_features", shop.RUN_DATE, users.assign(run_date=shop.RUN_DATE))
    found = {values: segments_of(lake, shop.RUN_DATE, None, 3, values) for values in (0, 2, 3, 9)}
    assert found == {0: {}, 2: {}, 3: {"country": ["France", "Spain"]}, 9: {"country": ["France", "Spain"]}}
    assert segments_of(lake, shop.RUN_DATE, None, 1, 9)["postcode"] == sorted(users["postcode"])
