"""Bytes of a shard that change while it is served: readers get lists, are told why, and the shard comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nightshift.publishing.read import cached
from nightshift.publishing.records import user_key
from nightshift.publishing.storage import Storage, open_storage
from nightshift.serving.following import shards
from tests.publishing.planted import ITEMS, day
from tests.serving.asking import Client, make_client
from tests.serving.planted_records import attribute_pairs, entries, publish_with, segment_pairs

OWN = "/v1/users/17850/recommendations"
ITEM = f"/v1/items/{ITEMS[0]}/similar"
HISTORY = "/v1/users/17850/history"
BATCH = "/v1/recommendations:batch"
PAIRS = [
    *segment_pairs({"country:Germany": ["de0", "de1"]}),
    *attribute_pairs({ITEMS[0]: {"kind": "lamp"}}),
    (b"h:17850", entries(ITEMS[:1])),
]
READ = ("GET", OWN), ("GET", f"{OWN}?segment=country:Germany"), ("GET", f"{OWN}?exclude=x&filter=kind:lamp")
READ += ("GET", ITEM), ("GET", f"{ITEM}?exclude=x"), ("POST", BATCH)


@pytest.fixture
def s3(s3_endpoint: str, tmp_path: Path) -> Storage:
    """An empty store on a real S3 server, so that what is served has been downloaded."""
    return open_storage(f"s3://published-lists/{tmp_path.name}-{id(tmp_path)}", s3_endpoint)


def damage(client: Client, items: bool = False) -> None:
    """Overwrite every page of the shards of users, or of items, but the two with which LMDB opens them."""
    manifest, follower = client.service.live("home").run.manifest, client.service.followers["home"]
    paths = [
        follower.storage.local(manifest.folder + file.path) or cached(follower.cache, file)
        for file in (manifest.item_shards if items else manifest.user_shards)
    ]
    for path in paths:
        with path.open("r+b") as file:
            file.seek(2 * 4096)
            file.write(b"\xff" * (path.stat().st_size - 2 * 4096))


def ask(client: Client, method: str, address: str) -> Any:
    return client.post(address, {"user_ids": ["17850"]}) if method == "POST" else client.get(address)


def count(client: Client, event: str) -> int:
    return {name: times for _, name, times in client.service.metrics.events()}[event]


@pytest.mark.parametrize(("method", "address"), READ)
@pytest.mark.parametrize("items", [False, True], ids=["of users", "of items"])
def test_a_damaged_shard_is_no_error_for_a_reader(
    s3: Storage, tmp_path: Path, method: str, address: str, items: bool
) -> None:
    publish_with(s3, day(29), "night", PAIRS)
    client = make_client(s3, tmp_path)
    before = ask(client, method, address).json()
    damage(client, items)
    for _ in range(3):
        assert ask(client, method, address).status == 200
    client.service.live("home").fetcher.wait()
    assert client.service.live("home").fetcher.missing == 0
    assert ask(client, method, address).json() == before


def test_a_damaged_shard_is_said_and_counted_and_fetched_again(s3: Storage, tmp_path: Path) -> None:
    publish_with(s3, day(29), "night", PAIRS)
    client = make_client(s3, tmp_path)
    before = client.get(OWN)
    damage(client)
    answer = client.get(f"{OWN}?segment=country:Germany")
    assert answer.json()["degraded"] == {
        "level": "segment",
        "reason": "the run of 2011-11-29 cannot be read for this user; these items are for country:Germany",
    }
    assert (answer.headers["cache-control"], "etag" in answer.headers) == ("no-store", False)
    assert count(client, "damaged") == 1
    client.service.live("home").fetcher.wait()
    assert client.get(OWN) == before
    assert client.get("/v1/status").json()["trouble"] is None


def test_a_store_whose_own_file_is_damaged_is_said_until_its_hash_is_right_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage((tmp_path / "store").as_uri())
    publish_with(storage, day(29), "night", PAIRS)
    client = make_client(storage, tmp_path / "cache")
    live, before = client.service.live("home"), client.get(OWN)
    whole = {storage.local(live.run.manifest.folder + file.path): b"" for file in live.run.manifest.user_shards}
    whole = {path: path.read_bytes() for path in whole if path}
    damage(client)
    for _ in range(3):
        assert client.get(OWN).json()["degraded"]["level"] == "popular"
        live.fetcher.wait()
    history = client.get(HISTORY)
    assert (history.status, history.headers["retry-after"]) == (503, "1")
    assert "parts/part-" in client.get("/v1/status").json()["trouble"]
    assert client.get("/readyz").status == 200
    for path, content in whole.items():
        path.write_bytes(content)
    monkeypatch.setattr(shards.time, "monotonic", lambda: float("inf"))
    client.service.followers["home"].look()  # nobody asks
    live.fetcher.wait()
    assert client.get(OWN) == before


def test_a_record_that_does_not_parse_is_a_damaged_shard_too(tmp_path: Path) -> None:
    storage = open_storage((tmp_path / "store").as_uri())
    publish_with(storage, day(29), "night", [(user_key("17850"), b'[{"item_'), *PAIRS])
    client = make_client(storage, tmp_path / "cache")
    assert client.get(f"{OWN}?exclude=x").json()["degraded"]["level"] == "popular"
    assert count(client, "damaged") == 1
