"""What is plugged in is asked in its place and only there: keys, request ids, access log, experiments, exposures."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from nightshift.publishing.manifest import Run
from nightshift.publishing.pointer import Pointer
from nightshift.publishing.storage import Storage, open_storage
from nightshift.serving.seams import Seams
from tests.publishing.planted import NOW, day, publish, publish_live
from tests.serving.asking import Client, make_client

OWN = "/v1/users/17850/recommendations"
CHALLENGED = "/v1/users/13047/recommendations"


@dataclass(frozen=True)
class Caller:
    name: str
    role: str = "reader"
    surfaces: frozenset[str] | None = None


@dataclass(frozen=True)
class Refusal:
    status: int
    detail: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Plugged:
    """Everything that can be plugged in; it remembers what it was told."""

    callers: Mapping[str, Caller] = field(
        default_factory=lambda: {
            "reader": Caller("shop"),
            "tester": Caller("lab", "tester"),
            "mail": Caller("mailer", surfaces=frozenset({"mail"})),
        }
    )
    asked: list[tuple[str, str]] = field(default_factory=list)
    lines: list[tuple[str, int, str, str]] = field(default_factory=list)
    shown: list[tuple[str, str, str, str | None]] = field(default_factory=list)
    request_ids: list[str | None] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)
    running: bool = False
    file_errors: int = 0
    by_address: bool = False
    dropped: int = 0

    def admit(self, headers: Any, now: float, client: str = "") -> Caller | Refusal:
        key = headers.get("x-api-key") or ""
        self.asked.append((key, client))
        if key == "busy":
            return Refusal(429, "Too many requests: ask again in 3 s.", (("retry-after", "3"),))
        return self.callers.get(key) or Refusal(401, "A key is needed.", (("www-authenticate", "Bearer"),))

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False


class Ids:
    def of(self, headers: Any) -> str:
        return headers.get("x-request-id") or "made-up"


class Log(Plugged):
    def note(self, route: str, status: int, seconds: float, size: int, caller: str, request_id: str) -> None:
        assert 0 < seconds < 60
        self.lines.append((route, status, caller, request_id))


@dataclass(frozen=True, eq=False)
class Assignment:
    variant: str
    channel: str
    variants: Mapping[str, str]
    overridden: bool = False


CONTROL = Assignment("control", "current", {"ranker": "control"})
CHALLENGER = Assignment("challenger", "challenger", {"ranker": "challenger"})


class Experiments:
    """Customer 13047 is a challenger."""

    def assign(self, user_id: str, surface: str, override: Any = None) -> Assignment:
        return override or (CHALLENGER if user_id == "13047" else CONTROL)

    def override(self, text: str) -> Assignment:
        if text != "ranker=challenger":
            raise ValueError(f"there is no variant {text!r}")
        return CHALLENGER


class Exposures(Plugged):
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
        self.items.append(items)
        self.shown.append((user_id, assignment.variant, run, channel))
        self.request_ids.append(request_id)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    storage = open_storage((tmp_path / "published").as_uri())
    publish_live(storage, day(30), "night", mark="a")
    point(storage, publish(storage, day(30), "challenger", mark="b").run)
    return storage


def point(storage: Storage, run: Run) -> None:
    pointer = Pointer(**run.model_dump(), surface="home", moved_at=NOW, moved_by="publish")
    storage.write("home/channels/challenger.json", pointer.to_json())


@pytest.fixture(params=["the short way", "the general way"])
def general(request: pytest.FixtureRequest) -> bool:
    return request.param == "the general way"


def with_key(key: str, **more: str) -> dict[str, str]:
    return {"x-api-key": key, **more}


def test_who_has_no_key_is_told_so_and_the_pages_ask_for_none(storage: Storage, tmp_path: Path, general: bool) -> None:
    guard = Plugged()
    client = Client(make_client(storage, tmp_path, seams=Seams(guard=guard)).app, general)
    refused = client.get(OWN)
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.json()["detail"] == "A key is needed."
    late = client.get(OWN, headers=with_key("busy"))
    assert (late.status, late.headers["retry-after"]) == (429, "3")
    forbidden = client.get(OWN, headers=with_key("mail"))
    assert (forbidden.status, forbidden.json()["detail"]) == (403, "The key of mailer is not for the surface 'home'.")
    assert client.get(OWN, headers=with_key("reader")).status == 200
    assert len(guard.asked) == 4, "a guard is asked once a request"
    for address in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"):
        assert client.get(address).status == 200
    assert len(guard.asked) == 4
    for address in ("/v1/status", "/v1/items/22423/similar"):
        assert client.get(address).status == 401
    assert client.post("/v1/recommendations:batch", {"user_ids": []}).status == 401
    assert client.post("/v1/recommendations:batch", {"user_ids": []}, headers=with_key("mail")).status == 403


def test_a_key_sees_the_status_of_its_surfaces_alone(storage: Storage, tmp_path: Path) -> None:
    client = make_client(storage, tmp_path, seams=Seams(guard=Plugged()))
    assert client.get("/v1/status", headers=with_key("mail")).status == 403
    assert client.get("/v1/status", headers=with_key("reader")).status == 200


def test_what_was_asked_wrongly_asks_the_guard_once_too(storage: Storage, tmp_path: Path) -> None:
    guard = Plugged(by_address=True)
    client = make_client(storage, tmp_path, seams=Seams(guard=guard))
    assert client.get(f"{OWN}?k=0", headers=with_key("reader")).status == 400
    assert guard.asked == [("reader", "127.0.0.1:50000")]


def test_every_request_is_noted_with_its_id_and_without_its_user(
    storage: Storage, tmp_path: Path, general: bool
) -> None:
    log = Log()
    seams = Seams(guard=Plugged(), access=log, request_ids=Ids())
    client = Client(make_client(storage, tmp_path, seams=seams).app, general)
    answer = client.get(OWN, headers=with_key("reader", **{"x-request-id": "mine"}))
    assert answer.headers["x-request-id"] == "mine"
    assert client.get("/no/such/page").headers["x-request-id"] == "made-up"
    client.post("/v1/recommendations:batch", {"user_ids": ["17850"]}, headers=with_key("reader"))
    assert log.lines == [
        ("recommendations", 200, "shop", "mine"),
        ("unknown", 404, "", "made-up"),
        ("recommendations_batch", 200, "shop", "made-up"),
    ]


@pytest.fixture
def exposures() -> Exposures:
    return Exposures()


@pytest.fixture
def tested(storage: Storage, tmp_path: Path, exposures: Exposures, general: bool) -> Client:
    """A service with an experiment, whose challenger reads a run of its own."""
    seams = Seams(
        guard=Plugged(),
        request_ids=Ids(),
        experiments=Experiments(),
        exposures=exposures,
        channels=("challenger",),  # type: ignore[arg-type]
    )
    return Client(make_client(storage, tmp_path, seams=seams).app, general)


def test_users_get_the_run_of_their_variant_and_that_is_noted(tested: Client, exposures: Exposures) -> None:
    for address, variant, run_id in ((OWN, "control", "night"), (CHALLENGED, "challenger", "challenger")):
        answer = tested.get(address, headers=with_key("reader")).json()
        assert (answer["variant"], answer["run_id"]) == (variant, run_id)
        assert answer["experiments"] == {"ranker": variant}
    assert exposures.shown == [
        ("17850", "control", "2011-11-30/night", "current"),
        ("13047", "challenger", "2011-11-30/challenger", "challenger"),
    ]
    assert exposures.request_ids == ["made-up"] * 2
    again = tested.get(OWN, headers=with_key("reader", **{"if-none-match": "*"}))
    assert (again.status, len(exposures.shown)) == (304, 3), "what a reader shows again was shown again"


def test_a_head_request_shows_nobody_anything(tested: Client, exposures: Exposures) -> None:
    assert tested.request("HEAD", OWN, headers=with_key("reader")).status == 200
    assert exposures.shown == []
    assert sum(times for _, name, times in tested.service.metrics.events() if name == "own") == 0


def test_what_is_noted_is_how_many_of_the_runs_list_or_the_items_that_were_shown_in_its_place(
    tested: Client, exposures: Exposures
) -> None:
    for query in ("?k=2", "?exclude=22423&k=2"):
        answer = tested.get(OWN + query, headers=with_key("reader")).json()
    assert exposures.items[0] == 2
    assert orjson.loads(exposures.items[1]) == answer["items"]


def test_a_cache_knows_that_a_tester_may_get_another_answer(tested: Client) -> None:
    assert tested.get(OWN, headers=with_key("reader")).headers["vary"] == "accept-encoding, x-nightshift-override"


def test_tags_tell_variants_apart(tested: Client) -> None:
    tags = {tested.get(address, headers=with_key("reader")).headers["etag"] for address in (OWN, CHALLENGED)}
    assert len(tags) == 2


def test_a_tester_may_choose_the_variant_and_nobody_else(tested: Client) -> None:
    wanted = {"x-nightshift-override": "ranker=challenger"}
    assert tested.get(OWN, headers=with_key("tester", **wanted)).json()["variant"] == "challenger"
    assert tested.get(OWN, headers=with_key("reader", **wanted)).status == 403
    wrong = tested.get(OWN, headers=with_key("tester", **{"x-nightshift-override": "x=y"}))
    assert (wrong.status, "no variant 'x=y'" in wrong.json()["detail"]) == (400, True)


def test_a_batch_names_each_users_run(tested: Client, exposures: Exposures) -> None:
    body = {"user_ids": ["17850", "13047"], "k": 1}
    answer = tested.post("/v1/recommendations:batch", body, headers=with_key("reader")).json()
    assert answer["run_id"] == "night"
    assert [(one["user_id"], one["variant"], one["run_id"]) for one in answer["results"]] == [
        ("17850", "control", "night"),
        ("13047", "challenger", "challenger"),
    ]
    assert [shown[0] for shown in exposures.shown] == ["17850", "13047"]


def test_a_variant_whose_channel_serves_nothing_gets_the_live_run_as_control(
    tested: Client, storage: Storage, exposures: Exposures
) -> None:
    storage.delete("home/channels/challenger.json")
    tested.service.followers["home"].look()
    answer = tested.get(CHALLENGED, headers=with_key("reader")).json()
    assert (answer["variant"], answer["run_id"]) == ("control", "night")
    assert answer["experiments"] == {"ranker": "challenger"}
    assert exposures.shown[-1][3] == "current"
    counted = {name: times for _, name, times in tested.service.metrics.events()}
    assert counted["channel_missing"] == 1


@dataclass
class Span:
    traceparent: str
    ended: list[tuple[Any, ...]]

    def end(self, route: str, status: int, size: int, **about: str | None) -> None:
        self.ended.append((route, status, about))


class Tracer(Plugged):
    """Traces who asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[tuple[Any, ...]] = []

    def begin(self, headers: Any, method: str) -> Span | None:
        return Span("00-1-2-01", self.ended) if headers.get("traceparent") else None


@pytest.mark.parametrize("gzip", [{}, {"accept-encoding": "gzip"}])
def test_a_traced_request_ends_its_span_with_its_route_run_and_variant(
    storage: Storage, tmp_path: Path, gzip: dict[str, str]
) -> None:
    tracer, traced = Tracer(), {"traceparent": "00-1-1-01", **gzip}
    client = make_client(storage, tmp_path, seams=Seams(tracer=tracer, request_ids=Ids()), gzip_from=1)
    assert "traceparent" not in client.get(OWN).headers
    answer = client.get(OWN, headers=traced)
    assert (answer.headers["traceparent"], answer.headers.get("content-encoding")) == (
        "00-1-2-01",
        gzip.get("accept-encoding"),
    )
    client.get("/no/such/page", headers=traced)
    of_run = {"run": "2011-11-30/night", "variant": "control"}
    about = {"caller": None, "request_id": "made-up"}
    assert tracer.ended == [
        ("/v1/users/{user_id}/recommendations", 200, {**about, **of_run}),
        ("", 404, about),
    ]


def test_what_was_dropped_or_failed_shows_among_the_metrics(storage: Storage, tmp_path: Path) -> None:
    guard, access, exposures = Plugged(file_errors=1), Log(dropped=2), Exposures(dropped=3)
    seams = Seams(guard=guard, access=access, exposures=exposures)
    said = make_client(storage, tmp_path, seams=seams).get("/metrics").text
    for name, count in (("key_file_errors", 1), ("access_lines_dropped", 2), ("exposures_dropped", 3)):
        assert f"nightshift_lookup_{name}_total {count}.0" in said


def test_what_works_in_threads_is_started_and_stopped_with_the_application(storage: Storage, tmp_path: Path) -> None:
    parts = [Plugged(), Log(), Exposures()]
    guard, access, exposures = parts
    seams = Seams(guard=guard, access=access, exposures=exposures)  # type: ignore[arg-type]
    app = make_client(storage, tmp_path, seams=seams).app
    loop = asyncio.new_event_loop()
    app.__rsgi_init__(loop)
    assert all(part.running for part in parts)
    app.__rsgi_del__(loop)
    assert not any(part.running for part in parts)
    loop.close()
