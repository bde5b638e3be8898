"""API keys: what the key file says of each, and how a key is made and hashed.

A key is 256 random bits, so one round of a fast hash is all it takes to keep it: nothing about it can be guessed
(OWASP Password Storage Cheat Sheet: slow hashes are for what people choose). The file holds the hash alone.
"""

from __future__ import annotations

import datetime as dt
import re
import secrets
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from nightshift.config.settings import MisfitError, Section

Role = Literal["reader", "tester", "admin"]
ROLES: tuple[Role, ...] = ("reader", "tester", "admin")  # each may do what those before it may

ALGORITHM = "blake2b"
DIGEST_BYTES = 32
PREFIX = "nsk_"  # so that scanners for leaked secrets know one when they see it


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `surfaces`: that they may read; None: all."""

    name: str
    role: Role = "reader"
    surfaces: frozenset[str] | None = None


def _zoned(value: dt.datetime) -> dt.datetime:
    return value if value.tzinfo else value.replace(tzinfo=dt.UTC)


class Key(Section):
    """An entry of the key file."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")  # of the caller, in logs: of a program, never of a person
    hash: str = Field(repr=False)  # blake2b: and 64 hexadecimal digits
    role: Role = "reader"  # tester: also variants, other runs, histories; admin: also /admin
    surfaces: tuple[str, ...] = ()  # that the caller may read; none: all
    rate: float | None = Field(default=None, gt=0)  # requests a second; none: no limit
    burst: PositiveInt | None = None  # of them that may come at once; none: as many as in a second
    expires: Annotated[dt.datetime, AfterValidator(_zoned)] | None = None  # UTC unless it says otherwise

    @model_validator(mode="after")
    def _hash_is_one(self) -> Key:
        """Here, and not on the field, whose error would show a key that was pasted in place of its hash."""
        if not re.fullmatch(rf"{ALGORITHM}:[0-9a-f]{{{2 * DIGEST_BYTES}}}", self.hash):
            raise MisfitError("is not blake2b: and 64 hexadecimal digits; new-key prints one", "hash")
        return self

    @model_validator(mode="after")
    def _burst_has_a_rate(self) -> Key:
        if self.burst and not self.rate:
            raise MisfitError(f"{self.burst} at once needs a rate too", "burst")
        return self

    @property
    def digest(self) -> bytes:
        return bytes.fromhex(self.hash.partition(":")[2])

    @property
    def caller(self) -> Caller:
        return Caller(self.name, self.role, frozenset(self.surfaces) or None)


class KeyFile(Section):
    """The key file. A name may have several keys, so that a new one can take over from an old one."""

    keys: list[Key]

    @model_validator(mode="after")
    def _keys_of_a_name_differ_in_hash_and_expiry_alone(self) -> KeyFile:
        seen: dict[str, Key] = {}
        for at, key in enumerate(self.keys):
            first = seen.setdefault(key.name, key)
            for field in ("role", "surfaces", "rate", "burst"):
                if getattr(key, field) != getattr(first, field):
                    raise MisfitError(f"{key.name} has another key with another {field}: make them alike", "keys", at)
        return self

    @model_validator(mode="after")
    def _no_hash_is_here_twice(self) -> KeyFile:
        seen: set[str] = set()
        for at, key in enumerate(self.keys):
            if key.hash in seen:
                raise MisfitError(f"the hash of {key.name} is here twice: remove one of them", "keys", at)
            seen.add(key.hash)
        return self


def new_key() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str) -> bytes:
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


def hash_of(key: str) -> str:
    """What the key file holds of it."""
    return f"{ALGORITHM}:{digest_of(key).hex()}"
