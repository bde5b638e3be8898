"""Query strings: what is remembered of them is bounded."""

from __future__ import annotations

import tracemalloc

from nightshift.serving.routes.query import OF_USERS, URL_CHARACTERS, Queries


def test_long_queries_are_read_and_not_remembered() -> None:
    queries = Queries(OF_USERS, ("home",), 20)
    excluded = "&".join(f"exclude={number}" for number in range(600))
    assert len(excluded) < URL_CHARACTERS
    tracemalloc.start()
    try:
        for k in range(1, 21):
            assert len(queries.parse(f"k={k}&{excluded}").exclude) == 600
        assert tracemalloc.get_traced_memory()[0] < 100_000  # one of them takes about as much
    finally:
        tracemalloc.stop()
