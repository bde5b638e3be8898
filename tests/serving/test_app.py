"""What each address answers: lists that name their run, and for bad input a problem with 4xx, never 5xx."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.publishing.storage import open_storage
from nightshift.serving.routes.query import ID_BYTES
from tests.publishing.planted import ITEMS, USERS, day, publish_live
from tests.serving.asking import Client, Response, make_client

STAMP = {
    "surface": "home",
    "run_date": "2011-11-30",
    "run_id": "night",
    "model": {"name": "nightshift-recommender", "version": "7", "kind": "two_stage"},
    "variant": "control",
}
MEMBERS = ["surface", "run_date", "run_id", "model", "variant", "user_id", "degraded", "items"]
POPULAR = {
    "level": "popular",
    "reason": "the run of 2011-11-30 does not know this user; these items are popular",
}


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


def must_be_a_problem(response: Response, status: int, said: str) -> None:
    assert (response.status, response.headers["content-type"]) == (status, "application/problem+json")
    problem = response.json()
    assert problem.keys() == {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert re.search(said, problem["detail"]), problem["detail"]


@pytest.mark.parametrize("user", USERS)
def test_a_user_gets_their_list_and_its_origin(client: Client, user: str) -> None:
    answer = client.get(f"/v1/users/{quote(user, safe='')}/recommendations").json()
    assert answer.items() >= {**STAMP, "user_id": user, "degraded": None}.items()
    assert items(answer) == list(ITEMS)
    assert list(answer) == MEMBERS
    assert set(answer["items"][0]) == {"item_id", "title", "score", "source", "reason"}


def test_k_cuts_the_list(client: Client) -> None:
    assert items(client.get("/v1/users/17850/recommendations?k=2").json()) == list(ITEMS[:2])
    assert client.get("/v1/items/22423/similar?k=1").json()["items"] == [
        {"item_id": "85123A", "title": "item 85123A of a", "score": 0.5}
    ]


def test_an_unknown_user_gets_the_popular_list_and_is_told_so(client: Client) -> None:
    answer = client.get("/v1/users/nobody/recommendations").json()
    assert answer.items() >= {**STAMP, "user_id": "nobody", "degraded": POPULAR}.items()
    assert items(answer) == list(ITEMS)
    assert list(answer) == MEMBERS


def test_similar_items_name_the_item_that_was_asked_for(client: Client) -> None:
    answer = client.get("/v1/items/22423/similar").json()
    assert answer.items() >= {**STAMP, "item_id": "22423", "title": "item 22423 of a"}.items()
    assert client.get(f"/v1/items/{quote('ü/é', safe='')}/similar").json()["items"] == []
    must_be_a_problem(client.get("/v1/items/nothing/similar"), 404, "'nothing' is not known to the run of 2011-11-30")


def test_a_batch_is_answered_in_the_order_asked(client: Client) -> None:
    answer = client.post("/v1/recommendations:batch", json={"user_ids": ["17850", "nobody", "17850"], "k": 3}).json()
    assert answer.items() >= STAMP.items()
    assert [result["user_id"] for result in answer["results"]] == ["17850", "nobody", "17850"]
    assert [result["degraded"] for result in answer["results"]] == [None, POPULAR, None]
    assert {len(result["items"]) for result in answer["results"]} == {3}
    assert client.post("/v1/recommendations:batch", json={"user_ids": []}).json()["results"] == []


@pytest.mark.parametrize("k", ["0", "21", "-1", "1.5", "x", "", "\uff11", "1_0", " 5", "99999999999999999999", "%00"])
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
        (b'{"user_ids": [17850]}', 400, r"user_ids\[0\] must be a text"),
        (b'{"user_ids": [""]}', 400, r"user_ids\[0\] must be a text of 1 to 1024"),
        (b'{"user_ids": ["1", "2", "3", "4"]}', 400, "There are 4 user_ids; at most 3"),
        (b'{"user_ids": ["1"], "k": true}', 400, "k must be"),
        (b'{"user_ids": ["1"], "k": 1.5}', 400, "k must be"),
        (b'{"user_ids": ["1"], "k": "1"}', 400, "k must be"),
        (b'{"user_ids": ["1"], "k": 0}', 400, "k must be"),
        (b'{"user_ids": ["1"], "k": 123456789012345678901234567890}', 400, "k must be"),
        (b'{"user_ids": [], "surface": "mail"}', 400, "no surface 'mail'; there are home"),
        (b'{"user_ids": [], "surface": 1}', 400, "no surface '1'"),
        (b'{"user_ids": [], "exclude": "22423"}', 400, "exclude must be a list"),
        (b'{"user_ids": [], "exclude": [1]}', 400, r"exclude\[0\] must be a text"),
        (b'{"user_ids": [], "exclude": [%s]}' % b",".join([b'"1"'] * 201), 400, "at most 200 ids"),
        (b'{"user_ids": [], "filter": ["kind:mug"]}', 400, "filter must be like"),
        (b'{"user_ids": [], "filter": {"kind": "mug"}}', 400, "filter must be like"),
        (b'{"user_ids": [], "filter": {"kind": []}}', 400, "filter must be like"),
        (b'{"user_ids": [], "filter": {"": ["mug"]}}', 400, "filter must be like"),
        (b" " * 3_000_000, 413, "more than"),
    ],
)
def test_a_batch_that_is_wrong_is_refused(client: Client, body: bytes, status: int, said: str) -> None:
    must_be_a_problem(client.post("/v1/recommendations:batch", body=body), status, said)


def test_an_id_that_is_too_long_or_no_text_is_refused(client: Client) -> None:
    longest = "é" * (ID_BYTES // 2)
    assert client.get(f"/v1/users/{quote(longest)}/recommendations").status == 200
    must_be_a_problem(client.get(f"/v1/users/{quote(longest)}x/recommendations"), 400, "1025 bytes; at most 1024")
    must_be_a_problem(client.get("/v1/users/%FF/recommendations"), 400, "not UTF-8")
    must_be_a_problem(client.get("/v1/users//recommendations"), 400, "1 to 1024 bytes")
    batch = {"user_ids": [longest + "x"]}
    must_be_a_problem(client.post("/v1/recommendations:batch", json=batch), 400, "1025 bytes")


def test_three_of_the_longest_ids_fit_in_a_batch_however_they_are_written(client: Client) -> None:
    body = b'{"user_ids": [%s]}' % b", ".join([b'"%s"' % (rb"\u0061" * ID_BYTES)] * 3)
    assert client.post("/v1/recommendations:batch", body=body).status == 200


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("k=1&k=2", "k is given 2 times"),
        ("surface=mail", "no surface 'mail'; there are home"),
        ("exlude=22423", "no parameter 'exlude'; there are k, surface, exclude, filter, segment"),
        ("exclude=", "exclude must be a text of 1 to 1024 bytes"),
        (f"exclude={'x' * 1025}", "exclude has 1025 bytes"),
        ("filter=kind", "filter must be like attribute:value, not 'kind'"),
        ("filter=:mug", "filter must be like"),
        ("filter=kind:", "filter must be like"),
        ("segment=Germany", "segment must be like attribute:value"),
        ("segment=a:b&segment=a:c", "segment is given 2 times"),
        ("k=%FF", "not UTF-8 text"),
        ("exclude=%FF", "not UTF-8 text"),
    ],
)
def test_parameters_that_are_wrong_are_refused_with_what_is_allowed(client: Client, query: str, said: str) -> None:
    must_be_a_problem(client.get(f"/v1/users/17850/recommendations?{query}"), 400, said)


def test_an_address_that_is_too_long_is_refused(client: Client) -> None:
    for address in (f"/v1/users/{'x' * 9000}/recommendations", f"/{'x' * 9000}"):
        must_be_a_problem(client.get(address), 414, "9.*characters; at most 8192")
    must_be_a_problem(client.get(f"/v1/users/1/recommendations?exclude={'x' * 9000}"), 414, "at most 8192")


def test_a_batch_that_says_it_is_too_large_is_not_read(client: Client) -> None:
    refused = client.request("POST", "/v1/recommendations:batch", b"", {"content-length": "99999999"})
    must_be_a_problem(refused, 413, "more than")


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/v1/status/", 404, "no such page"),
        ("GET", "/v1/users/recommendations", 404, "no such page"),
        ("GET", "/v1/users/17850", 404, "no such page"),
        ("POST", "/v1/users/17850/recommendations", 405, "POST is not for this address; use GET, HEAD"),
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
    response = client.get(f"/v1/{route}/{written}/{tail}?k={quote(k, errors='surrogatepass')}")
    assert response.status in (200, 400, 404)
    if response.status == 200:
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
    assert client.post("/v1/recommendations:batch", body=body).status in (200, 400, 413)


def orjsonable(value: object) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def test_before_the_first_publish_the_service_is_alive_and_not_ready(empty: Client) -> None:
    assert empty.get("/healthz").status == 200
    assert empty.get("/v1/status").json().items() >= {"surface": "home", "live": None}.items()
    for path in ("/readyz", "/v1/users/1/recommendations", "/v1/items/1/similar"):
        must_be_a_problem(empty.get(path), 503, "nothing is published for home. Run a night")
    must_be_a_problem(empty.post("/v1/recommendations:batch", json={"user_ids": ["1"]}), 503, "Run a night")
    must_be_a_problem(empty.get("/v1/users/1/recommendations?k=0"), 400, "k must be")


def test_ready_and_status_name_the_run(client: Client) -> None:
    assert client.get("/readyz").json() == {"status": "ready", **STAMP}
    status = client.get("/v1/status").json()
    assert (status["refused"], status["stale"], status["trouble"]) == (None, None, None)
    without_variant = {name: value for name, value in STAMP.items() if name != "variant"}
    assert status["live"].items() >= {**without_variant, "tables": {"events": 12, "user_features": 3}}.items()
    assert status["channels"].keys() == {"current"}


def test_head_is_answered_as_get_is(client: Client) -> None:
    for address in ("/v1/users/17850/recommendations", "/v1/items/22423/similar", "/healthz", "/docs"):
        assert client.request("HEAD", address) == client.get(address)


def test_an_answer_that_is_at_hand_is_not_sent_again(client: Client) -> None:
    address = "/v1/users/17850/recommendations"
    first = client.get(address)
    assert first.headers["cache-control"] == "private, max-age=60"
    tag = first.headers["etag"]
    for wanted in (tag, f"W/{tag}", f'"other", {tag}', "*", f'{tag[:-1]}-gzip"'):
        again = client.get(address, headers={"if-none-match": wanted})
        assert (again.status, again.body) == (304, b""), wanted
        assert {"etag", "cache-control", "vary"} <= again.headers.keys()
    for other in ('"other"', tag.strip('"'), ""):
        assert client.get(address, headers={"if-none-match": other}).status == 200


def test_every_run_has_a_tag_of_its_own(client: Client, tmp_path: Path) -> None:
    storage = open_storage(tmp_path.as_uri())
    publish_live(storage, day(30), "another-night")
    other = make_client(storage, tmp_path)
    address = "/v1/users/17850/recommendations"
    assert client.get(address).headers["etag"] != other.get(address).headers["etag"]


@pytest.mark.parametrize(
    ("accept", "packs"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("GZIP", True), ("gzip;q=0", False), ("identity", False), ("br", False)],
)
def test_who_asks_for_gzip_gets_it_where_it_pays(client: Client, accept: str, packs: bool) -> None:
    for address in ("/v1/users/17850/recommendations?k=1", "/openapi.json"):
        plain, packed = client.get(address), client.get(address, headers={"accept-encoding": accept})
        pays = packs and len(plain.body) > 1024
        assert ("content-encoding" in packed.headers) == pays
        assert (gzip.decompress(packed.body) if pays else packed.body) == plain.body
        assert (packed.headers["etag"] != plain.headers["etag"]) == pays
        assert packed.headers["vary"] == "accept-encoding"
    batch = {"user_ids": ["17850", "13047", "nobody"]}
    packed = client.post("/v1/recommendations:batch", batch, headers={"accept-encoding": accept})
    assert ("content-encoding" in packed.headers) == packs


def test_answers_are_safe_to_open_in_a_browser(client: Client) -> None:
    for address in ("/v1/users/17850/recommendations", "/docs", "/metrics", "/no/such/page", "/v1/status"):
        headers = client.get(address).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    policy = client.get("/docs").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


def test_metrics_count_requests_by_route_and_lists_by_level(tmp_path: Path) -> None:
    storage = open_storage(tmp_path.as_uri())
    publish_live(storage, day(30), "night")
    client = make_client(storage, tmp_path)
    client.get("/v1/users/17850/recommendations")
    client.get("/v1/users/17850/recommendations", headers={"if-none-match": "*"})
    client.get("/v1/users/nobody/recommendations")
    client.get("/v1/users/17850/recommendations?k=x")
    client.get("/no/such/page")
    text = client.get("/metrics").text
    for line in (
        'nightshift_lookup_requests_total{route="recommendations",status="200"} 2.0',
        'nightshift_lookup_requests_total{route="recommendations",status="304"} 1.0',
        'nightshift_lookup_requests_total{route="recommendations",status="400"} 1.0',
        'nightshift_lookup_requests_total{route="unknown",status="404"} 1.0',
        'nightshift_lookup_lists_total{list="own",surface="home"} 2.0',
        'nightshift_lookup_lists_total{list="popular",surface="home"} 1.0',
        'nightshift_lookup_lists_total{list="segment",surface="home"} 0.0',
        'nightshift_lookup_runs_opened_total{surface="home"} 1.0',
        'nightshift_lookup_request_seconds_bucket{le="+Inf",route="recommendations"} 4.0',
        'nightshift_lookup_request_seconds_count{route="recommendations"} 4.0',
    ):
        assert line in text, line
    live = re.search(r"nightshift_lookup_live_run\{(.*)\} 1.0", text)
    assert live
    for label in ('run_date="2011-11-30"', 'run_id="night"', 'model="7"', 'surface="home"', 'channel="current"'):
        assert label in live[1]


def test_a_request_that_breaks_the_service_is_answered_and_counted(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    live = client.service.live("home")
    monkeypatch.setattr(live, "first", lambda user_id, k: 1 / 0)
    monkeypatch.setattr(live, "user", lambda *_: 1 / 0)
    must_be_a_problem(client.get("/v1/users/17850/recommendations"), 500, "its log says why")
    must_be_a_problem(client.post("/v1/recommendations:batch", {"user_ids": ["17850"]}), 500, "its log says why")
    assert "ZeroDivisionError" in caplog.text
