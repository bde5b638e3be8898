"""The service as it runs: a process, Granian, real HTTP. A publish reaches readers without a failed request."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import open_storage
from tests.publishing.planted import ITEMS, NOW, USERS, day, publish_live

Address = tuple[str, str | None]
HEAVY = ("pandas", "pyarrow", "numpy", "boto3", "mlflow", "torch", "pyspark", "airflow")


def write_config(folder: Path, address: Address) -> Path:
    """The sample's configuration with this store, a free port and a quick poll."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    values = yaml.safe_load(Path("nightshift.yaml").read_text(encoding="utf-8"))
    values["store"] = {"address": address[0], "endpoint": address[1]}
    values["serving"] = {"port": port, "poll_seconds": 0.02}
    (folder / "nightshift.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return folder / "nightshift.yaml"


def start(config: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nightshift.serving", "--config", str(config)]
    environment = {**os.environ, "NIGHTSHIFT_HOME": str(config.parent)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@contextmanager
def running(config: Path) -> Iterator[str]:
    """The address of a service with this configuration, from when it has said so."""
    process = start(config)
    assert process.stdout
    try:
        line = process.stdout.readline()
        assert line.startswith("The lookup service is at http://127.0.0.1:"), process.communicate()
        yield line.split()[5]
    finally:
        process.terminate()
        process.communicate(timeout=10)


def wait_until(true: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it has not come true in time"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A running service with a run of 30 November."""
    folder = tmp_path_factory.mktemp("service")
    address = ((folder / "published").as_uri(), None)
    publish_live(open_storage(*address), day(30), "night")
    with running(write_config(folder, address)) as base, httpx.Client(base_url=base) as client:
        yield client


def test_publishes_and_rollbacks_under_load_fail_no_request_and_mix_no_runs(address: Address, tmp_path: Path) -> None:
    storage = open_storage(*address)
    publish_live(storage, day(27), "a", mark="a")
    stop, wrong, answers = threading.Event(), list[str](), list[str]()

    def ask(base: str, path: str, body: dict[str, list[str]] | None) -> None:
        with httpx.Client(base_url=base, timeout=10) as client:
            while not stop.is_set():
                try:
                    response = client.request("POST" if body else "GET", path, json=body)
                except httpx.HTTPError as error:
                    wrong.append(repr(error))
                    continue
                run = response.json().get("run_id")
                marks = {text.split('"')[0][-1] for text in response.text.split(" of ")[1:] if text[0] in "abcd"}
                (answers if (response.status_code, marks) == (200, {run}) else wrong).append(f"{run} {response.text}")

    with running(write_config(tmp_path, address)) as base, httpx.Client(base_url=base) as client:
        asked = [
            ("/v1/users/17850/recommendations", None),
            ("/v1/users/nobody/recommendations", None),
            ("/v1/recommendations:batch", {"user_ids": [*USERS, "nobody"]}),
        ]
        threads = [threading.Thread(target=ask, args=(base, *one)) for one in asked]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answers) > 3 or bool(wrong))
        for number, run_id in ((28, "b"), (29, "c"), (30, "d"), (0, "c"), (0, "b")):
            if number:
                publish_live(storage, day(number), run_id, mark=run_id)
            else:
                roll_back(storage, "home", None, NOW)
            wait_until(lambda expected=run_id: client.get("/readyz").json()["run_id"] == expected)
            seen = len(answers)
            wait_until(lambda before=seen: len(answers) > before + 3 or bool(wrong))
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert {answer[0] for answer in answers} == set("abcd")


@settings(max_examples=150, deadline=None)
@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_any_text_is_an_id_over_real_http(live: httpx.Client, name: str) -> None:
    """But for one or two dots in a path: RFC 3986, 5.2.4, has clients take those away. In a batch they are ids too."""
    batch = live.post("/v1/recommendations:batch", json={"user_ids": [name]})
    assert batch.status_code == 200
    assert batch.json()["results"][0]["user_id"] == name
    if name in (".", ".."):
        return
    response = live.get(httpx.URL(live.base_url, raw_path=f"/v1/users/{quote(name, safe='')}/recommendations".encode()))
    assert response.status_code == 200
    assert response.json()["user_id"] == name


@settings(max_examples=100, deadline=None)
@given(path=st.binary(max_size=60))
def test_no_address_whatever_breaks_the_service(live: httpx.Client, path: bytes) -> None:
    response = live.get(httpx.URL(live.base_url, raw_path=b"/v1/users/" + path.replace(b"\n", b"%").hex("%").encode()))
    assert 200 <= response.status_code < 500


@pytest.mark.parametrize("line", [b"GET /\xff\xfe HTTP/1.1", b"rubbish", b"GET /%s HTTP/1.1" % (b"a" * 70_000)])
def test_what_is_no_request_is_answered_with_4xx_or_hung_up_on(live: httpx.Client, line: bytes) -> None:
    with socket.create_connection((live.base_url.host, live.base_url.port or 80), timeout=5) as connection:
        try:
            connection.sendall(line + b"\r\nHost: lookup\r\nConnection: close\r\n\r\n")
            answer = connection.recv(4096)
        except ConnectionError:
            answer = b""
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert live.get("/healthz").status_code == 200


def test_every_known_user_is_found_over_http(live: httpx.Client) -> None:
    for user in USERS:
        answer = live.get(
            httpx.URL(live.base_url, raw_path=f"/v1/users/{quote(user, safe='')}/recommendations?k=1".encode())
        )
        assert [entry["item_id"] for entry in answer.json()["items"]] == [ITEMS[0]]
        assert "fallback" not in answer.json()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_when_told_to(tmp_path: Path, how: signal.Signals) -> None:
    process = start(write_config(tmp_path, ((tmp_path / "published").as_uri(), None)))
    assert process.stdout
    assert process.stdout.readline().startswith("The lookup service is at")
    process.send_signal(how)
    _, errors = process.communicate(timeout=10)  # also the end of its worker, which holds the same pipes
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_a_port_in_use_and_a_wrong_configuration_are_one_clear_line(live: httpx.Client, tmp_path: Path) -> None:
    config = write_config(tmp_path, ((tmp_path / "published").as_uri(), None))
    values = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**values, "serving": {"port": live.base_url.port}}))
    for expected in ("serving: cannot listen on 127.0.0.1:", "serving: "):
        process = start(config)
        output, errors = process.communicate(timeout=10)
        assert (process.returncode, output) == (1, "")
        assert errors.startswith(expected)
        assert errors.count("\n") == 1
        config.write_text(yaml.safe_dump({**values, "serving": {"port": "x"}}))


def test_it_imports_nothing_heavy() -> None:
    code = f"import sys, nightshift.serving.__main__; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
