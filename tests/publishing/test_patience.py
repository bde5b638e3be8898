"""What fails is asked again, at random times, until the deadline, and no answer outlasts that."""

from __future__ import annotations

import gc
import itertools
import socket
import threading
import weakref
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.publishing.patience import LONGEST_WAIT, AgainError, GaveUpError, Patience, within
from nightshift.publishing.storage import StoreError, open_storage


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.waits = 0.0, list[float]()

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def test_what_passes_is_answered() -> None:
    clock, tries = Clock(), iter([AgainError("busy"), AgainError("busy"), None])

    def work() -> str:
        if error := next(tries):
            raise error
        return "done"

    assert Patience(60, lambda: clock.now, clock.sleep).ask(work) == "done"
    assert len(clock.waits) == 2


def test_what_cannot_pass_is_raised_at_once() -> None:
    clock = Clock()
    with pytest.raises(StoreError, match="no rights"):
        Patience(60, lambda: clock.now, clock.sleep).ask(lambda: (_ for _ in ()).throw(StoreError("no rights")))
    assert clock.waits == []


@given(st.floats(0.01, 100), st.lists(st.floats(0.2, 1), min_size=1, max_size=4))
def test_whatever_the_draws_it_ends_by_the_deadline(seconds: float, draws: list[float]) -> None:
    clock, drawn = Clock(), itertools.cycle(draws)

    def fails() -> None:
        raise AgainError("busy")

    patience = Patience(
        seconds, lambda: clock.now, clock.sleep, lambda _, most: most * next(drawn), within=lambda _, what: what()
    )
    with pytest.raises(GaveUpError, match=rf"^gave up within {seconds:g} s, after \d+ (try|tries): busy$"):
        patience.ask(fails)
    assert clock.now < seconds
    assert all(wait <= min(LONGEST_WAIT, 0.2 * 2.0 ** min(n, 10)) for n, wait in enumerate(clock.waits))


def test_the_waits_grow_and_differ() -> None:
    clock = Clock()

    def fails() -> None:
        raise AgainError("busy")

    with pytest.raises(GaveUpError):
        Patience(600, lambda: clock.now, clock.sleep).ask(fails)
    assert len(set(clock.waits)) == len(clock.waits)
    assert max(clock.waits[-8:]) > max(clock.waits[:2])


def test_an_error_is_not_held_after_it_was_raised() -> None:
    class LargeError(Exception):
        pass

    def fails() -> None:
        raise LargeError

    gc.disable()
    try:
        try:
            within(60, fails)
        except LargeError as error:
            watched = weakref.ref(error)
        assert watched() is None, "what was raised holds what was sent"
    finally:
        gc.enable()


@pytest.fixture
def trickling() -> Iterator[str]:
    """The address of a server that sends a byte now and then, and so never runs into a socket's timeout."""
    listening, stop = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            while not stop.wait(0.02):
                try:
                    connection.send(b"H")
                except OSError:
                    return

    def accept() -> None:
        while not stop.is_set():
            try:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    stop.set()
    listening.close()


def test_a_server_that_sends_a_byte_now_and_then_does_not_outlast_the_deadline(
    trickling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    storage = open_storage("s3://bucket/lists", trickling, deadline=0.5)
    with pytest.raises(StoreError, match=r"lists/a: gave up within 0.5 s, after 1 try: there was no whole answer"):
        storage.read("a")
