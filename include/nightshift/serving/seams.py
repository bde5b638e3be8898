"""What others plug into the service: who may ask, what is noted of it, which variant answers. Each is None when off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Headers(Protocol):
    """A request's headers, by name in small letters."""

    def get(self, name: str, /) -> str | None: ...


class Caller(Protocol):
    """Who asks. `role` is reader, tester or admin; `surfaces` those that may be read, None: all."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def surfaces(self) -> frozenset[str] | None: ...


class Refusal(Protocol):
    """Why somebody is not let in: 401, 403 or 429, a sentence, and headers like Retry-After."""

    @property
    def status(self) -> int: ...
    @property
    def detail(self) -> str: ...
    @property
    def headers(self) -> tuple[tuple[str, str], ...]: ...


class Guard(Protocol):
    """Checks keys and rates.

    Attributes:
        by_address: whether it knows callers by their address alone, and asks for no key.
        file_errors: times that a changed key file could not be used.
    """

    @property
    def by_address(self) -> bool: ...
    @property
    def file_errors(self) -> int: ...

    def admit(self, headers: Headers, now: float, client: str = "") -> Caller | Refusal:
        """Let a request in, or not. `now` is of `time.monotonic`, `client` the other end as `host:port`."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class AccessLog(Protocol):
    """A line a request, without personal data.

    Attributes:
        dropped: lines that were not written.
    """

    @property
    def dropped(self) -> int: ...

    def note(self, route: str, status: int, seconds: float, size: int, caller: str, request_id: str) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


class RequestIds(Protocol):
    """Gives every request an id, or takes the caller's."""

    def of(self, headers: Headers) -> str: ...


class Assignment(Protocol):
    """Which variant a user is in.

    `channel` is the pointer whose run answers, `variant` the name of the variant that it is for, and `variants` the
    variant in every experiment that the user is in. `overridden`: a tester asked for it.
    """

    @property
    def channel(self) -> str: ...
    @property
    def variant(self) -> str: ...
    @property
    def variants(self) -> Mapping[str, str]: ...
    @property
    def overridden(self) -> bool: ...


class Experiments(Protocol):
    """Assigns users to variants, the same user always to the same."""

    def assign(self, user_id: str, surface: str, override: Any = None) -> Assignment:
        """The user's variants. Users who get the same share one object, but for overrides."""

    def override(self, text: str) -> Any:
        """What a tester asks for, `experiment=variant`. Raises ValueError where there is no such variant."""


class Exposures(Protocol):
    """Keeps which user was shown what, of which run.

    Attributes:
        dropped: lists that were not kept.
    """

    @property
    def dropped(self) -> int: ...

    def note(
        self,
        user_id: str,
        assignment: Any,
        run: str,
        items: int | bytes,
        at: float,
        request_id: str | None = None,
        channel: str | None = None,
    ) -> None:
        """Take a list that was handed out.

        Args:
            assignment: what `Experiments` has given.
            items: how many, from the first, of the list that the run has for the user, or else for everybody; or, of
                another list, the items themselves, as JSON.
            at: Unix time.
            channel: whose run it is of; the assignment's own may have had none.
        """

    def start(self) -> None: ...
    def stop(self) -> None: ...


class Span(Protocol):
    """A request that is traced; its `traceparent` goes with the answer."""

    @property
    def traceparent(self) -> str: ...
    def end(self, route: str, status: int, size: int, **about: str | None) -> None: ...


class Tracer(Protocol):
    """Begins spans."""

    def begin(self, headers: Headers, method: str) -> Span | None:
        """A span for a request that has just come; None where this one is not traced."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


@dataclass(frozen=True)
class Seams:
    """All of them, and what goes with experiments.

    Attributes:
        channels: that are followed beside each surface's live run.
        variants: of every experiment, by its name: what a tester may ask for.
    """

    guard: Guard | None = None
    access: AccessLog | None = None
    request_ids: RequestIds | None = None
    experiments: Experiments | None = None
    exposures: Exposures | None = None
    tracer: Tracer | None = None
    channels: tuple[str, ...] = ()
    variants: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def threads(self) -> tuple[Guard | AccessLog | Exposures | Tracer, ...]:
        """Those that work in threads of their own, from `start` to `stop`."""
        parts = (self.guard, self.access, self.exposures, self.tracer)
        return tuple(part for part in parts if part is not None)

    def losses(self) -> dict[str, int]:
        """What was dropped or failed until now, by the names that `metrics` has for it."""
        return {
            "exposures_dropped": self.exposures.dropped if self.exposures else 0,
            "access_lines_dropped": self.access.dropped if self.access else 0,
            "key_file_errors": self.guard.file_errors if self.guard else 0,
        }
