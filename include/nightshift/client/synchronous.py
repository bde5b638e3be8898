"""The client for threads."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from nightshift.client.answers import History, Recommendations, Similar
from nightshift.client.calls import LARGEST_BATCH, Calls, Fallback, Filter, Options, Steps, T
from nightshift.client.errors import UnavailableError
from nightshift.client.retries import BATCHES, LISTS, Outcome, Policy, Send
from nightshift.client.transport import Transport


class Client:
    """Asks a lookup service. Make one and keep it: it keeps its connections. Any number of threads may share it.

    Args:
        url: of the service.
        key: an API key, where the service asks for one.
        fallback: items for when the service cannot answer: a list, or a function from a user's id to one. With it,
            `recommendations` and `batch` never raise a `ClientError`.
        remember: answers that are kept to be asked for again by tag; they also stand in while the service is away.
        connections: to the service, at most.
        tls: how https is trusted, where not by the usual authorities.
        largest_batch: users in a request; the service takes `serving.max_batch`.

    Raises:
        ValueError: the address or the key is none, or `largest_batch` below 1.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        fallback: Fallback | None = None,
        remember: int = 1024,
        connections: int = 10,
        tls: ssl.SSLContext | None = None,
        largest_batch: int = LARGEST_BATCH,
    ) -> None:
        self._calls = Calls(key, fallback, remember, largest_batch)
        self._transport = Transport(url, connections, tls)

    def recommendations(
        self,
        user_id: str,
        k: int | None = None,
        *,
        surface: str | None = None,
        exclude: Sequence[str] = (),
        filter: Filter | None = None,
        segment: str | None = None,
        override: str | None = None,
        policy: Policy = LISTS,
    ) -> Recommendations:
        """A user's list, best first.

        Args:
            k: items at most; None: as many as were made.
            exclude: items not to show.
            filter: values that will do, by attribute: an item has one of each.
            segment: `attribute:value`, what is known of a user whom the run may not know.
            override: `experiment=variant`, for testers.

        Raises:
            UnavailableError, RefusedError: there is no list, and no fallback.
        """
        options = Options(k, surface, exclude, filter, segment)
        return self._do(self._calls.recommendations(user_id, options, override, policy))

    def batch(
        self,
        user_ids: Sequence[str],
        k: int | None = None,
        *,
        surface: str | None = None,
        exclude: Sequence[str] = (),
        filter: Filter | None = None,
        policy: Policy = BATCHES,
    ) -> list[Recommendations]:
        """Any number of users' lists, in the order asked; over `largest_batch`, in several requests, each within the
        policy.

        Raises:
            UnavailableError, RefusedError: a request was not answered, and there is no fallback.
        """
        options = Options(k, surface, exclude, filter)
        return [
            one for part in self._calls.parts(user_ids) for one in self._do(self._calls.batch(part, options, policy))
        ]

    def similar(
        self,
        item_id: str,
        k: int | None = None,
        *,
        surface: str | None = None,
        exclude: Sequence[str] = (),
        filter: Filter | None = None,
        policy: Policy = LISTS,
    ) -> Similar:
        """Items like this one, best first.

        Raises:
            RefusedError: 404, the run does not know the item; or another reason.
            UnavailableError: there is no answer, and none is remembered.
        """
        return self._do(self._calls.similar(item_id, Options(k, surface, exclude, filter), policy))

    def history(self, user_id: str, *, surface: str | None = None, policy: Policy = LISTS) -> History:
        """What a user bought, the latest first: for a key with the role tester, where keys are asked for.

        Raises:
            RefusedError: 404, the run has no purchases of the user, or the service tells nobody; 403, not this key.
            UnavailableError: there is no answer, and none is remembered.
        """
        return self._do(self._calls.history(user_id, surface, policy))

    def status(self, policy: Policy = LISTS) -> dict[str, Any]:
        """What is served, as the service says it. Raises `ClientError`."""
        return self._do(self._calls.status(policy))

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _do(self, steps: Steps[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                return done.value
            outcome = None
            if not isinstance(step, Send):
                time.sleep(step.seconds)
                continue
            try:
                outcome = self._transport.send(step.request, step.timeout)
            except UnavailableError as error:
                outcome = error
