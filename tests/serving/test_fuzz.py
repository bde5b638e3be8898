"""Bytes that are no request, or half of one, or a hundred: none makes an error of ours, and the service goes on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightshift.publishing.storage import open_storage
from tests.publishing.planted import day, publish_live
from tests.serving.running import running, write_config

BATCH = b'{"user_ids": ["17850"], "k": 2}'
REQUESTS = (
    b"GET /v1/users/17850/recommendations?k=5 HTTP/1.1\r\nHost: lookup\r\nAccept-Encoding: gzip\r\n\r\n",
    b'GET /v1/items/22423/similar HTTP/1.1\r\nHost: lookup\r\nIf-None-Match: "a", W/"b"\r\n\r\n',
    b"POST /v1/recommendations:batch HTTP/1.1\r\nHost: lookup\r\nContent-Length: %d\r\n\r\n%b" % (len(BATCH), BATCH),
    b"POST /v1/recommendations:batch HTTP/1.1\r\nHost: lookup\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"%x\r\n%b\r\n0\r\n\r\n" % (len(BATCH), BATCH),
    b"HEAD /readyz HTTP/1.0\r\n\r\n",
)
PIECES = (
    *(
        b"\r\n",
        b"\r\n\r\n",
        b"\0",
        b"%",
        b"%00",
        b"%ff",
        b"?",
        b"&",
        b"=",
        b":",
        b"..",
        b"/../",
        b"HTTP/1.1",
        b"HTTP/9",
    ),
    *(b"Content-Length: 99999999999999999999\r\n", b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Upgrade: websocket\r\n", b"\xff\xfe", b"\xe2\x82"),
    *(b"GET ", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"X: " + b"x" * 5000 + b"\r\n", b"exclude=" + b"y" * 9000),
)
SILENCE = 0.3  # seconds without a byte after which the service waits for more of the request
OURS = (b"HTTP/1.1 1", b"HTTP/1.1 2", b"HTTP/1.1 3", b"HTTP/1.1 4", b"HTTP/1.0 2", b"HTTP/1.0 4")


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """A request or several, with pieces cut out, put in, doubled or changed."""
    found = bytearray(b"".join(draw(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(found)))
        end = min(len(found), at + draw(st.integers(0, 20)))
        new = draw(st.sampled_from(PIECES) | st.binary(max_size=8) | st.just(bytes(found[at:end]) * 2))
        found[at:end] = new
    return bytes(found)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("service")
    address = ((folder / "published").as_uri(), None)
    publish_live(open_storage(*address), day(30), "night")
    with running(write_config(folder, address)) as base, httpx.Client(base_url=base, timeout=5) as client:
        yield client


def sent(client: httpx.Client, request: bytes, finished: bool = True) -> bytes:
    """All that comes back of these bytes until the service hangs up or says nothing more."""
    answer = bytearray()
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=5) as connection:
        try:
            connection.sendall(request)
            if finished:
                connection.shutdown(socket.SHUT_WR)
            else:
                connection.settimeout(SILENCE)
            while part := connection.recv(65_536):
                answer += part
        except TimeoutError:
            assert not finished, f"no end of the answer to {request!r}"
        except OSError:
            pass  # hung up on before all was sent
    return bytes(answer)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(request=broken())
def test_no_bytes_whatever_make_an_error_of_ours(live: httpx.Client, request: bytes) -> None:
    answer = sent(live, request)
    assert answer == b"" or answer.startswith(OURS), answer[:200]
    assert b"HTTP/1.1 5" not in answer
    assert live.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /v1/users/" + b"a" * 9000 + b"/recommendations HTTP/1.1\r\nHost: lookup\r\n\r\n", b"414"),
        (b"GET /" + b"a" * 66_000 + b" HTTP/1.1\r\nHost: lookup\r\n\r\n", b"4"),
        (b"GET /healthz HTTP/1.1\r\nHost: lookup\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", b"431"),
        (b"GET /healthz HTTP/1.1\r\nHost: lookup\r\n" + b"X: x\r\n" * 500 + b"\r\n", b"431"),
        (b"POST /v1/recommendations:batch HTTP/1.1\r\nHost: lookup\r\nContent-Length: 99999999\r\n\r\n{", b"413"),
        (b"GET /v1/users/..%2f..%2f..%2fetc%2fpasswd/recommendations HTTP/1.1\r\nHost: lookup\r\n\r\n", b"200"),
        (b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: lookup\r\n\r\n", b"404"),
        (b"GET http://elsewhere/healthz HTTP/1.1\r\nHost: lookup\r\n\r\n", b"200"),
        (b"rubbish\r\n\r\n", b"400"),
    ],
)
def test_what_is_too_long_or_no_request_is_refused(live: httpx.Client, request_: bytes, status: bytes) -> None:
    answer = sent(live, request_, finished=False)
    assert answer.startswith(b"HTTP/1.1 " + status), answer[:200]


def test_many_who_send_half_a_request_keep_nobody_waiting(live: httpx.Client) -> None:
    address = (live.base_url.host, live.base_url.port or 80)
    halves = [socket.create_connection(address, timeout=5) for _ in range(300)]
    try:
        for number, connection in enumerate(halves):
            connection.sendall(REQUESTS[number % len(REQUESTS)][:-3])
        for _ in range(20):
            assert live.get("/v1/users/17850/recommendations").status_code == 200
    finally:
        for connection in halves:
            connection.close()


def test_who_hangs_up_before_the_answer_costs_nobody_else_theirs(live: httpx.Client, tmp_path: Path) -> None:
    address = (live.base_url.host, live.base_url.port or 80)
    for _ in range(100):
        with socket.create_connection(address, timeout=5) as connection:
            connection.sendall(REQUESTS[0])
    assert live.get("/v1/users/17850/recommendations").status_code == 200
