"""Ask, and ask again, within a deadline. No input or output here: a generator says what to send and how long to wait.

All requests only read, so any may be sent twice. Waits have full jitter (Brooker, 2015, Exponential Backoff And Jitter,
AWS Architecture Blog), and a budget keeps retries to a tenth of the requests, so that clients do not hold a service
down that is overloaded (Beyer et al., 2016, Site Reliability Engineering, chapter 21).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

from nightshift.client.answers import problem
from nightshift.client.errors import RefusedError, UnavailableError

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that may be gone at the next try


@dataclass(frozen=True)
class Policy:
    """How long to try. Seconds.

    Attributes:
        deadline: of a call in all; what has not come by then does not come.
        attempt: of one try, its connection included.
        attempts: at most.
        first_wait: the most that is waited before the second try; it doubles with each further one.
        longest_wait: the most that is ever waited between two.
    """

    deadline: float = 0.3
    attempt: float = 0.15
    attempts: int = 3
    first_wait: float = 0.01
    longest_wait: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.attempt <= self.deadline:
            raise ValueError(f"attempt must be over 0 and at most deadline ({self.deadline}), not {self.attempt}")
        if self.attempts < 1:
            raise ValueError(f"attempts must be 1 or more, not {self.attempts}")


LISTS, BATCHES = Policy(), Policy(deadline=20, attempt=8, first_wait=0.1, longest_wait=2)


class RetryBudget:
    """Retries that may be made: a tenth of the requests, and ten to begin with. For any number of threads."""

    SHARE, MOST = 0.1, 10.0

    def __init__(self) -> None:
        self._left, self._lock = self.MOST, threading.Lock()

    def earn(self) -> None:
        with self._lock:
            self._left = min(self.MOST, self._left + self.SHARE)

    def spend(self) -> bool:
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True


@dataclass(frozen=True, slots=True)
class Request:
    """`target`: path and query, percent-encoded."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """Header names are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Send this, and give back the reply, or `UnavailableError` where none has come within `timeout` seconds."""

    request: Request
    timeout: float


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


Step = Send | Wait
Outcome = Reply | UnavailableError | None


def ask(
    request: Request,
    policy: Policy,
    budget: RetryBudget,
    clock: Callable[[], float],
    draw: Callable[[], float] = random.random,
) -> Generator[Step, Outcome, Reply]:
    """Steps to a reply, which is returned. Whoever drives the generator sends back what came of each step.

    Args:
        clock: seconds that never go back.
        draw: 0 to 1, for the jitter.

    Raises:
        UnavailableError: in a `policy.deadline` there was none.
        RefusedError: the service would not answer.
    """
    deadline = clock() + policy.deadline
    budget.earn()
    attempt = 1
    while True:
        outcome = yield Send(request, max(0.001, min(policy.attempt, deadline - clock())))
        failure = _failure(outcome)
        if isinstance(outcome, Reply) and failure is None:
            return outcome
        assert failure is not None
        wait = _wait(policy, attempt, failure, draw)
        if attempt == policy.attempts or clock() + wait >= deadline or not budget.spend():
            tried = f" ({attempt} tries)" if attempt > 1 else ""
            raise UnavailableError(f"{failure}{tried}", failure.retry_after)
        yield Wait(wait)
        attempt += 1


def _failure(outcome: Outcome) -> UnavailableError | None:
    """What a try has failed by, if it may be tried again; raises what is final."""
    if isinstance(outcome, UnavailableError):
        return outcome
    assert outcome is not None
    if outcome.status in PASSING:
        after = outcome.headers.get("retry-after", "")
        said = f"the service answered {outcome.status}: {problem(outcome.body)}"
        return UnavailableError(said, float(after) if after.isascii() and after.isdigit() else None)
    if outcome.status not in (200, 304):
        raise RefusedError(outcome.status, problem(outcome.body))
    return None


def _wait(policy: Policy, attempt: int, failure: UnavailableError, draw: Callable[[], float]) -> float:
    """Seconds: at least what the service asked for, and at random beyond that."""
    most = min(policy.longest_wait, policy.first_wait * 2 ** (attempt - 1))
    return (failure.retry_after or 0.0) + draw() * most
