"""Ask the store no longer than one is willing to wait, and never twice at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from nightshift.publishing.patience import within
from nightshift.publishing.storage import StoreError

T = TypeVar("T")


class Timely:
    """Calls that come back within `seconds`. One that does not is left to itself; until it ends there is no other.

    What such a one ends with is told by those after it.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._busy, self._ended = seconds, threading.Lock(), ""

    def __call__(self, what: Callable[[], T]) -> T:
        """What `what` returns or raises. Raises `StoreError` where it does neither in time, or cannot be asked."""
        if not self._busy.acquire(blocking=False):
            raise StoreError(f"the store has not answered what it was asked before{self._ended}")
        begun = False

        def asked() -> T:
            nonlocal begun
            begun = True
            try:
                found = what()
                self._ended = ""
                return found
            except StoreError as error:
                self._ended = f"; before that: {error}"
                raise
            finally:
                self._busy.release()

        try:
            return within(self._seconds, asked)
        except TimeoutError:
            raise StoreError(f"the store has not answered within {self._seconds:g} s{self._ended}") from None
        except RuntimeError as error:
            if begun:
                raise
            self._busy.release()  # there was no thread for it
            raise StoreError(f"the store cannot be asked: {error}") from None
