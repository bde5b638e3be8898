"""The load of the lookup benchmark: what it asks, and how it comes to a rate."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.lookup import load as loading
from benchmarks.lookup.load import NEAR, Load, Loaded, load, load_at

CORES = os.sched_getaffinity(0)


@pytest.fixture
def asked() -> Iterator[tuple[str, set[str]]]:
    """The address of a server, and the query strings that it was asked."""
    queries = set[str]()

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            queries.add(self.path.partition("/recommendations")[2])
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", queries
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("by", ["wrk", "python"])
@pytest.mark.parametrize(("k", "query"), [(0, ""), (5, "?k=5")])
def test_whole_lists_are_asked_for_or_so_many_entries(
    asked: tuple[str, set[str]], k: int, query: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by == "python":
        monkeypatch.setattr(shutil, "which", lambda _: None)
    elif not shutil.which("wrk"):
        pytest.skip("wrk is not installed")
    url, queries = asked
    done = load(url, Load(users=10, connections=2, k=k), 1, CORES)
    assert done.requests > 0
    assert done.errors == 0
    assert queries == {query}


def served(most: float, milliseconds: float, monkeypatch: pytest.MonkeyPatch) -> list[Load]:
    """Put a server there that answers after so long, `most` requests a second; what it is asked."""
    seen = list[Load]()

    def answered(url: str, what: Load, seconds: float, cores: set[int]) -> Loaded:
        seen.append(what)
        rate = min(most, 1000 * what.connections / (what.pause + milliseconds))
        return Loaded(round(rate * seconds), seconds, 0, {}, 0)

    monkeypatch.setattr(loading, "load", answered)
    return seen


@pytest.mark.parametrize("milliseconds", [0.0, 1.5, 6.0, 30.0])
@pytest.mark.parametrize("rate", [70.0, 1_400.0, 21_000.0])
def test_connections_are_added_until_the_rate_is_reached(
    rate: float, milliseconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = served(rate / 0.7, milliseconds, monkeypatch)
    what, done = load_at("", Load(users=10), rate, 5, CORES)
    assert done.rate == pytest.approx(rate, rel=NEAR)
    assert what == seen[-1]


def test_a_server_that_cannot_carry_the_rate_gets_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = served(600.0, 1.0, monkeypatch)
    _, done = load_at("", Load(users=10), 1000.0, 5, CORES)
    assert done.rate == pytest.approx(600.0)
    assert len(seen) == loading.TRIES
    assert max(what.connections for what in seen) == 10 * loading.MOST
