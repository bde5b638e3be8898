"""Who has a key gets in as often as it allows; a new key file counts at once, and a broken one changes nothing."""

from __future__ import annotations

import datetime as dt
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from nightshift.config import ConfigError
from nightshift.config.settings import Guard
from nightshift.serving.guard.admission import KeyGuard, Refusal, guard_of
from nightshift.serving.guard.keyring import Keyring
from nightshift.serving.guard.keys import Caller, hash_of, new_key

SHOP, SECOND, TESTER = new_key(), new_key(), new_key()


def entry(key: str, name: str = "shop", **more: Any) -> dict[str, Any]:
    return {"name": name, "hash": hash_of(key), **more}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


class Keys:
    """A key file, and a guard that reads it."""

    def __init__(self, path: Path, *entries: dict[str, Any]) -> None:
        self.path, self.writes = path, 0
        self.write(*entries)
        self.keyring = Keyring(path)
        self.guard = KeyGuard(self.keyring)

    def write(self, *entries: dict[str, Any], text: str | None = None) -> None:
        self.path.write_text(yaml.safe_dump({"keys": list(entries)}) if text is None else text)
        self.writes += 1
        os.utime(self.path, ns=(self.writes, self.writes))  # two writes within a tick of the file system's clock differ

    def admit(self, headers: dict[str, str], now: float = 50.0) -> Caller | Refusal:
        return self.guard.admit(headers, now)

    def status(self, headers: dict[str, str], now: float = 50.0) -> int:
        found = self.admit(headers, now)
        return found.status if isinstance(found, Refusal) else 200


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(
        tmp_path / "keys.yaml",
        entry(SHOP, surfaces=["home"]),
        entry(TESTER, "desk", role="tester"),
    )


@pytest.mark.parametrize("headers", [bearer(SHOP), {"authorization": f"bearer  {SHOP} "}, {"x-api-key": SHOP}])
def test_a_known_key_says_who_calls(keys: Keys, headers: dict[str, str]) -> None:
    assert keys.admit(headers) == Caller("shop", "reader", frozenset({"home"}))


def test_a_proxys_own_authorization_does_not_hide_the_key(keys: Keys) -> None:
    assert keys.status({"authorization": "Basic dTpw", "x-api-key": SHOP}) == 200


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "A key is needed"),
        ({"authorization": ""}, "A key is needed"),
        ({"authorization": "Bearer "}, "A key is needed"),
        ({"authorization": "Basic dTpw"}, "A key is needed"),
        (bearer(new_key()), "not known"),
        (bearer(SHOP[:-1]), "not known"),
        (bearer(SHOP + "x"), "not known"),
        (bearer(hash_of(SHOP)), "not known"),
        (bearer("é\ud800"), "not known"),
    ],
)
def test_without_a_known_key_nobody_gets_in_and_is_told_how(keys: Keys, headers: dict[str, str], said: str) -> None:
    refusal = keys.admit(headers)
    assert isinstance(refusal, Refusal)
    assert refusal.status == 401
    assert said in refusal.detail
    assert dict(refusal.headers)["www-authenticate"].startswith("Bearer realm=")


def test_a_key_that_begins_like_anothers_digest_is_not_that_key(keys: Keys) -> None:
    """What entries are found by is a part of the digest: the whole of it decides."""
    (stored,) = [one for one in keys.keyring.keys.entries.values() if one.caller.name == "desk"]
    stored.digest = stored.digest[:8] + bytes(24)
    assert keys.status(bearer(TESTER)) == 401


def test_a_key_that_was_right_before_is_compared_and_not_taken_by_its_hash(keys: Keys) -> None:
    """As if another key had the hash under which one that is right is remembered."""
    assert keys.status(bearer(SHOP)) == 200
    (known,) = keys.keyring.keys.recent.values()
    for wrong in (new_key(), "é"):
        keys.keyring.keys.recent[hash(wrong)] = known
        assert keys.status(bearer(wrong)) == 401
    assert keys.status(bearer(SHOP)) == 200


def test_a_key_of_any_letters_is_one(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.yaml", entry("schlüssel"))
    assert [keys.status(bearer("schlüssel")) for _ in range(2)] == [200, 200]
    assert not keys.keyring.keys.recent


def test_only_keys_that_are_right_are_remembered(keys: Keys) -> None:
    for _ in range(3):
        keys.status(bearer(new_key()))
        keys.status(bearer(SHOP))
    assert len(keys.keyring.keys.recent) == 1


def test_a_caller_has_the_role_and_the_surfaces_of_the_key(keys: Keys) -> None:
    shop, desk = keys.admit(bearer(SHOP)), keys.admit(bearer(TESTER))
    assert isinstance(shop, Caller)
    assert isinstance(desk, Caller)
    assert [(caller.role, caller.surfaces) for caller in (shop, desk)] == [("reader", {"home"}), ("tester", None)]


def test_a_key_is_let_in_as_often_as_it_says_and_told_when_to_come_again(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.yaml", entry(SHOP, rate=0.5, burst=2), entry(TESTER, "desk"))
    assert [keys.status(bearer(SHOP)) for _ in range(3)] == [200, 200, 429]
    refusal = keys.admit(bearer(SHOP))
    assert isinstance(refusal, Refusal)
    assert refusal.headers == (("retry-after", "2"),)
    assert refusal.detail == "Too many requests of shop: ask again in 2 s."
    assert keys.status(bearer(TESTER)) == 200
    assert [keys.status(bearer(SHOP), now) for now in (51.0, 52.0, 52.5, 54.0)] == [429, 200, 429, 200]


def test_processes_that_share_a_port_share_a_rate(tmp_path: Path) -> None:
    Keys(tmp_path / "keys.yaml", entry(SHOP, rate=4, burst=1))
    one_of_four = guard_of(Guard(keys="keys.yaml"), tmp_path, processes=4)
    assert one_of_four
    answers = [one_of_four.admit(bearer(SHOP), now) for now in (0.0, 0.5, 1.0)]
    assert [isinstance(answer, Refusal) for answer in answers] == [False, True, False]


def test_processes_that_share_a_port_share_what_may_come_at_once(tmp_path: Path) -> None:
    Keys(tmp_path / "keys.yaml", entry(SHOP, rate=4, burst=8))
    for guard in (Guard(keys="keys.yaml"), Guard(rate=4, burst=8)):
        one_of_four = guard_of(guard, tmp_path, processes=4)
        assert one_of_four
        answers = [one_of_four.admit(bearer(SHOP), 0.0, "192.0.2.1:50000") for _ in range(3)]
        assert [isinstance(answer, Refusal) for answer in answers] == [False, False, True]


def test_a_new_key_takes_over_while_the_old_one_still_works_and_both_have_one_rate(keys: Keys) -> None:
    keys.write(entry(SHOP, rate=1, burst=2), entry(SECOND, rate=1, burst=2))
    keys.keyring.look()
    assert [keys.status(bearer(key)) for key in (SHOP, SECOND, SECOND, SHOP)] == [200, 200, 429, 429]
    keys.write(entry(SECOND, rate=1, burst=2))
    keys.keyring.look()
    assert keys.status(bearer(SHOP)) == 401
    assert keys.status(bearer(SECOND)) == 429, "a file that changes must not refill the bucket"
    assert keys.status(bearer(SECOND), 51.0) == 200


def test_a_key_that_is_taken_out_is_refused_from_the_next_look_on(keys: Keys) -> None:
    keys.write(entry(SECOND))
    assert [keys.status(bearer(key)) for key in (SHOP, SECOND)] == [200, 401]
    keys.keyring.look()
    assert [keys.status(bearer(key)) for key in (SHOP, SECOND)] == [401, 200]


def test_a_key_expires_without_a_look(tmp_path: Path) -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    past = dt.datetime(2011, 11, 30, tzinfo=dt.UTC)
    keys = Keys(
        tmp_path / "keys.yaml",
        entry(SHOP, expires=f"{soon:%Y-%m-%dT%H:%M:%SZ}"),
        entry(TESTER, "desk", expires=f"{past:%Y-%m-%d}"),
    )
    now = time.monotonic()
    assert [keys.status(bearer(SHOP), at) for at in (now, now + 3500, now + 3700)] == [200, 200, 401]
    refusal = keys.admit(bearer(TESTER), now)
    assert isinstance(refusal, Refusal)
    assert refusal.detail == "This key of desk has expired, on 2011-11-30."


def test_an_expired_key_gets_in_at_no_moment_of_a_look(tmp_path: Path) -> None:
    tried = list[Caller | Refusal]()

    class Tried(Keyring):
        """The key is tried as soon as there are other keys."""

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name == "keys":
                tried.append(KeyGuard(self).admit(bearer(SHOP), time.monotonic()))

    (tmp_path / "keys.yaml").write_text(yaml.safe_dump({"keys": [entry(SHOP, expires="2011-11-30")]}))
    Tried(tmp_path / "keys.yaml")
    assert [found.detail if isinstance(found, Refusal) else "got in" for found in tried] == [
        "This key is not known. Was it replaced by another?",
        "This key of shop has expired, on 2011-11-30.",
    ]


@pytest.mark.parametrize("text", ["", "keys: [", "keys: {}", "keys: [{name: shop}]", "\x00", "[]"])
def test_a_broken_file_keeps_the_last_good_keys_is_counted_and_said_once(
    keys: Keys, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys.write(text=text)
    with caplog.at_level(logging.ERROR, "nightshift.serving"):
        for _ in range(3):
            keys.keyring.look()
    assert keys.guard.file_errors == 1
    assert [record.getMessage()[:31] for record in caplog.records] == ["the key file cannot be used, so"]
    assert str(keys.path) in caplog.text
    assert keys.status(bearer(SHOP)) == 200
    keys.write(entry(SECOND))
    keys.keyring.look()
    assert [keys.status(bearer(key)) for key in (SHOP, SECOND)] == [401, 200]


def test_a_file_that_is_gone_keeps_the_last_good_keys_too(keys: Keys) -> None:
    keys.path.unlink()
    keys.keyring.look()
    assert (keys.guard.file_errors, keys.status(bearer(SHOP))) == (1, 200)


def test_a_process_that_starts_while_the_file_is_broken_has_the_last_good_keys(tmp_path: Path) -> None:
    keys, kept = Keys(tmp_path / "keys.yaml", entry(SHOP)), tmp_path / "keys.good"
    older = Keyring(keys.path, kept=kept)
    keys.write(entry(SECOND, surfaces=["home"], rate=2.5, expires="2011-12-01"))
    older.look()
    keys.write(text="keys: [")
    newer = Keyring(keys.path, kept=kept)
    assert newer.errors == 1
    assert [(one.digest, one.caller, one.expires) for one in newer.keys.entries.values()] == [
        (one.digest, one.caller, one.expires) for one in older.keys.entries.values()
    ]
    assert newer.keys.find(SECOND)
    assert not newer.keys.find(SHOP)  # taken out before the file broke
    assert kept.stat().st_mode & 0o777 == 0o600
    keys.write(entry(TESTER, "desk"))
    newer.look()
    assert newer.keys.find(TESTER)


def test_the_file_is_followed_while_the_guard_runs_and_through_a_swapped_link(tmp_path: Path) -> None:
    """Kubernetes swaps a link to change a secret that is mounted."""
    for name, key in (("a", SHOP), ("b", SECOND)):
        (tmp_path / name).write_text(yaml.safe_dump({"keys": [entry(key)]}))
        os.utime(tmp_path / name, ns=(1, 1))
    link = tmp_path / "keys.yaml"
    link.symlink_to("a")
    guard = KeyGuard(Keyring(link), look_seconds=0.005)
    guard.start()
    try:
        assert isinstance(guard.admit(bearer(SHOP), 0), Caller)
        (tmp_path / "next").symlink_to("b")
        (tmp_path / "next").replace(link)
        deadline = time.monotonic() + 10
        while not isinstance(guard.admit(bearer(SECOND), 0), Caller):
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        guard.stop()
    assert isinstance(guard.admit(bearer(SHOP), 0), Refusal)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry(SHOP, rate=0)], "keys.0.rate: Input should be greater than 0"),
        ([entry(SHOP, burst=5)], "keys.0.burst: 5 at once needs a rate too"),
        ([entry(SHOP, role="boss")], "keys.0.role: Input should be 'reader', 'tester' or 'admin'"),
        ([entry(SHOP, "Anna Smith")], "keys.0.name: String should match pattern"),
        ([entry(SHOP, limit=5)], "keys.0.limit: no such key"),
        ([entry(SHOP), entry(SHOP, "desk")], "keys.1: the hash of desk is here twice"),
        ([entry(SHOP), entry(SECOND, role="admin")], "keys.1: shop has another key with another role"),
        ([entry(SHOP, expires="tomorrow")], "keys.0.expires: Input should be a valid datetime"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_with_its_line(
    tmp_path: Path, entries: list[dict[str, Any]], said: str
) -> None:
    (tmp_path / "keys.yaml").write_text(yaml.safe_dump({"keys": entries}))
    with pytest.raises(ConfigError) as refused:
        guard_of(Guard(keys="keys.yaml"), tmp_path)
    assert f": {said}" in str(refused.value)


def test_a_key_that_was_pasted_in_place_of_its_hash_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text(yaml.safe_dump({"keys": [{"name": "shop", "hash": SHOP}]}))
    with pytest.raises(ConfigError, match=r"keys\.0\.hash: is not blake2b") as refused:
        guard_of(Guard(keys="keys.yaml"), tmp_path)
    assert SHOP not in str(refused.value)


def test_a_missing_file_stops_the_start_and_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="guard new-key"):
        guard_of(Guard(keys="keys.yaml"), tmp_path)


def test_nothing_is_guarded_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert guard_of(Guard(), tmp_path) is None


def test_without_keys_each_address_is_limited(tmp_path: Path) -> None:
    guard = guard_of(Guard(rate=1, burst=1), tmp_path)
    assert guard
    clients = ["203.0.113.7:1", "203.0.113.8:1", "203.0.113.7:2", "[2001:db8::1]:5", "[2001:db8::2]:5"]
    answers = [guard.admit({"x-forwarded-for": "9.9.9.9"}, 0.0, client) for client in clients]
    assert [isinstance(answer, Refusal) for answer in answers] == [False, False, True, False, True]
    assert answers[0] == Caller("anonymous")
    refusal = answers[2]
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.headers) == (429, (("retry-after", "1"),))


def test_behind_proxies_of_ours_the_address_is_the_one_they_saw_and_not_one_made_up(tmp_path: Path) -> None:
    guard = guard_of(Guard(rate=1, burst=1, proxies=2), tmp_path)
    assert guard
    forwarded = [
        "203.0.113.7, 10.0.0.2",
        "6.6.6.6, 203.0.113.7, 10.0.0.3",  # the first was made up by the caller
        "203.0.113.8, 10.0.0.2",
        "10.0.0.9",  # not through both of them: the connection's own address counts
    ]
    answers = [guard.admit({"x-forwarded-for": hops}, 0.0, "10.0.0.1:80") for hops in forwarded]
    assert [isinstance(answer, Refusal) for answer in answers] == [False, True, False, False]


def test_a_proxy_may_put_the_address_into_a_line_of_its_own(tmp_path: Path) -> None:
    """As HAProxy does: what the caller sent comes first, in the caller's own line."""

    class Lines(dict[str, str]):
        def get_all(self, name: str) -> list[str]:
            return ["6.6.6.6", "203.0.113.7"] if name == "x-forwarded-for" else []

    guard = guard_of(Guard(rate=1, burst=1, proxies=1), tmp_path)
    assert guard
    lines = Lines({"x-forwarded-for": "6.6.6.6"})  # what `get` gives is the first, in Granian too
    known = guard.admit({"x-forwarded-for": "203.0.113.7"}, 0.0, "10.0.0.1:80")
    assert isinstance(known, Caller)
    assert isinstance(guard.admit(lines, 0.0, "10.0.0.1:80"), Refusal)


def test_a_rate_of_addresses_beside_keys_would_do_nothing_and_is_refused() -> None:
    with pytest.raises(ValidationError, match="with `keys`, give each key its rate in the key file"):
        Guard(keys="keys.yaml", rate=5)
