"""What a user bought: as the run has it, for who may know, and nowhere where it is turned off."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest

from nightshift.publishing.lists import load_lists
from nightshift.publishing.pointer import make_live
from nightshift.publishing.storage import Storage, open_storage
from nightshift.serving.following.channel import Follows
from nightshift.serving.guard.admission import AddressGuard, Refusal
from nightshift.serving.guard.keys import Caller
from nightshift.serving.guard.rates import AddressBuckets
from nightshift.serving.seams import Seams
from tests.publishing.planted import NOW, USERS, day, publish_lists, publish_live, write_lists, write_more
from tests.serving.asking import Client, make_client

ADDRESS = "/v1/users/17850/history"
BOUGHT = {user: [("85123A", day(3), 1), ("22423", day(9), 4)] for user in USERS if user != "13047"}


class Keys:
    """Lets in by the name of a role."""

    by_address = False

    def admit(self, headers: Any, now: float, client: str = "") -> Caller | Refusal:
        role = headers.get("x-api-key")
        if role in ("reader", "tester", "admin"):
            return Caller("somebody", role)
        return Caller("mailer", "tester", frozenset({"mail"})) if role == "mailer" else Refusal(401, "A key is needed.")

    def start(self) -> None: ...
    def stop(self) -> None: ...


def published(folder: Path) -> Storage:
    storage = open_storage((folder / "published").as_uri())
    lists = load_lists(write_more(write_lists(folder / "lists"), ["country:Spain"], BOUGHT))
    make_live(storage, "home", publish_lists(storage, day(30), "night", lists).run, NOW)
    return storage


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return published(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def client(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return make_client(storage, tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("user", BOUGHT)
def test_what_a_user_bought_comes_the_latest_first_and_names_its_run(client: Client, user: str) -> None:
    found = client.get(f"/v1/users/{quote(user, safe='')}/history").json()
    assert (found["run_date"], found["run_id"], found["user_id"]) == ("2011-11-30", "night", user)
    assert found["items"] == [
        {"item_id": "22423", "title": "item 22423 of a", "bought_on": "2011-11-09", "times": 4},
        {"item_id": "85123A", "title": "item 85123A of a", "bought_on": "2011-11-03", "times": 1},
    ]
    components = client.get("/openapi.json").json()["components"]
    described = {"$ref": "#/components/schemas/History", "components": components}
    jsonschema.Draft202012Validator(described).validate(found)


@pytest.mark.parametrize("user", ["13047", "nobody"])
def test_of_whom_the_run_knows_no_purchase_is_told_404(client: Client, user: str) -> None:
    answer = client.get(f"/v1/users/{user}/history")
    assert (answer.status, answer.json()["detail"]) == (404, f"The run of 2011-11-30 has no purchases of {user!r}.")


def test_it_is_unchanged_for_who_has_it(client: Client) -> None:
    tag = client.get(ADDRESS).headers["etag"]
    assert client.get(ADDRESS, headers={"if-none-match": tag}).status == 304
    assert client.get("/v1/users/nobody/history", headers={"if-none-match": tag}).status == 404


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("GET", f"{ADDRESS}?surface=mail", 400),
        ("GET", f"{ADDRESS}?k=3", 400),
        ("POST", ADDRESS, 405),
        ("GET", "/v1/users//history", 400),
        ("GET", "/v1/users/history", 404),
    ],
)
def test_what_cannot_be_asked_is_a_problem(client: Client, method: str, address: str, status: int) -> None:
    assert client.request(method, address).status == status


@pytest.mark.parametrize(
    ("key", "status"), [("", 401), ("reader", 403), ("mailer", 403), ("tester", 200), ("admin", 200)]
)
def test_where_keys_are_asked_for_it_is_for_testers(storage: Storage, tmp_path: Path, key: str, status: int) -> None:
    client = make_client(storage, tmp_path, seams=Seams(guard=Keys()))
    for known in ("17850", "nobody"):  # a reader is not told, either, of whom there is one
        answer = client.get(f"/v1/users/{known}/history", headers={"x-api-key": key})
        assert answer.status == (404 if (known, status) == ("nobody", 200) else status)


def test_where_only_rates_are_limited_everybody_may_read_it(storage: Storage, tmp_path: Path) -> None:
    guard = AddressGuard(AddressBuckets(100, 100, 16))
    assert make_client(storage, tmp_path, seams=Seams(guard=guard)).get(ADDRESS).status == 200


def test_where_it_is_turned_off_there_is_no_such_address(storage: Storage, tmp_path: Path) -> None:
    client = make_client(storage, tmp_path, histories=False)
    assert client.get(ADDRESS).status == 404
    assert "/v1/users/{user_id}/history" not in client.get("/openapi.json").json()["paths"]
    assert "/v1/users/{user_id}/history" not in client.app.routes


def test_a_shard_that_is_not_here_is_fetched_and_the_reader_told_to_come_again(
    storage: Storage, tmp_path: Path
) -> None:
    client = make_client(storage, tmp_path, how=Follows(lazy=True))
    answer = client.get(ADDRESS)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    live = client.service.followers["home"].live
    assert live
    live.fetcher.wait()
    assert len(client.get(ADDRESS).json()["items"]) == 2
    assert client.get("/v1/users/nobody/recommendations?segment=country:Spain").json()["degraded"]["level"] == "segment"


def test_a_run_is_let_go_of_by_the_answers_that_a_user_is_on_the_way(tmp_path: Path) -> None:
    storage = published(tmp_path)
    client = make_client(storage, tmp_path / "cache", how=Follows(lazy=True))
    assert client.get(ADDRESS).status == 503
    follower = client.service.followers["home"]
    assert follower.live
    follower.live.fetcher.wait()
    old = weakref.ref(follower.live)
    publish_live(storage, day(30), "again")
    follower.look()
    assert follower.live is not old()
    gc.collect()
    assert old() is None
