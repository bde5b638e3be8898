"""A bucket gives what a token bucket gives, to the request, and memory for addresses is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.serving.guard.rates import AddressBuckets, Bucket, network

INTERVAL = 1 / 8  # all times are multiples of it, or of half of it: their sums are exact
gaps = st.lists(st.integers(0, 40).map(lambda halves: halves * INTERVAL / 2), max_size=60)


class ReferenceBucket:
    """The textbook's: a number of tokens, refilled by the time that has passed."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst, self.tokens, self.at = rate, burst, float(burst), 0.0

    def take(self, now: float) -> bool:
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@settings(deadline=None)
@given(gaps=gaps, burst=st.integers(1, 5))
def test_a_bucket_lets_through_what_a_token_bucket_does(gaps: list[float], burst: int) -> None:
    bucket, addresses = Bucket(1 / INTERVAL, burst), AddressBuckets(1 / INTERVAL, burst, most=1)
    reference, now = ReferenceBucket(1 / INTERVAL, burst), 1000.0
    reference.at = now
    for gap in gaps:
        now += gap
        let_through = reference.take(now)
        assert (bucket.take(now) == 0) == let_through
        assert (addresses.take("a", now) == 0) == let_through


@settings(deadline=None)
@given(gaps=gaps, burst=st.integers(1, 5))
def test_who_waits_as_long_as_told_is_let_through_and_not_before(gaps: list[float], burst: int) -> None:
    bucket, now = Bucket(1 / INTERVAL, burst), 1000.0
    for gap in gaps:
        now += gap
        if wait := bucket.take(now):
            assert 0 < wait <= INTERVAL
            assert bucket.take(now + wait / 2) > 0
            now += wait
            assert bucket.take(now) == 0


@settings(deadline=None)
@given(rate=st.floats(0.01, 50_000), burst=st.integers(1, 500), start=st.floats(0, 1e7))
def test_a_whole_burst_comes_at_once_and_no_more_whatever_the_rate(rate: float, burst: int, start: float) -> None:
    bucket = Bucket(rate, burst)
    assert [bucket.take(start) for _ in range(burst)] == [0.0] * burst
    assert bucket.take(start) > 0


def test_each_address_has_its_own_bucket() -> None:
    buckets = AddressBuckets(1, 2, most=10)
    assert [buckets.take(address, 5.0) > 0 for address in "aababb"] == [False, False, False, True, False, True]


@settings(deadline=None)
@given(st.lists(st.integers(0, 300), max_size=400), st.integers(1, 20))
def test_memory_is_bounded_however_many_addresses_come(addresses: list[int], most: int) -> None:
    buckets = AddressBuckets(1, 1, most)
    for number, address in enumerate(addresses):
        buckets.take(str(address), number / 100)
        assert len(buckets) <= 2 * most


@settings(deadline=None)
@given(st.lists(st.integers(0, 8), max_size=100))
def test_an_address_is_not_forgotten_before_as_many_others_have_come(others: list[int]) -> None:
    """Of 9 others at most, and room for 10: who has used up its burst stays refused, whatever they do."""
    buckets = AddressBuckets(0.001, 1, most=10)
    assert buckets.take("greedy", 0) == 0
    for other in others:
        buckets.take(f"other {other}", 0)
    assert buckets.take("greedy", 0) > 0


@pytest.mark.parametrize(
    ("host", "taken_as"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:5060", "203.0.113.7"),
        ("[2001:db8:1:2:3:4:5:6]", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("", ""),
        ("x" * 5000, "x" * 64),
    ],
)
def test_what_one_holder_has_all_of_is_limited_together(host: str, taken_as: str) -> None:
    assert network(host) == taken_as
