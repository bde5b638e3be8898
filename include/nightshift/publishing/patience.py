"""Ask again what failed, after a random and growing wait, until a deadline that no answer may outstay.

The waits are the "full jitter" of Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): readers that
failed together do not come back together.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

T = TypeVar("T")

FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0  # seconds: the upper ends of what is drawn


class AgainError(Exception):
    """What was asked has failed in a way that may pass."""


class GaveUpError(Exception):
    """The deadline has come. The message says after how long, how many tries, and why the last one failed."""


def within(seconds: float, what: Callable[[], T]) -> T:
    """What `what` returns or raises. After `seconds` it is left to itself, in a thread that keeps no process alive.

    A socket's own timeout counts from one byte to the next: a server that sends a byte now and then outlasts it.

    Raises:
        TimeoutError: it has done neither.
    """
    outcome: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            outcome.put((what(), None))
        except BaseException as error:
            outcome.put((None, error))

    threading.Thread(target=work, name="store", daemon=True).start()
    try:
        value, error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error is None:
        return cast(T, value)
    try:
        raise error
    finally:
        del error  # its traceback holds this frame, and what was sent


@dataclass(frozen=True)
class Patience:
    """How long to go on asking.

    Attributes:
        seconds: from the first try to the last answer.
        clock, sleep, draw, within: time and chance, passed in by tests; `draw` gives a number between its arguments.
    """

    seconds: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[float, float], float] = random.uniform
    within: Callable[[float, Callable[[], Any]], Any] = within

    def ask(self, what: Callable[[], T]) -> T:
        """What `what` returns, once it does.

        Raises:
            GaveUpError: it has not by the deadline.
        """
        ends, tries = self.clock() + self.seconds, 0
        why = "there was no time to ask"
        while (left := ends - self.clock()) > 0:
            tries += 1
            try:
                answer: T = self.within(left, what)
                return answer
            except TimeoutError:
                why = "there was no whole answer"
                break
            except AgainError as error:
                why = str(error)
            wait = self.draw(0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(tries - 1, 10)))
            if wait >= ends - self.clock():
                break
            self.sleep(wait)
        raise GaveUpError(f"gave up within {self.seconds:g} s, after {tries} {'try' if tries == 1 else 'tries'}: {why}")
