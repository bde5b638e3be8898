"""Let a request in, or say why not: by API key, or, where none is asked for, by client address.

`guard_of` gives what the settings ask for; None where everybody may read as much as they like. A guard takes about a
microsecond, holds no lock, and is asked from one thread (an event loop's).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from nightshift.config.settings import Guard as GuardSettings
from nightshift.serving.guard.keyring import Keyring
from nightshift.serving.guard.keys import Caller
from nightshift.serving.guard.rates import AddressBuckets, network, part
from nightshift.serving.seams import Guard, Headers

ANONYMOUS = Caller("anonymous")
KEPT = "keys.good"  # in the board's folder


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not let in, and how to say it: a status, a sentence, further headers."""

    status: int
    detail: str
    headers: tuple[tuple[str, str], ...] = ()


CHALLENGE = (("www-authenticate", 'Bearer realm="nightshift"'),)  # RFC 6750, 3
WRONG = (("www-authenticate", 'Bearer realm="nightshift", error="invalid_token"'),)
NO_KEY = Refusal(401, "A key is needed: send Authorization: Bearer KEY, or X-Api-Key: KEY.", CHALLENGE)
UNKNOWN_KEY = Refusal(401, "This key is not known. Was it replaced by another?", WRONG)


class KeyGuard:
    """Lets in who has a key, as often as the key allows."""

    by_address = False

    def __init__(self, keyring: Keyring, look_seconds: float = 1.0) -> None:
        self._keyring, self._look_seconds = keyring, look_seconds

    @property
    def file_errors(self) -> int:
        return self._keyring.errors

    def admit(self, headers: Headers, now: float, client: str = "") -> Caller | Refusal:
        key = headers.get("authorization")
        is_bearer = key is not None and key[:7].lower() == "bearer "
        key = key[7:].strip() if key and is_bearer else headers.get("x-api-key")  # another scheme is a proxy's own
        if not key:
            return NO_KEY
        entry = self._keyring.keys.find(key)
        if entry is None:
            return UNKNOWN_KEY
        if now >= entry.expires_at:
            return Refusal(401, f"This key of {entry.caller.name} has expired, on {entry.expires:%Y-%m-%d}.", WRONG)
        if entry.bucket is not None and (wait := entry.bucket.take(now)):
            return too_many(entry.caller.name, wait)
        return entry.caller

    def start(self) -> None:
        self._keyring.start(self._look_seconds)

    def stop(self) -> None:
        self._keyring.stop()


class AddressGuard:
    """Lets everybody in, each client address so often.

    Args:
        proxies: how many of ours add to X-Forwarded-For; what is left of their entries may be forged.
    """

    by_address = True
    file_errors = 0

    def __init__(self, buckets: AddressBuckets, proxies: int = 0) -> None:
        self._buckets, self._proxies = buckets, proxies

    def admit(self, headers: Headers, now: float, client: str = "") -> Caller | Refusal:
        host = self._forwarded(headers) if self._proxies else None
        wait = self._buckets.take(network(host or client.rpartition(":")[0]), now)
        return too_many("this address", wait) if wait else ANONYMOUS

    def _forwarded(self, headers: Headers) -> str | None:
        every = getattr(headers, "get_all", None)  # a server's own: some proxies add a line, and leave the caller's
        lines = every("x-forwarded-for") if every else [headers.get("x-forwarded-for") or ""]
        hops = ",".join(lines).split(",")
        return hops[-self._proxies] if len(hops) >= self._proxies else None

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


def too_many(who: str, wait: float) -> Refusal:
    """429, with the whole seconds after which a request will be let in."""
    after = str(max(1, math.ceil(wait)))
    return Refusal(429, f"Too many requests of {who}: ask again in {after} s.", (("retry-after", after),))


def guard_of(
    settings: GuardSettings, folder: Path, processes: int = 1, board_folder: Path | None = None
) -> Guard | None:
    """The guard that the settings ask for, or None. Call `start` in the process that serves.

    Args:
        folder: that the key file's path is relative to.
        processes: that share the port: each gives its share of every rate.
        board_folder: that they share, for the last good keys; None: nothing is kept.

    Raises:
        ConfigError: the key file cannot be used, and no process has kept one that could.
    """
    if settings.keys:
        kept = board_folder / KEPT if board_folder else None
        return KeyGuard(Keyring(folder / settings.keys, processes, kept))
    if settings.rate:
        buckets = AddressBuckets(settings.rate / processes, part(settings.burst, processes), settings.addresses)
        return AddressGuard(buckets, settings.proxies)
    return None
