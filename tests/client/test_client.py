"""The client against a real service, then with a proxy between them that delays, cuts, refuses and talks rubbish.

Everything is tested of both clients: the one for asyncio is driven in step.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.client import (
    AsyncClient,
    Client,
    History,
    Item,
    Model,
    Policy,
    Purchase,
    Recommendations,
    RefusedError,
    Run,
    UnavailableError,
)
from nightshift.publishing.lists import load_lists
from nightshift.publishing.pointer import make_live
from nightshift.publishing.storage import open_storage
from tests.client.faulty_proxy import Fault, FaultyProxy
from tests.lookup_process import lookup_service
from tests.publishing.planted import (
    ITEMS,
    NOW,
    USERS,
    day,
    publish,
    publish_lists,
    publish_live,
    write_lists,
    write_more,
)

PATIENT = Policy(deadline=20, attempt=10)
HASTY = Policy(deadline=0.3, attempt=0.1)
MODEL = Model("nightshift-recommender", "7", "two_stage")
BOUGHT = {"17850": [("85123A", day(3), 1), ("22423", day(9), 4)], "x" * 900: [("ü/é", day(9), 2)]}
RUN = Run("home", dt.date(2011, 11, 30), "night", MODEL)


class InStep:
    """The client for asyncio, as if it were the other."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()

        async def made() -> AsyncClient:
            return AsyncClient(*args, **options)

        self._client = self._runner.run(made())

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **options: self._runner.run(getattr(self._client, name)(*args, **options))

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


Make = Callable[..., Any]


@pytest.fixture(params=[Client, InStep], ids=["threads", "asyncio"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes clients, and closes them."""
    made: list[Any] = []

    def one(url: str, **options: Any) -> Any:
        made.append(request.param(url, **options))
        return made[-1]

    yield one
    for client in made:
        client.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real service with a run of 30 November."""
    folder = tmp_path_factory.mktemp("lookup")
    store = (folder / "published").as_uri()
    lists = load_lists(write_more(write_lists(folder / "lists"), [], BOUGHT))
    make_live(open_storage(store), "home", publish_lists(open_storage(store), day(30), "night", lists).run, NOW)
    with lookup_service(folder, store) as address:
        yield address


@pytest.fixture
def proxy(service: str) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(service)
    yield proxy
    proxy.close()


@pytest.fixture
def nobody() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_a_list_is_typed_and_names_its_run(make: Make, service: str) -> None:
    answer = make(service).recommendations("17850", policy=PATIENT)
    assert answer.user_id == "17850"
    assert answer.run == RUN
    assert answer.degraded is None
    assert answer.item_ids == list(ITEMS)
    assert answer.items[1] == Item("22423", "item 22423 of a", 0.5, "repeat", "You bought this")
    assert make(service).recommendations("17850", 2, policy=PATIENT).item_ids == list(ITEMS[:2])


def test_an_unknown_user_gets_a_list_too(make: Make, service: str) -> None:
    assert make(service).recommendations("nobody", policy=PATIENT).item_ids == list(ITEMS)


def test_similar_items_and_an_item_that_is_not_known(make: Make, service: str) -> None:
    client = make(service)
    answer = client.similar("22423", policy=PATIENT)
    assert (answer.item_id, answer.title, answer.run) == ("22423", "item 22423 of a", RUN)
    assert answer.items == (Item("85123A", "item 85123A of a", 0.5),)
    with pytest.raises(RefusedError, match="'nothing' is not known to the run of 2011-11-30") as refused:
        client.similar("nothing", policy=PATIENT)
    assert refused.value.status == 404


def test_what_a_user_bought_is_typed_and_names_its_run(make: Make, service: str) -> None:
    client = make(service)
    bought = (
        Purchase("22423", "item 22423 of a", day(9), 4),
        Purchase("85123A", "item 85123A of a", day(3), 1),
    )
    assert client.history("17850", policy=PATIENT) == History("17850", bought, RUN)
    assert client.history("x" * 900, surface="home", policy=PATIENT).item_ids == ["ü/é"]
    with pytest.raises(RefusedError, match="2011-11-30 has no purchases of '13047'") as refused:
        client.history("13047", policy=PATIENT)
    assert refused.value.status == 404


def test_what_a_user_bought_is_asked_for_again_by_tag_and_remembered_but_not_for_whom_it_is_refused(
    make: Make, proxy: FaultyProxy
) -> None:
    client = make(proxy.url)
    proxy.faults = deque(["pass", 503, "pass", 403])
    bought = client.history("17850", policy=PATIENT)
    assert client.history("17850", policy=PATIENT) == bought
    assert "if-none-match" in proxy.requests[-1].lower()
    with pytest.raises(RefusedError):
        client.history("17850", policy=PATIENT)
    proxy.always = 503
    assert client.history("17850", policy=HASTY).degraded.level == "remembered"


def test_a_batch_of_any_size_comes_in_the_order_asked(make: Make, proxy: FaultyProxy) -> None:
    users = [*USERS, *(f"user {number}" for number in range(2500)), USERS[0]]
    answers = make(proxy.url).batch(users, 1)
    assert [answer.user_id for answer in answers] == users
    assert {tuple(answer.item_ids) for answer in answers} == {ITEMS[:1]}
    assert {answer.run.run_id for answer in answers} == {"night"}
    assert len(proxy.requests) == 3
    assert make(proxy.url).batch([]) == []
    assert len(proxy.requests) == 3


def test_with_experiments_each_list_of_a_batch_names_its_own_run(make: Make, tmp_path: Path) -> None:
    store = open_storage(address := (tmp_path / "published").as_uri())
    publish_live(store, day(30), "night")
    make_live(store, "home", publish(store, day(30), "challenger", "b").run, NOW, "challenger")
    variants = [{"name": "control"}, {"name": "challenger", "channel": "challenger"}]
    ranker = {"name": "ranker", "slot": [0.0, 1.0], "variants": variants}
    experiments = {
        "channels": {"challenger": "challenger"},
        "layers": [{"name": "models", "lane": 1, "experiments": [ranker]}],
    }
    with lookup_service(tmp_path, address, experiments) as url:
        users = [*USERS, *(f"user {number}" for number in range(40))]
        together = make(url).batch(users, policy=PATIENT)
        alone = [make(url).recommendations(user, policy=PATIENT) for user in USERS]
    assert together[: len(USERS)] == alone
    assert {answer.run.variant for answer in together} == {"control", "challenger"}
    for answer in together:
        run_id, mark = {"control": ("night", "a"), "challenger": ("challenger", "b")}[answer.run.variant]
        assert (answer.run.run_id, answer.run.experiments) == (run_id, {"ranker": answer.run.variant})
        assert answer.items[0].title == f"item {ITEMS[0]} of {mark}"


def test_the_status_is_what_the_service_says(make: Make, service: str) -> None:
    assert make(service).status(PATIENT)["live"]["run_id"] == "night"


@settings(max_examples=25, deadline=None)
@given(user=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), min_size=1, max_size=60))
def test_any_text_is_an_id(service: str, user: str) -> None:
    with Client(service) as client:
        if user not in (".", ".."):  # RFC 3986, 5.2.4: no address can hold these
            assert client.recommendations(user, 1, policy=PATIENT).user_id == user
        assert client.batch([user], 1)[0].user_id == user


def test_all_that_can_be_asked_is_sent(make: Make, proxy: FaultyProxy) -> None:
    proxy.always = 400
    client = make(proxy.url, key="nsk_secret", fallback=[])
    client.recommendations(
        "a/b ü",
        5,
        surface="email",
        exclude=["1", "2&3"],
        filter={"kind": ["a", "b"], "brand": ["c"]},
        segment="country:United Kingdom",
        override="ranking=challenger, page=new",
    )
    head = proxy.requests[0].splitlines()
    assert head[0] == (
        "GET /v1/users/a%2Fb%20%C3%BC/recommendations?k=5&surface=email&exclude=1&exclude=2%263"
        "&filter=kind%3Aa&filter=kind%3Ab&filter=brand%3Ac&segment=country%3AUnited+Kingdom HTTP/1.1"
    )
    sent = {line.lower() for line in head[1:]}
    assert {"authorization: bearer nsk_secret", "x-nightshift-override: ranking=challenger, page=new"} <= sent


def test_connections_are_used_again(make: Make, proxy: FaultyProxy) -> None:
    client = make(proxy.url)
    for user in USERS * 5:
        client.recommendations(user, policy=PATIENT)
    assert (proxy.connections, len(proxy.requests)) == (1, 20)


def test_threads_share_a_client(proxy: FaultyProxy) -> None:
    wrong: list[str] = []

    def ask(client: Client, user: str) -> None:
        for _ in range(20):
            if client.recommendations(user, 1, policy=PATIENT).user_id != user:
                wrong.append(user)

    with Client(proxy.url, connections=3) as client:
        threads = [threading.Thread(target=ask, args=(client, f"user {number}")) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    again = sum("user%20" in head for head in proxy.requests) - 120  # on a busy machine: on a connection of their own
    assert again >= 0
    assert proxy.connections <= 3 + again


@pytest.mark.parametrize("fault", ["cut", "close", "rubbish", 500, 502, 503, 429])
def test_what_passes_is_tried_again(make: Make, proxy: FaultyProxy, fault: Fault) -> None:
    tries = 1 if fault == "rubbish" else 2
    proxy.faults = deque([fault])
    client = make(proxy.url)
    if fault == "rubbish":  # as it came whole: what says 200 and is no answer will say it again
        with pytest.raises(UnavailableError, match="what answered is not the lookup service: it is not JSON"):
            client.recommendations("17850", policy=PATIENT)
    else:
        assert client.recommendations("17850", policy=PATIENT).item_ids == list(ITEMS)
    assert len(proxy.requests) == tries


def test_a_service_that_ended_a_kept_connection_is_asked_on_another(make: Make, proxy: FaultyProxy) -> None:
    client = make(proxy.url)
    proxy.faults = deque(["pass", "close", "pass"])
    assert client.recommendations("17850", policy=PATIENT).item_ids == list(ITEMS)
    assert client.recommendations("13047", policy=PATIENT).item_ids == list(ITEMS)
    assert (proxy.connections, len(proxy.requests)) == (2, 3)


HALF = "\udcff"  # of a surrogate pair: what Python has for a byte that is not UTF-8
EVERY_FAULT: list[Fault] = ["hang", "drip", "cut", "close", "rubbish", 400, 401, 403, 404, 429, 500, 503]


@pytest.mark.parametrize("fault", EVERY_FAULT)
def test_with_a_fallback_nothing_raises_and_the_list_says_why(make: Make, proxy: FaultyProxy, fault: Fault) -> None:
    """And neither a service that never answers nor one that drips outlasts the deadline: the proxy is cut off."""
    proxy.always = fault
    client = make(proxy.url, fallback=["85123A", Item("22423", "A CAKESTAND"), "21034"])
    answer = client.recommendations("17850", 2, policy=HASTY)
    assert answer.items == (Item("85123A"), Item("22423", "A CAKESTAND"))
    assert answer.run is None
    assert answer.degraded.level == "fallback"
    assert answer.degraded.reason
    lists = client.batch(["17850", "13047"], 1, policy=HASTY)
    assert [(one.user_id, one.item_ids) for one in lists] == [("17850", ["85123A"]), ("13047", ["85123A"])]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("after", ["soon", "-1", "\u00b2", "9" * 400, "1e3", ""])
def test_whatever_a_proxy_says_of_when_to_come_again_nothing_raises(
    make: Make, proxy: FaultyProxy, status: int, after: str
) -> None:
    proxy.always, proxy.headers = status, f"retry-after: {after}\r\n"
    assert make(proxy.url, fallback=["1"]).recommendations("17850", policy=HASTY).item_ids == ["1"]


@pytest.mark.parametrize(
    "asked", [{}, {"exclude": [HALF]}, {"filter": {"kind": [HALF]}}, {"segment": HALF}, {"override": "ränker=new"}]
)
def test_what_cannot_be_asked_is_refused_or_falls_back(make: Make, service: str, asked: dict[str, Any]) -> None:
    user = "17850" if asked else HALF
    answer = make(service, fallback=["1"]).recommendations(user, policy=PATIENT, **asked)
    assert (answer.user_id, answer.item_ids, answer.degraded.level) == (user, ["1"], "fallback")
    with pytest.raises(
        RefusedError, match=r"^400: ('.*\\udcff' is not Unicode text|override must be .*, not 'ränker=new')$"
    ):
        make(service).recommendations(user, policy=PATIENT, **asked)


def test_an_id_that_is_no_text_is_refused_of_items_and_histories_and_a_batch_falls_back(
    make: Make, service: str
) -> None:
    client = make(service, fallback=["1"])
    for ask in (client.similar, client.history):
        with pytest.raises(RefusedError, match="is not Unicode text"):
            ask(HALF, policy=PATIENT)
    assert [one.item_ids for one in client.batch([HALF, "17850"], policy=PATIENT)] == [["1"], ["1"]]
    with pytest.raises(RefusedError, match=r"^400: "):
        make(service).batch([HALF], policy=PATIENT)


def test_batches_are_as_large_as_the_service_takes(make: Make, tmp_path: Path) -> None:
    store = (tmp_path / "published").as_uri()
    publish_live(open_storage(store), day(30), "night")
    users = [*USERS, *(f"user {number}" for number in range(8))]
    with lookup_service(tmp_path, store, max_batch=5) as url:
        with pytest.raises(RefusedError, match="There are 12 user_ids; at most 5"):
            make(url).batch(users, policy=PATIENT)
        answers = make(url, largest_batch=5).batch(users, policy=PATIENT)
        lines = command(
            "--url", url, "batch", "--largest-batch", "5", stdin="\n".join(USERS[:2] * 3)
        ).stdout.splitlines()
    assert ([answer.user_id for answer in answers], len(lines)) == (users, 6)
    assert {answer.run.run_id for answer in answers} == {"night"}
    with pytest.raises(ValueError, match="largest_batch must be 1 or more, not 0"):
        make("http://lookup:8090", largest_batch=0)


@pytest.mark.parametrize("fault", EVERY_FAULT)
def test_without_one_it_is_a_clear_error(make: Make, proxy: FaultyProxy, fault: Fault) -> None:
    proxy.always = fault
    refused = isinstance(fault, int) and fault < 429
    with pytest.raises(RefusedError if refused else UnavailableError) as error:
        make(proxy.url).recommendations("17850", policy=HASTY)
    expected = {"hang": "did not answer in time", "drip": "did not answer in time", "rubbish": "not the lookup service"}
    assert expected.get(str(fault), str(fault) if isinstance(fault, int) else "cannot be reached") in str(error.value)


def test_a_service_that_is_not_there(make: Make, nobody: str) -> None:
    with pytest.raises(UnavailableError, match="cannot be reached"):
        make(nobody).recommendations("17850", policy=HASTY)
    assert make(nobody, fallback=["1"]).recommendations("17850", policy=HASTY).item_ids == ["1"]


def test_what_is_excluded_is_not_in_a_fallback_either(make: Make, nobody: str) -> None:
    client = make(nobody, fallback=["1", Item("2"), "3", "4"])
    answer = client.recommendations("17850", k=2, exclude=["1", "2"], policy=HASTY)
    assert answer.item_ids == ["3", "4"]
    assert [one.item_ids for one in client.batch(["17850"], exclude=["2"], policy=HASTY)] == [["1", "3", "4"]]


@pytest.mark.parametrize("of", [Client, AsyncClient])
def test_a_fallback_that_would_have_to_be_awaited_is_refused(of: type) -> None:
    async def popular(user_id: str) -> list[str]:
        return ["1"]

    with pytest.raises(ValueError, match="the fallback is an async function, and is not awaited"):
        of("http://lookup:8090", fallback=popular)


def test_an_id_that_is_no_text_is_refused(make: Make, service: str) -> None:
    with pytest.raises(RefusedError, match="400: an id is text, and 17850 is none"):
        make(service).recommendations(17850, policy=PATIENT)  # type: ignore[arg-type]


def test_a_fallback_may_depend_on_the_user_and_may_fail(make: Make, nobody: str) -> None:
    def bought_last(user_id: str) -> list[str]:
        return {"17850": ["22423"]}[user_id]

    client = make(nobody, fallback=bought_last)
    assert client.recommendations("17850", policy=HASTY).item_ids == ["22423"]
    answer = client.recommendations("13047", policy=HASTY)
    assert answer == Recommendations("13047", (), None, answer.degraded)
    assert "and the fallback failed: KeyError('13047')" in answer.degraded.reason


def test_a_part_of_a_batch_that_fails_falls_back_alone(proxy: FaultyProxy) -> None:
    proxy.faults = deque(["pass", 400, "pass"])
    users = [str(number) for number in range(2001)]
    with Client(proxy.url, fallback=["fallback"]) as client:
        lists = client.batch(users, 1)
    assert [one.degraded is None or one.degraded.level != "fallback" for one in lists] == [
        *[True] * 1000,
        *[False] * 1000,
        True,
    ]


def test_an_answer_that_still_holds_is_not_sent_again(make: Make, proxy: FaultyProxy) -> None:
    proxy.always = "tag"
    client = make(proxy.url)
    answers = [client.recommendations("17850", 2, policy=PATIENT) for _ in range(3)]
    assert [answer.item_ids for answer in answers] == [list(ITEMS[:2])] * 3
    asked = ["if-none-match" in request.lower() for request in proxy.requests]
    assert asked == [False, True, True]
    assert client.recommendations("17850", 3, policy=PATIENT).item_ids == list(ITEMS[:3])
    assert client.similar("22423", policy=PATIENT) == client.similar("22423", policy=PATIENT)


def test_what_is_remembered_stands_in_while_the_service_is_away(make: Make, proxy: FaultyProxy) -> None:
    proxy.always = "tag"
    client = make(proxy.url, fallback=["1"])
    client.recommendations("17850", policy=PATIENT)
    proxy.always = 503
    answer = client.recommendations("17850", policy=HASTY)
    assert answer.item_ids == list(ITEMS)
    assert answer.run == RUN
    assert answer.degraded.level == "remembered"
    assert "503: There is no run to answer from." in answer.degraded.reason
    assert client.recommendations("13047", policy=HASTY).item_ids == ["1"]


def test_only_so_much_is_remembered(make: Make, proxy: FaultyProxy) -> None:
    proxy.always = "tag"
    client = make(proxy.url, remember=2)
    for user in ("a", "b", "a", "c", "a", "b"):
        client.recommendations(user, policy=PATIENT)
    asked = ["if-none-match" in request.lower() for request in proxy.requests]
    assert asked == [False, False, True, False, True, False]


def test_while_the_service_is_down_retries_are_a_tenth_and_ten(make: Make, proxy: FaultyProxy) -> None:
    proxy.always = 503
    client = make(proxy.url, fallback=["1"])
    for _ in range(60):
        client.recommendations("17850", policy=Policy(deadline=10, attempt=5, first_wait=0.0001))
    assert 60 < len(proxy.requests) <= 60 + 10 + 6


def test_who_is_asked_to_come_later_than_there_is_time_does_not_wait(make: Make, proxy: FaultyProxy) -> None:
    proxy.always, proxy.headers = 429, "retry-after: 30\r\n"
    with pytest.raises(UnavailableError) as error:
        make(proxy.url).recommendations("17850", policy=PATIENT)
    assert (len(proxy.requests), error.value.retry_after) == (1, 30)


@pytest.mark.parametrize("url", ["lookup:8090", "ftp://lookup", "http://", "http://lookup?x=1", ""])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"is not an address like http://lookup:8090"):
        Client(url)


@pytest.mark.parametrize("key", ["nsk_secret\n", "nsk_secret\u00a0", "nsk_secret "])
def test_a_key_that_no_header_can_have_is_refused_at_once_and_not_told(key: str) -> None:
    with pytest.raises(ValueError, match="the key has a character that no key has") as refused:
        Client("http://lookup:8090", key=key, fallback=["1"])
    assert "secret" not in str(refused.value)


def test_the_service_may_lie_under_a_path(proxy: FaultyProxy) -> None:
    proxy.always = 404
    with Client(proxy.url + "/lookup/", fallback=[]) as client:
        client.recommendations("17850")
    assert proxy.requests[0].startswith("GET /lookup/v1/users/17850/recommendations HTTP/1.1")


def command(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nightshift.client", *arguments], capture_output=True, text=True, input=stdin
    )


def test_the_command_shows_a_list_and_writes_batches_as_json_lines(service: str, nobody: str) -> None:
    shown = command("--url", service, "recommendations", "17850", "--k", "2")
    assert shown.stdout.splitlines() == [
        "run of 2011-11-30, night; model nightshift-recommender 7; control",
        "  1 21034   1.0000  item 21034 of a  You bought this",
        "  2 22423   0.5000  item 22423 of a  You bought this",
    ]
    bought = command("--url", service, "history", "17850")
    assert bought.stdout.splitlines()[1:] == [
        "  1 22423  2011-11-09    4  item 22423 of a",
        "  2 85123A 2011-11-03    1  item 85123A of a",
    ]
    lines = command("--url", service, "batch", "--k", "1", stdin="17850\n13047\n").stdout.splitlines()
    assert ['"user_id": "17850"' in lines[0], '"user_id": "13047"' in lines[1], len(lines)] == [True, True, 2]
    assert command("--url", service, "batch", "--k", "1", stdin="17850\r\n\r\n13047\r\n").stdout.splitlines() == lines
    failed = command("--url", nobody, "similar", "22423")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("client: 127.0.0.1 cannot be reached")


def test_it_needs_httpcore_and_nothing_else_that_is_heavy() -> None:
    heavy = ("pydantic", "httpx", "numpy", "yaml", "orjson", "starlette", "nightshift.config", "nightshift.serving")
    code = f"import sys, nightshift.client; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_example_of_the_package_runs(service: str, capsys: pytest.CaptureFixture[str]) -> None:
    import nightshift.client

    assert nightshift.client.__doc__
    lines = [line[4:] for line in nightshift.client.__doc__.splitlines() if line.startswith("    ")]
    exec("\n".join(lines).replace("http://lookup:8090", service), {})
    assert len(capsys.readouterr().out.splitlines()) in (2, 4)  # of the fallback, if the machine was too busy to answer


def test_docs_name_every_argument() -> None:
    import inspect

    page = (Path(__file__).parents[2] / "docs/client.md").read_text(encoding="utf-8")
    for method in (Client.__init__, Client.recommendations, Client.batch, Client.similar, Client.history):
        for name in inspect.signature(method).parameters:
            assert name == "self" or f"`{name}`" in page, name
