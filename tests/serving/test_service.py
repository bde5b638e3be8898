"""The service as it runs: a process, Granian, real HTTP."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.publishing.storage import open_storage
from nightshift.serving.__main__ import main
from tests.publishing.planted import ITEMS, USERS, day, publish_live
from tests.serving.running import running, start, write_config

SPAWNING = """
import multiprocessing, runpy
multiprocessing.set_start_method("spawn")
runpy.run_module("nightshift.serving", run_name="__main__", alter_sys=True)
"""
HEAVY = ("pandas", "pyarrow", "numpy", "boto3", "mlflow", "torch", "pyspark", "airflow")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A running service with a run of 30 November."""
    folder = tmp_path_factory.mktemp("service")
    address = ((folder / "published").as_uri(), None)
    publish_live(open_storage(*address), day(30), "night")
    with running(write_config(folder, address)) as base, httpx.Client(base_url=base) as client:
        yield client


@settings(max_examples=150, deadline=None)
@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_any_text_is_an_id_over_real_http(live: httpx.Client, name: str) -> None:
    """But for one or two dots in a path (RFC 3986, 5.2.4, has clients take those away), and U+FFFD."""
    batch = live.post("/v1/recommendations:batch", json={"user_ids": [name]})
    assert batch.status_code == 200
    assert batch.json()["results"][0]["user_id"] == name
    if name in (".", "..") or "\ufffd" in name:
        return
    response = live.get(httpx.URL(live.base_url, raw_path=f"/v1/users/{quote(name, safe='')}/recommendations".encode()))
    assert response.status_code == 200
    assert response.json()["user_id"] == name


@settings(max_examples=100, deadline=None)
@given(path=st.binary(max_size=60))
def test_no_address_whatever_breaks_the_service(live: httpx.Client, path: bytes) -> None:
    response = live.get(httpx.URL(live.base_url, raw_path=b"/v1/users/" + path.replace(b"\n", b"%").hex("%").encode()))
    assert 200 <= response.status_code < 500


def test_every_known_user_is_found_over_http(live: httpx.Client) -> None:
    for user in USERS:
        answer = live.get(
            httpx.URL(live.base_url, raw_path=f"/v1/users/{quote(user, safe='')}/recommendations?k=1".encode())
        )
        assert [entry["item_id"] for entry in answer.json()["items"]] == [ITEMS[0]]
        assert answer.json()["degraded"] is None


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_when_told_to(tmp_path: Path, how: signal.Signals) -> None:
    process = start(write_config(tmp_path, ((tmp_path / "published").as_uri(), None)))
    assert process.stdout
    assert process.stdout.readline().startswith("The lookup service is at")
    process.send_signal(how)
    _, errors = process.communicate(timeout=10)  # also the end of its worker, which holds the same pipes
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_its_workers_may_be_spawned_as_where_processes_are_not_forked(tmp_path: Path) -> None:
    address = ((tmp_path / "published").as_uri(), None)
    publish_live(open_storage(*address), day(30), "night")
    process = start(write_config(tmp_path, address), ("-c", SPAWNING))
    try:
        assert process.stdout
        base = process.stdout.readline().split()[5]
        assert httpx.get(f"{base}/readyz").json()["run_id"] == "night"
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=10)
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


@pytest.mark.parametrize("port", ["0", "65536", "99999", "-1", "²", "http"])
def test_a_port_that_is_none_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([f"--port={port}"])
    assert f"argument --port: {port!r} is no port from 1 to 65535" in capsys.readouterr().err


def test_it_imports_nothing_heavy() -> None:
    code = f"import sys, nightshift.serving.__main__; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
