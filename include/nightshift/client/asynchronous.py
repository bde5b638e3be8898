"""The client for asyncio: what `Client` does, awaited."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from nightshift.client.answers import History, Recommendations, Similar
from nightshift.client.calls import LARGEST_BATCH, Calls, Fallback, Filter, Options, Steps, T
from nightshift.client.errors import UnavailableError
from nightshift.client.retries import BATCHES, LISTS, Outcome, Policy, Send
from nightshift.client.transport import AsyncTransport

BATCHES_AT_ONCE = 4


class AsyncClient:
    """Asks a lookup service from one event loop. Arguments, answers and errors are those of `Client`."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        fallback: Fallback | None = None,
        remember: int = 1024,
        connections: int = 100,
        tls: ssl.SSLContext | None = None,
        largest_batch: int = LARGEST_BATCH,
    ) -> None:
        self._calls = Calls(key, fallback, remember, largest_batch)
        self._transport = AsyncTransport(url, connections, tls)

    async def recommendations(
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
        options = Options(k, surface, exclude, filter, segment)
        return await self._do(self._calls.recommendations(user_id, options, override, policy))

    async def batch(
        self,
        user_ids: Sequence[str],
        k: int | None = None,
        *,
        surface: str | None = None,
        exclude: Sequence[str] = (),
        filter: Filter | None = None,
        policy: Policy = BATCHES,
    ) -> list[Recommendations]:
        """As `Client.batch`; of several requests, four at once."""
        options, free = Options(k, surface, exclude, filter), asyncio.Semaphore(BATCHES_AT_ONCE)

        async def one(part: Sequence[str]) -> list[Recommendations]:
            async with free:
                return await self._do(self._calls.batch(part, options, policy))

        return [found for part in await asyncio.gather(*map(one, self._calls.parts(user_ids))) for found in part]

    async def similar(
        self,
        item_id: str,
        k: int | None = None,
        *,
        surface: str | None = None,
        exclude: Sequence[str] = (),
        filter: Filter | None = None,
        policy: Policy = LISTS,
    ) -> Similar:
        return await self._do(self._calls.similar(item_id, Options(k, surface, exclude, filter), policy))

    async def history(self, user_id: str, *, surface: str | None = None, policy: Policy = LISTS) -> History:
        return await self._do(self._calls.history(user_id, surface, policy))

    async def status(self, policy: Policy = LISTS) -> dict[str, Any]:
        return await self._do(self._calls.status(policy))

    async def close(self) -> None:
        await self._transport.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _do(self, steps: Steps[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                return done.value
            outcome = None
            if not isinstance(step, Send):
                await asyncio.sleep(step.seconds)
                continue
            try:
                outcome = await self._transport.send(step.request, step.timeout)
            except UnavailableError as error:
                outcome = error
