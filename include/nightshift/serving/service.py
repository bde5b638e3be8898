"""What the routes work with: the surfaces that are followed, the limits, and what is plugged in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nightshift.config.settings import CURRENT
from nightshift.serving.exchange import Asked
from nightshift.serving.following.follower import Follower
from nightshift.serving.following.live import OVERRIDE, LiveRun, Stamp
from nightshift.serving.problems import Problem
from nightshift.serving.routes.lists import Found
from nightshift.serving.routes.query import Limits
from nightshift.serving.seams import Assignment, Caller, Seams
from nightshift.serving.telemetry.board import Board
from nightshift.serving.telemetry.metrics import EVENTS, Metrics

OF_EVENT = {event: place for place, event in enumerate(EVENTS)}
SOON = (("retry-after", "5"),)


@dataclass(frozen=True)
class Service:
    """What requests share.

    Attributes:
        followers: by surface, the default one first.
        gzip_from: bytes from which an answer is compressed for who asks; 0: never.
        board: what is shared with the other processes of the service; None: there are none.
        histories: whether what users bought is answered.
    """

    followers: Mapping[str, Follower]
    metrics: Metrics
    limits: Limits
    seams: Seams = field(default_factory=Seams)
    gzip_from: int = 1024
    board: Board | None = None
    histories: bool = True

    @property
    def surfaces(self) -> tuple[str, ...]:
        return tuple(self.followers)

    @property
    def asks_for_keys(self) -> bool:
        guard = self.seams.guard
        return guard is not None and not guard.by_address

    def must_be_tester(self, caller: Caller | None, what: str) -> None:
        """Raise a `Problem` if keys are asked for, and the caller's is for readers alone."""
        if self.asks_for_keys and caller is not None and caller.role == "reader":
            role = f"the key of {caller.name} has the role {caller.role}"
            raise Problem(403, f"{what} is for callers with the role tester; {role}.")

    def state(self) -> dict[str, Any]:
        """What this process serves, on every channel."""
        return {"channels": [state for follower in self.followers.values() for state in follower.states()]}

    def states(self) -> list[dict[str, Any]]:
        """What all processes serve."""
        return self.board.states() if self.board else [{"worker": os.getpid(), **self.state()}]

    def live(self, surface: str) -> LiveRun:
        """The live run of a surface; take it once a request."""
        live = self.followers[surface].live
        if live is None:
            raise self.nothing(surface)
        return live

    def nothing(self, surface: str) -> Problem:
        """Said only before there ever was a run."""
        follower = self.followers[surface]
        why = follower.refusal or follower.current.trouble or f"nothing is published for {surface}"
        return Problem(503, f"There is no run to answer from: {why}. Run a night, or see /v1/status.", SOON)

    def assigned(self, user_id: str, surface: str, asked: Asked) -> Assignment:
        """The user's variants, where there are experiments; a tester may say which."""
        experiments = self.seams.experiments
        assert experiments is not None
        override = asked.headers.get(OVERRIDE)
        if override is None:
            return experiments.assign(user_id, surface)
        if not self.asks_for_keys:
            raise Problem(403, f"{OVERRIDE} is for callers with the role tester, and this service asks for no keys.")
        self.must_be_tester(asked.caller, OVERRIDE)
        try:
            return experiments.assign(user_id, surface, experiments.override(override))
        except ValueError as error:
            raise Problem(400, f"{OVERRIDE}: {error}") from None

    def variant(
        self, surface: str, assignment: Assignment, of: Callable[[str], LiveRun | None]
    ) -> tuple[LiveRun, Stamp, str]:
        """The run that the variant's channel serves, its stamp, and the channel; the live run where that serves none.

        Args:
            of: what each channel serves.
        """
        live = of(assignment.channel)
        if live is not None:
            return live, live.stamp_of(assignment), assignment.channel
        live = of(CURRENT)
        if live is None:
            raise self.nothing(surface)
        self.metrics.happened(surface, "channel_missing")
        return live, live.stamp_of(assignment, as_control=True), CURRENT

    def count(self, surface: str, live: LiveRun, found: Found) -> None:
        """Count a list that is handed out."""
        counts, of = self.metrics.counts, self.metrics.of(surface)
        counts[of + found.level] += 1
        for event, has in (("stale", live.stale), ("refilled", found.refilled), ("awaited", found.awaited)):
            if has:
                counts[of + OF_EVENT[event]] += 1


def must_be_for(caller: Caller | None, surface: str) -> None:
    """Raise a `Problem` if the caller may not read this surface."""
    if caller is not None and caller.surfaces is not None and surface not in caller.surfaces:
        raise Problem(403, f"The key of {caller.name} is not for the surface {surface!r}.")
