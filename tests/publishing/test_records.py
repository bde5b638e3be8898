"""A record is found again by any id, and its first k entries are cut out unharmed."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from nightshift.publishing import records

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
pairs = (
    st.dictionaries(st.binary(min_size=1, max_size=20), st.binary(max_size=40), max_size=20).map(dict.items).map(list)
)


@given(st.sets(ids | ids.map(lambda name: name * 300), max_size=30))
def test_different_ids_have_different_keys_that_lmdb_takes(names: set[str]) -> None:
    keys = {make(name) for name in names for make in (records.user_key, records.similar_key, records.title_key)}
    assert len(keys | {records.POPULAR}) == 3 * len(names) + 1
    assert all(0 < len(key) <= 511 for key in keys)


def test_an_id_that_looks_like_another_ones_hash_is_not_taken_for_it() -> None:
    long = "x" * 600
    assert records.user_key(long)[:2] == b"u#"
    assert records.user_key(records.user_key(long)[1:].decode(errors="replace")) != records.user_key(long)


@given(
    st.lists(st.fixed_dictionaries({"item_id": ids, "title": st.none() | ids, "score": st.floats(0, 1)})),
    st.integers(1, 30),
)
def test_the_first_k_entries_are_the_first_k_entries(entries: list[records.Entry], k: int) -> None:
    assert orjson.loads(records.first(records.encode(entries), k)) == entries[:k]


@given(pairs, st.randoms(use_true_random=False))
def test_the_content_hash_does_not_see_the_order_of_writing(found: list[tuple[bytes, bytes]], random) -> None:
    before = records.content_hash(found)
    random.shuffle(found)
    assert records.content_hash(found) == before


@given(pairs, pairs)
def test_other_records_have_another_content_hash(
    one: list[tuple[bytes, bytes]], other: list[tuple[bytes, bytes]]
) -> None:
    assert (records.content_hash(one) == records.content_hash(other)) == (sorted(one) == sorted(other))


def test_a_key_lies_in_the_same_shard_for_ever() -> None:
    assert [records.shard_of(records.user_key(user), 8) for user in ("13047", "17850", "Zoë")] == [0, 2, 1]
