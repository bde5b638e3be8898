"""What each address answers: lists that name their run, and for bad input a problem with 4xx, never 5xx."""

from __future__ import annotations

import asyncio
import functools
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import validate
from starlette.applications import Starlette

from nightshift.publishing.storage import Storage, open_storage
from nightshift.serving.app import ID_BYTES, ROUTES, Limits, Service, make_app
from nightshift.serving.follower import Follower
from nightshift.serving.metrics import Metrics
from tests.publishing.planted import ITEMS, USERS, day, publish_live

STAMP = {
    "surface": "home",
    "run_date": "2011-11-30",
    "run_id": "night",
    "model": {"name": "nightshift-recommender", "version": "7", "kind": "two_stage"},
}


class Client:
    """Asks the application itself, without a server."""

    def __init__(self, app: Starlette) -> None:
        self.app = app

    def request(self, method: str, path: str, **asked: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://lookup") as client:
                return await client.request(method, path, **asked)

        return asyncio.run(ask())

    get = functools.partialmethod(request, "GET")
    post = functools.partialmethod(request, "POST")


def make_client(storage: Storage, cache: Path) -> Client:
    metrics = Metrics()
    follower = Follower(storage, "home", cache, metrics)
    follower.look()
    return Client(make_app(Service(follower, metrics, Limits(20, 10, 3)), poll_seconds=60))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    """The service with a run of 30 November live; k up to 20, 3 users a batch."""
    folder = tmp_path_factory.mktemp("store")
    storage = open_storage(folder.as_uri())
    publish_live(storage, day(30), "night")
    return make_client(storage, folder)


@pytest.fixture
def empty(tmp_path: Path) -> Client:
    """The service before anything was published."""
    return make_client(open_storage(tmp_path.as_uri()), tmp_path)


def items(answer: dict[str, Any]) -> list[str]:
    return [entry["item_id"] for entry in answer["items"]]


def must_be_a_problem(response: Any, status: int, said: str) -> None:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    problem = response.json()
    assert problem.keys() == {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert re.search(said, problem["detail"]), problem["detail"]


@pytest.mark.parametrize("user", USERS)
def test_a_user_gets_their_list_and_its_origin(client: Client, user: str) -> None:
    answer = client.get(f"/v1/users/{quote(user, safe='')}/recommendations").json()
    assert answer.items() >= {**STAMP, "user_id": user}.items()
    assert items(answer) == list(ITEMS)
    assert "fallback" not in answer
    assert set(answer["items"][0]) == {"item_id", "title", "score", "source", "reason"}


def test_k_cuts_the_list(client: Client) -> None:
    assert items(client.get("/v1/users/17850/recommendations?k=2").json()) == list(ITEMS[:2])
    assert client.get("/v1/items/22423/similar?k=1").json()["items"] == [
        {"item_id": "85123A", "title": "item 85123A of a", "score": 0.5}
    ]


def test_an_unknown_user_gets_the_popular_list_and_is_told_so(client: Client) -> None:
    answer = client.get("/v1/users/nobody/recommendations").json()
    assert answer.items() >= {**STAMP, "fallback": "popular"}.items()
    assert answer["reason"] == "the run of 2011-11-30 does not know this user; these items are popular"
    assert items(answer) == list(ITEMS)


def test_similar_items_name_the_item_that_was_asked_for(client: Client) -> None:
    answer = client.get("/v1/items/22423/similar").json()
    assert answer.items() >= {**STAMP, "item_id": "22423", "title": "item 22423 of a"}.items()
    assert client.get(f"/v1/items/{quote('ü/é', safe='')}/similar").json()["items"] == []
    must_be_a_problem(client.get("/v1/items/nothing/similar"), 404, "'nothing' is not known to the run of 2011-11-30")


def test_a_batch_is_answered_in_the_order_asked(client: Client) -> None:
    answer = client.post("/v1/recommendations:batch", json={"user_ids": ["17850", "nobody", "17850"], "k": 3}).json()
    assert answer.items() >= STAMP.items()
    assert [result["user_id"] for result in answer["results"]] == ["17850", "nobody", "17850"]
    assert [result.get("fallback") for result in answer["results"]] == [None, "popular", None]
    assert {len(result["items"]) for result in answer["results"]} == {3}
    assert client.post("/v1/recommendations:batch", json={"user_ids": []}).json()["results"] == []


@pytest.mark.parametrize(
    "k", ["0", "21", "-1", "1.5", "x", "", "\uff11", "1_0", " 5", "99999999999999999999", "%FF", "%00"]
)
def test_a_k_that_is_no_number_in_range_is_refused(client: Client, k: str) -> None:
    must_be_a_problem(
        client.get(f"/v1/users/17850/recommendations?k={k}"), 400, "k must be a whole number from 1 to 20"
    )


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b'{"user_ids": ["\\ud800"]}', 400, "not JSON"),
        (b"\xff", 400, "not JSON"),
        (b"[" * 3000, 400, "not JSON"),
        (b"[]", 400, "must be like"),
        (b'{"user_ids": "17850"}', 400, "must be like"),
        (b'{"user_ids": [], "K": 5}', 400, "must be like"),
        (b'{"user_ids": [17850]}', 400, r"user_ids\[0\] must be a string"),
        (b'{"user_ids": [""]}', 400, r"user_ids\[0\] must be a string of 1 to 1024"),
        (b'{"user_ids": ["1", "2", "3", "4"]}', 400, "There are 4 user_ids; at most 3"),
        (b'{"user_ids": ["1"], "k": true}', 400, "k must be"),
        (b'{"user_ids": ["1"], "k": 1.0}', 400, "k must be"),
        (b'{"user_ids": ["1"], "k": 0}', 400, "k must be"),
        (b'{"user_ids": ["1"], "k": 123456789012345678901234567890}', 400, "k must be"),
        (b" " * 30_000, 413, "more than"),
    ],
)
def test_a_batch_that_is_wrong_is_refused(client: Client, body: bytes, status: int, said: str) -> None:
    must_be_a_problem(client.post("/v1/recommendations:batch", content=body), status, said)


def test_an_id_that_is_too_long_or_no_text_is_refused(client: Client) -> None:
    longest = "é" * (ID_BYTES // 2)
    assert client.get(f"/v1/users/{quote(longest)}/recommendations").status_code == 200
    must_be_a_problem(client.get(f"/v1/users/{quote(longest)}x/recommendations"), 400, "1025 bytes; at most 1024")
    must_be_a_problem(client.get("/v1/users/%FF/recommendations"), 400, "not UTF-8")
    must_be_a_problem(client.get("/v1/users//recommendations"), 400, "1 to 1024 bytes")
    batch = {"user_ids": [longest + "x"]}
    must_be_a_problem(client.post("/v1/recommendations:batch", json=batch), 400, "1025 bytes")


def test_three_of_the_longest_ids_fit_in_a_batch_however_they_are_written(client: Client) -> None:
    body = b'{"user_ids": [%s]}' % b", ".join([b'"%s"' % (rb"\u0061" * ID_BYTES)] * 3)
    assert client.post("/v1/recommendations:batch", content=body).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/", 404, "GET /docs"),
        ("GET", "/v1/status/", 404, "no such page"),
        ("GET", "/v1/users/17850", 404, "no such page"),
        ("POST", "/v1/users/17850/recommendations", 405, "POST is not for this address; use .*GET"),
        ("GET", "/v1/recommendations:batch", 405, "use POST"),
        ("DELETE", "/metrics", 405, "DELETE"),
    ],
)
def test_what_is_not_there_is_a_problem_too(client: Client, method: str, path: str, status: int, said: str) -> None:
    response = client.request(method, path)
    must_be_a_problem(response, status, said)
    assert ("allow" in response.headers) == (status == 405)


@given(name=st.text(), k=st.text(max_size=5) | st.integers().map(str), route=st.sampled_from(["users", "items"]))
def test_no_id_and_no_k_whatever_break_the_service(client: Client, name: str, k: str, route: str) -> None:
    tail = "recommendations" if route == "users" else "similar"
    written = quote(name, safe="", errors="surrogatepass")
    response = client.get(f"/v1/{route}/{written}/{tail}", params={"k": k.encode(errors="surrogatepass")})
    assert response.status_code in (200, 400, 404)
    if response.status_code == 200:
        assert response.json()[f"{route[:-1]}_id"] == name


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["user_ids", "k"]), inner),
)


@given(
    json.map(lambda value: orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS) if orjsonable(value) else b"")
    | st.binary()
)
def test_no_body_whatever_breaks_the_service(client: Client, body: bytes) -> None:
    assert client.post("/v1/recommendations:batch", content=body).status_code in (200, 400, 413)


def orjsonable(value: object) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def test_before_the_first_publish_the_service_is_alive_and_not_ready(empty: Client) -> None:
    assert empty.get("/healthz").status_code == 200
    assert empty.get("/v1/status").json().items() >= {"surface": "home", "live": None}.items()
    for path in ("/readyz", "/v1/users/1/recommendations", "/v1/items/1/similar"):
        must_be_a_problem(empty.get(path), 503, "nothing is published for home. Run a night")
    must_be_a_problem(empty.post("/v1/recommendations:batch", json={"user_ids": ["1"]}), 503, "Run a night")
    must_be_a_problem(empty.get("/v1/users/1/recommendations?k=0"), 400, "k must be")


def test_ready_and_status_name_the_run(client: Client) -> None:
    assert client.get("/readyz").json() == {"status": "ready", **STAMP}
    status = client.get("/v1/status").json()
    assert status["refused"] is None
    assert status["live"].items() >= {**STAMP, "tables": {"events": 12, "user_features": 3}}.items()


def test_metrics_count_requests_by_route_and_lists_by_kind(tmp_path: Path) -> None:
    storage = open_storage(tmp_path.as_uri())
    publish_live(storage, day(30), "night")
    client = make_client(storage, tmp_path)
    client.get("/v1/users/17850/recommendations")
    client.get("/v1/users/nobody/recommendations")
    client.get("/v1/users/17850/recommendations?k=x")
    client.get("/no/such/page")
    text = client.get("/metrics").text
    for line in (
        'nightshift_lookup_requests_total{route="recommendations",status="200"} 2.0',
        'nightshift_lookup_requests_total{route="recommendations",status="400"} 1.0',
        'nightshift_lookup_requests_total{route="unknown",status="404"} 1.0',
        'nightshift_lookup_lists_total{list="own"} 1.0',
        'nightshift_lookup_lists_total{list="popular"} 1.0',
        'nightshift_lookup_live_run{model="7",run_date="2011-11-30",run_id="night",surface="home"} 1.0',
        "nightshift_lookup_runs_opened_total 1.0",
        'nightshift_lookup_request_seconds_count{route="recommendations"} 3.0',
    ):
        assert line in text, line


def test_the_description_is_valid_and_names_every_route_and_no_other(client: Client) -> None:
    description = client.get("/openapi.json").json()
    validate(description)
    described = {(method.upper(), path) for path, methods in description["paths"].items() for method in methods}
    assert described == {(method, path.replace(":id}", "}")) for method, path, _ in ROUTES}


@pytest.mark.parametrize(
    ("method", "path", "schema"),
    [
        ("GET", "/v1/users/17850/recommendations", "Recommendations"),
        ("GET", "/v1/users/nobody/recommendations", "Recommendations"),
        ("POST", "/v1/recommendations:batch", "Batch"),
        ("GET", "/v1/items/22423/similar", "Similar"),
        ("GET", "/v1/status", "Status"),
        ("GET", "/healthz", "Health"),
        ("GET", "/readyz", "Ready"),
        ("GET", "/no/such/page", "Problem"),
    ],
)
def test_answers_are_as_they_are_described(client: Client, method: str, path: str, schema: str) -> None:
    body = b'{"user_ids": ["17850", "nobody"]}' if method == "POST" else None
    answer = client.request(method, path, content=body).json()
    jsonschema.validate(answer, client.get("/openapi.json").json()["components"]["schemas"][schema])


def test_the_page_for_people_needs_nothing_from_elsewhere(client: Client) -> None:
    response = client.get("/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "<code>GET /v1/users/{user_id}/recommendations</code>" in response.text
    assert not re.search(r"(src|href)=.https?://|<script|@import", response.text)
