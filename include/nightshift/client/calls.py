"""What each call asks and makes of the reply, for both clients: generators of steps (see `retries`) to an answer."""

from __future__ import annotations

import inspect
import json
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlencode

import nightshift
from nightshift.client import answers
from nightshift.client.answers import Degraded, History, Item, NotAnAnswerError, Recommendations, Similar
from nightshift.client.errors import ClientError, RefusedError, UnavailableError
from nightshift.client.memory import Memory
from nightshift.client.retries import Outcome, Policy, Reply, Request, RetryBudget, Step, ask

log = logging.getLogger("nightshift.client")

LARGEST_BATCH = 1000  # users, as `serving.max_batch` has it unless it is set

Fallback = Sequence[Item | str] | Callable[[str], Sequence[Item | str]]
Filter = Mapping[str, Sequence[str]]
T = TypeVar("T")
Steps = Generator[Step, Outcome, T]


@dataclass(frozen=True)
class Options:
    """What is asked of a list: see docs/client.md."""

    k: int | None = None
    surface: str | None = None
    exclude: Sequence[str] = ()
    filter: Filter | None = None
    segment: str | None = None

    def query(self) -> str:
        pairs = [(name, str(value)) for name in ("k", "surface") if (value := getattr(self, name)) is not None]
        pairs += [("exclude", item) for item in self.exclude]
        pairs += [
            ("filter", f"{attribute}:{value}") for attribute, values in (self.filter or {}).items() for value in values
        ]
        pairs += [("segment", self.segment)] if self.segment is not None else []
        return f"?{urlencode(pairs)}" if pairs else ""

    def body(self) -> dict[str, Any]:
        """As the members of a batch, but for its users."""
        asked = {"k": self.k, "surface": self.surface, "exclude": list(self.exclude), "filter": dict(self.filter or {})}
        return {name: value for name, value in asked.items() if value not in (None, [], {})}


class Calls:
    """What the two clients have in common: no input or output.

    Args:
        key: an API key, where the service asks for one.
        fallback: items for when the service cannot answer: a list, or a function from a user's id to one.
        remember: answers that are kept to be asked for again by tag; they also stand in while the service is away.
        largest_batch: users in a request.

    Raises:
        ValueError: the key is none that a header can have; `largest_batch` is below 1; the fallback is async.
    """

    def __init__(self, key: str | None, fallback: Fallback | None, remember: int, largest_batch: int) -> None:
        if key and not _fits_a_header(key):
            raise ValueError("the key has a character that no key has: is a line's end in it?")  # and not which key
        if largest_batch < 1:
            raise ValueError(f"largest_batch must be 1 or more, not {largest_batch}")
        if inspect.iscoroutinefunction(fallback):
            raise ValueError("the fallback is an async function, and is not awaited: give a plain function, or items")
        self._largest_batch = largest_batch
        self._fallback, self._budget = fallback, RetryBudget()
        self._lists: Memory[Recommendations] = Memory(remember)
        self._similar: Memory[Similar] = Memory(remember)
        self._histories: Memory[History] = Memory(remember)
        self._headers = {
            "accept": "application/json",
            "user-agent": f"nightshift-client/{nightshift.__version__}",
            **({"authorization": f"Bearer {key}"} if key else {}),
        }

    def recommendations(
        self, user_id: str, options: Options, override: str | None, policy: Policy
    ) -> Steps[Recommendations]:
        try:
            if override and not _fits_a_header(override):
                raise RefusedError(400, f"override must be experiment=variant, not {override!r}")
            target = _target("users", user_id, "recommendations", options)
            return (yield from self._get(target, answers.recommendations, self._lists, policy, override))
        except ClientError as error:
            return self._instead(user_id, options, error)

    def batch(self, user_ids: Sequence[str], options: Options, policy: Policy) -> Steps[list[Recommendations]]:
        """Of one of `parts`."""
        content = json.dumps({"user_ids": list(user_ids), **options.body()}).encode()
        headers = {**self._headers, "content-type": "application/json"}
        request = Request("POST", "/v1/recommendations:batch", headers, content)
        try:
            reply = yield from self._ask(request, policy)
            return _read(reply, lambda body: answers.batch(body, user_ids))
        except ClientError as error:
            return [self._instead(user_id, options, error) for user_id in user_ids]

    def parts(self, user_ids: Sequence[str]) -> Iterator[Sequence[str]]:
        """The users in batches as large as the service takes."""
        for start in range(0, len(user_ids), self._largest_batch):
            yield user_ids[start : start + self._largest_batch]

    def similar(self, item_id: str, options: Options, policy: Policy) -> Steps[Similar]:
        target = _target("items", item_id, "similar", options)
        return (yield from self._get(target, answers.similar, self._similar, policy))

    def history(self, user_id: str, surface: str | None, policy: Policy) -> Steps[History]:
        target = _target("users", user_id, "history", Options(surface=surface))
        return (yield from self._get(target, answers.history, self._histories, policy))

    def status(self, policy: Policy) -> Steps[dict[str, Any]]:
        reply = yield from self._ask(Request("GET", "/v1/status", self._headers), policy)
        return _read(reply, answers.status)

    def _get(
        self,
        target: str,
        read: Callable[[bytes], Any],
        memory: Memory[Any],
        policy: Policy,
        override: str | None = None,
    ) -> Steps[Any]:
        """The answer to a GET: new, or what is remembered where the service says that it still holds, or is away."""
        known = memory.get(key := f"{override or ''} {target}")
        headers = {
            **self._headers,
            **({"if-none-match": known.etag} if known else {}),
            **({"x-nightshift-override": override} if override else {}),
        }
        try:
            reply = yield from self._ask(Request("GET", target, headers), policy)
            if reply.status == 304 and known:
                return known.answer
            answer = _read(reply, read)
        except UnavailableError as error:
            if known is None:
                raise
            log.warning("answering from memory: %s", error)
            return replace(known.answer, degraded=Degraded("remembered", f"the service's last answer: {error}"))
        memory.put(key, reply.headers.get("etag"), answer)
        return answer

    def _ask(self, request: Request, policy: Policy) -> Steps[Reply]:
        return (yield from ask(request, policy, self._budget, time.monotonic))

    def _instead(self, user_id: str, options: Options, error: ClientError) -> Recommendations:
        """What a user gets where the service does not answer; raises the error where there is no fallback."""
        if self._fallback is None:
            raise error
        log.warning("answering by the fallback: %s", error)
        reason = str(error)
        try:
            given = self._fallback(user_id) if callable(self._fallback) else self._fallback
            found = (item if isinstance(item, Item) else Item(item) for item in given)
            items = tuple(item for item in found if item.item_id not in options.exclude)
        except Exception as own:
            log.exception("the fallback failed too")
            items, reason = (), f"{error}; and the fallback failed: {own!r}"
        return Recommendations(user_id, items[: options.k], None, Degraded("fallback", reason))


def _fits_a_header(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()


def _target(kind: str, name: str, what: str, options: Options) -> str:
    """Path and query. Raises `RefusedError` for what is no Unicode text, like a number or half of a surrogate pair."""
    if not isinstance(name, str):
        raise RefusedError(400, f"an id is text, and {name!r} is none")
    try:
        return f"/v1/{kind}/{quote(name, safe='')}/{what}{options.query()}"
    except UnicodeEncodeError as error:
        raise RefusedError(400, f"{error.object!r} is not Unicode text") from None


def _read(reply: Reply, read: Callable[[bytes], T]) -> T:
    if reply.status == 304:
        raise UnavailableError("the service answered 304 to who remembers nothing")
    try:
        return cast(T, read(reply.body))
    except NotAnAnswerError as error:
        raise UnavailableError(f"what answered is not the lookup service: {error}") from None
