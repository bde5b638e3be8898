"""Follow the pointers of a surface, each in a thread of its own, and have at hand what each of its channels serves."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nightshift.config.settings import CURRENT
from nightshift.publishing.storage import Storage
from nightshift.serving.following.channel import Channel, Follows
from nightshift.serving.following.kept import forget_others
from nightshift.serving.following.live import LiveRun
from nightshift.serving.telemetry.metrics import Metrics

log = logging.getLogger("nightshift.serving")

APART = 0.1  # share of the interval that looks of many machines are spread over


class Follower:
    """The channels of one surface.

    Args:
        cache: a folder of this surface's own, for downloads and for what serves when the store is down.
        looked: called after every look. What it raises ends no following.
    """

    def __init__(
        self,
        storage: Storage,
        surface: str,
        cache: Path,
        metrics: Metrics,
        *,
        channels: Sequence[str] = (),
        how: Follows | None = None,
        looked: Callable[[], None] = lambda: None,
    ) -> None:
        self.storage, self.surface, self.cache, self.metrics = storage, surface, cache, metrics
        self.channels = {
            name: Channel(storage, surface, name, cache, metrics, how or Follows(), partial(self._beside, name))
            for name in (CURRENT, *channels)
        }
        self.current = self.channels[CURRENT]
        self._told = looked
        self._untold: str | None = None  # why who is told could not be, the last time
        self._stopping = threading.Event()
        self._bells = {name: threading.Event() for name in self.channels}
        self._looked = {name: threading.Event() for name in self.channels}
        self._threads: list[threading.Thread] = []

    @property
    def live(self) -> LiveRun | None:
        """What the live run's channel serves."""
        return self.current.live

    @property
    def refusal(self) -> str | None:
        return self.current.refusal

    @property
    def has_nothing(self) -> bool:
        """Whether it is known that nothing is published here."""
        return self.live is None and self.current.is_empty

    def of(self, channel: str) -> LiveRun | None:
        """What a channel serves; None where it serves nothing, or is not followed."""
        found = self.channels.get(channel)
        return found.live if found else None

    def serving(self) -> dict[str, LiveRun]:
        """What each channel serves at this moment."""
        return {name: channel.live for name, channel in self.channels.items() if channel.live}

    def _beside(self, channel: str) -> list[LiveRun]:
        """What the other channels serve."""
        return [live for name, live in self.serving().items() if name != channel]

    def states(self) -> list[dict[str, Any]]:
        return [channel.state() for channel in self.channels.values()]

    def start(self, seconds: float) -> None:
        """Look every `seconds` until `stop`, at every channel by itself: one whose run takes long holds up no other."""
        forget_others(self.cache, self.channels)
        for channel in self.channels.values():
            name = f"follow {channel.name} of {self.surface}"
            thread = threading.Thread(target=self._follow, args=(channel, seconds), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def wait(self, seconds: float = 5.0) -> None:
        """Wait for the first look at every channel to be over, but no longer than this."""
        ends = time.monotonic() + seconds
        for looked in self._looked.values():
            looked.wait(max(0.0, ends - time.monotonic()))

    def stop(self) -> None:
        self._stopping.set()
        self.ring()
        for thread in self._threads:
            thread.join(2)

    def ring(self) -> None:
        """Look now."""
        for bell in self._bells.values():
            bell.set()

    def look(self) -> None:
        """Look at every pointer once."""
        for channel in self.channels.values():
            self._look(channel)

    def _look(self, channel: Channel) -> None:
        try:
            channel.look()
        except Exception:
            log.exception("the look at %s of %s failed; looking again", channel.name, self.surface)
        self._tell()

    def _tell(self) -> None:
        try:
            self._told()
        except Exception as error:
            if repr(error) != self._untold:
                log.exception("what follows a look at %s failed; looking on", self.surface)
            self._untold = repr(error)
        else:
            self._untold = None

    def _follow(self, channel: Channel, seconds: float) -> None:
        bell = self._bells[channel.name]
        while not self._stopping.is_set():
            bell.clear()
            self._look(channel)
            self._looked[channel.name].set()
            bell.wait(seconds * random.uniform(1 - APART, 1 + APART))
