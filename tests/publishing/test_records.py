"""A record is found again by any id, and its first k entries are cut out unharmed."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.publishing import records
from nightshift.publishing.manifest import FORMAT

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
MAKERS = (
    records.user_key,
    records.similar_key,
    records.title_key,
    records.attributes_key,
    lambda name: records.segment_key("country", name),
)
pairs = (
    st.dictionaries(st.binary(min_size=1, max_size=20), st.binary(max_size=40), max_size=20).map(dict.items).map(list)
)


@given(st.sets(ids | ids.map(lambda name: name * 300), max_size=30))
def test_different_ids_have_different_keys_that_lmdb_takes(names: set[str]) -> None:
    keys = {make(name) for name in names for make in MAKERS}
    assert len(keys | {records.POPULAR, records.SEGMENTS, records.ATTRIBUTES}) == len(MAKERS) * len(names) + 3
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
    value = records.encode(entries)
    assert orjson.loads(records.first(value, k)) == entries[:k]
    assert [orjson.loads(entry) for entry in records.entries_of(value)] == entries


@given(pairs, pairs)
def test_other_records_have_another_content_hash(
    one: list[tuple[bytes, bytes]], other: list[tuple[bytes, bytes]]
) -> None:
    same = records.content_hash(sorted(one)) == records.content_hash(sorted(other))
    assert same == (sorted(one) == sorted(other))


def test_a_key_lies_in_the_same_shard_for_ever() -> None:
    """Who changes it gives the format another number."""
    found = [records.shard_of(records.user_key(user), 8) for user in ("13047", "17850", "Zoë")]
    assert (FORMAT, found) == (3, [1, 0, 5])


@pytest.mark.parametrize("shards", [2, 8, 17, 256])
@pytest.mark.parametrize(
    "name",
    [
        "{}",
        "{:010}",
        "user-{}@example.org",
        "{:x}",
        "{0:b}",
        "00000000-0000-4000-8000-{:012x}",
        pytest.param("{}000", id="thousands"),
    ],
)
def test_users_whose_ids_are_alike_are_spread_over_the_shards(name: str, shards: int) -> None:
    """No shard is farther from its part than chance would have one of so many, once in a million."""
    count = 500 * shards
    found = Counter(records.shard_of(records.user_key(name.format(number)), shards) for number in range(count))
    assert max(found[shard] for shard in range(shards)) < 500 + 6.5 * 500**0.5
    assert min(found[shard] for shard in range(shards)) > 500 - 6.5 * 500**0.5


@given(
    lists=st.dictionaries(ids, st.lists(st.integers(0, 99), max_size=5), max_size=20),
    k=st.integers(1, 6),
    more=st.integers(0, 2),
    shards=st.integers(1, 5),
)
def test_a_users_first_entries_are_found_in_one_step_as_in_three(
    lists: dict[str, list[int]], k: int, more: int, shards: int
) -> None:
    spread: list[dict[bytes, bytes]] = [{} for _ in range(shards)]
    for user, items in lists.items():
        key = records.user_key(user)
        spread[records.shard_of(key, shards)][key] = records.encode({"item_id": item} for item in items)
    first = records.first_of_user([part.get for part in spread], max([0, *map(len, lists.values())]) + more)
    for user in (*lists, "nobody", "x" * 600):
        key = records.user_key(user)
        value = spread[records.shard_of(key, shards)].get(key)
        assert first(user, k) == (None if value is None else records.first(value, k))


def test_attributes_without_a_value_are_left_out_and_names_are_in_order() -> None:
    assert orjson.loads(records.encode_attributes({"kind": "mug", "brand": None, "colours": ["red"]})) == {
        "kind": "mug",
        "colours": ["red"],
    }
    assert orjson.loads(records.encode_names({"kind", "brand"})) == ["brand", "kind"]
