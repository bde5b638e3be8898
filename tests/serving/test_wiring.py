"""A service with everything on, as it is configured: keys, the access log, an experiment, its exposures."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import httpx
import pytest
import yaml

from nightshift.experiments.exposure_files import files_in, read
from nightshift.publishing.pointer import make_live
from nightshift.publishing.storage import open_storage
from nightshift.serving.guard.keys import hash_of, new_key
from tests.publishing.planted import NOW, day, publish, publish_live
from tests.serving.running import running, start, write_config

KEYS = {"reader": new_key(), "tester": new_key()}
USERS = ["13047", "17850", *map(str, range(40))]  # two that the runs know, and 40 that they do not
VARIANTS = [{"name": "control"}, {"name": "bold", "channel": "bold"}]
EXPERIMENTS = {
    "channels": {"bold": "challenger"},
    "layers": [
        {"name": "lists", "lane": 1, "experiments": [{"name": "ranker", "slot": [0, 1], "variants": VARIANTS}]},
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a live run and one on a channel, and a configuration that reads both."""
    folder = tmp_path_factory.mktemp("everything")
    address = ((folder / "published").as_uri(), None)
    storage = open_storage(*address)
    publish_live(storage, day(30), "night", mark="a")
    other = publish(storage, day(30), "bold", mark="b")
    make_live(storage, "home", other.run, NOW, "bold")
    entries = [{"name": role, "hash": hash_of(key), "role": role} for role, key in KEYS.items()]
    (folder / "keys.yaml").write_text(yaml.safe_dump({"keys": entries}))
    config = write_config(folder, address, guard={"keys": "keys.yaml"}, access_log={"path": "access.jsonl"})
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "experiments": EXPERIMENTS}))
    return folder


@pytest.fixture(scope="module")
def answers(folder: Path) -> dict[str, httpx.Response]:
    """Every user's answer; the service has ended, so all that it noted is written."""
    found = {}
    with running(folder / "nightshift.yaml") as url:
        with httpx.Client(base_url=url, headers={"authorization": f"Bearer {KEYS['reader']}"}) as client:
            for user in USERS:
                found[user] = client.get(f"/v1/users/{user}/recommendations?k=2")
            found["status"] = client.get("/v1/status")
            wanted = {"x-nightshift-override": "ranker=bold"}
            found["reader's choice"] = client.get("/v1/users/0/recommendations", headers=wanted)
            found["reader's look"] = client.get("/v1/users/17850/history")
            wanted |= {"authorization": f"Bearer {KEYS['tester']}"}
            found["tester's choice"] = client.get("/v1/users/0/recommendations", headers=wanted)
            found["tester's look"] = client.get("/v1/users/17850/history", headers=wanted)
        found["no key"] = httpx.get(f"{url}/v1/users/0/recommendations")
        found["metrics"] = httpx.get(f"{url}/metrics")
    return found


def test_each_variant_reads_its_own_run_and_both_are_had(answers: dict[str, httpx.Response]) -> None:
    runs = Counter[str]()
    for user in USERS:
        answer = answers[user].json()
        assert (answer["run_id"], answer["items"][0]["title"][-1]) == {
            "control": ("night", "a"),
            "bold": ("bold", "b"),
        }[answer["variant"]]
        runs[answer["run_id"]] += 1
    assert min(runs["night"], runs["bold"]) >= 8


def test_keys_and_roles_are_asked_for(answers: dict[str, httpx.Response]) -> None:
    assert answers["no key"].status_code == 401
    assert answers["reader's choice"].status_code == 403
    assert answers["tester's choice"].json()["variant"] == "bold"
    assert answers["reader's look"].status_code == 403
    assert "no purchases of '17850'" in answers["tester's look"].json()["detail"]  # who would else be told
    assert answers["status"].json()["experiments"] == {"ranker": ["control", "bold"]}


def test_every_list_that_was_shown_is_in_a_file_with_the_run_and_the_propensity(
    folder: Path, answers: dict[str, httpx.Response]
) -> None:
    (file,) = files_in(folder / "exposures/pending")
    columns = read(file.path).columns
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    rows.sort(key=lambda row: row["shown_at"])
    assert [row["user_id"] for row in rows if not row["overridden"]] == USERS
    for row in rows[: len(USERS)]:
        answer = answers[row["user_id"]]
        assert row["list_run"] == f"2011-11-30/{answer.json()['run_id']}"
        assert row["experiments"] == [{"experiment": "ranker", "variant": answer.json()["variant"], "propensity": 0.5}]
        assert (row["shown"], row["request_id"]) == (2, answer.headers["x-request-id"])
    assert [row["user_id"] for row in rows if row["overridden"]] == ["0"]


def test_the_access_log_has_a_line_a_request_and_nobody_in_it(folder: Path, answers: dict[str, httpx.Response]) -> None:
    lines = [json.loads(line) for line in (folder / "access.jsonl").read_text().splitlines()]
    assert len(lines) == len(answers)
    ids = {line["request_id"] for line in lines}
    assert {answer.headers["x-request-id"] for answer in answers.values()} == ids
    assert Counter(line["caller"] for line in lines) == {"reader": len(USERS) + 3, "tester": 2, "": 2}
    assert set(lines[0]) == {"at", "route", "status", "ms", "bytes", "caller", "request_id"}


def test_nothing_was_lost(answers: dict[str, httpx.Response]) -> None:
    for name in ("exposures_dropped", "access_lines_dropped", "key_file_errors"):
        assert f"nightshift_lookup_{name}_total 0.0" in answers["metrics"].text


def test_a_service_whose_keys_are_missing_does_not_start(folder: Path, tmp_path: Path) -> None:
    values = yaml.safe_load((folder / "nightshift.yaml").read_text())
    (tmp_path / "nightshift.yaml").write_text(yaml.safe_dump(values))
    assert not os.path.exists(tmp_path / "keys.yaml")
    process = start(tmp_path / "nightshift.yaml")
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "keys.yaml" in said
    assert said.count("\n") == 1
