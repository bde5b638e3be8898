"""The gate's own look at the lists: a rule that is broken shows in its own column, on the entries it is broken by."""

from __future__ import annotations

import duckdb
import pandas as pd
import pytest

from nightshift.ranking.list_audit import audit_file, audited, hold
from tests.ranking.shelves import lists, scored, view

CHECKS = ["sellable", "due", "in_place", "within_caps", "exposed"]
SHOWN = view(
    [True] * 5 + [False],
    [0, 0, 0, 1, 2, 3],
    suppliers=["a", None, "b", "b", None, None],
    bought=[("u0", "i04", 5, 9.0), ("u1", "i04", 9, 9.0)],
)
RULES = (
    {"rule": "banned", "items": ["i03"]},
    {"rule": "already_bought", "mode": "wait"},
    {"rule": "pinned", "items": ["i03", "i04", "i00"]},
    {"rule": "cap", "by": "kind", "most": 2},
    {"rule": "exposure", "where": "kind in ('k2', 'k3')", "least": 2},
)


def broken(found: pd.DataFrame, *rules: dict) -> dict[str, list[str]]:
    """Column -> the entries, as user and item, that it is false for."""
    told = audited(found, SHOWN.items, SHOWN.pairs, lists(*rules))
    at = told["user_id"] + " " + told["item_id"]
    return {name: at[~told[name]].tolist() for name in CHECKS if not told[name].all()}


def test_lists_that_keep_the_rules_pass():
    """u0 may not be offered i04 yet; i05 of the group cannot be sold."""
    assert broken(scored(["i00", "i01"], ["i04", "i00", "i02"]), *RULES) == {}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ((["i00", "i01"], ["i04", "i00", "i05"]), {"sellable": ["u1 i05"]}),
        ((["i00", "i01"], ["i04", "i00", "i03"]), {"sellable": ["u1 i03"]}),
        ((["i00", "unknown"], ["i04", "i00"]), {"sellable": ["u0 unknown"]}),
        ((["i00", "i04"], ["i04", "i00"]), {"due": ["u0 i04"]}),
        ((["i01", "i00"], ["i04", "i00"]), {"in_place": ["u0 i01"]}),
        ((["i00"], ["i00", "i04"]), {"in_place": ["u1 i00", "u1 i04"]}),
        ((["i00", "i01", "i02"], ["i04", "i00"]), {"within_caps": ["u0 i00", "u0 i01", "u0 i02"]}),
        ((["i00", "i01"], ["i00", "i01"]), {"in_place": ["u1 i00", "u1 i01"], "exposed": ["u1 i00", "u1 i01"]}),
    ],
)
def test_a_broken_rule_is_told_by_its_entries(found, said):
    assert broken(scored(*found), *RULES) == said


def test_pinned_items_alone_may_be_more_than_a_cap():
    pinned, cap = {"rule": "pinned", "items": ["i00", "i01"]}, {"rule": "cap", "by": "kind", "most": 1}
    assert broken(scored(["i00", "i01", "i03"]), pinned, cap) == {}
    assert broken(scored(["i00", "i01", "i02"]), pinned, cap) == {"within_caps": ["u0 i00", "u0 i01", "u0 i02"]}


def held(*rules: dict) -> dict[str, int]:
    """How many pairs of each user are not to be offered."""
    with duckdb.connect() as db:
        db.register("items", SHOWN.items)
        db.register("pairs", SHOWN.pairs)
        hold(db, lists(*rules))
        return dict(db.sql("select user_id, count(*) from held group by 1").fetchall())


def test_what_is_held_back_is_counted():
    drop = {"rule": "already_bought", "mode": "drop"}
    assert held(drop) == {"u0": 1, "u1": 1}
    assert held(RULES[1]) == {"u0": 1}
    assert held() == {}


def test_a_file_is_audited_as_a_frame_is(tmp_path):
    found = scored(["i00", "i01", "i02", "i04"], ["i04", "i00", "i05"], ["i00", "i03"])
    expected = audited(found, SHOWN.items, SHOWN.pairs, lists(*RULES))
    with duckdb.connect() as db:
        db.register("items", SHOWN.items)
        db.register("pairs", SHOWN.pairs)
        db.register("lists", found.assign(entry=range(len(found))))
        hold(db, lists(*RULES))
        audit_file(db, lists(*RULES), tmp_path / "audited.parquet")
    told = pd.read_parquet(tmp_path / "audited.parquet").sort_values("entry", ignore_index=True)
    assert told[["user_id", "item_id", *CHECKS]].equals(expected[["user_id", "item_id", *CHECKS]])
    assert not told[CHECKS].all().any(), "every check is broken somewhere"


def test_rows_stay_as_they_are_and_in_their_order():
    found = scored(["i00", "i01"], ["i04", "i00"]).iloc[::-1]
    told = audited(found, SHOWN.items, SHOWN.pairs, lists(*RULES))
    pd.testing.assert_frame_equal(told.drop(columns=CHECKS), found)
