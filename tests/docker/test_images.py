"""The images cannot be built on every machine; what they copy, run, pin and name can be checked on any."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from importlib.metadata import distribution, entry_points, packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from nightshift.config import load

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

each_dockerfile = pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
each_service = pytest.mark.parametrize("name", SERVICES)


def instructions(file: Path) -> list[tuple[str, str]]:
    """A Dockerfile's instructions and their arguments, continued lines joined and comments left out."""
    text = "".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith("#"))
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def copied(file: Path) -> list[str]:
    return [source for name, rest in instructions(file) if name == "COPY" for source in rest.split()[:-1]]


def base_image(file: Path) -> str:
    arguments = dict(rest.split("=", 1) for name, rest in instructions(file) if name == "ARG" and "=" in rest)
    (base,) = (rest for name, rest in instructions(file) if name == "FROM")
    return re.sub(r"\$\{(\w+)\}", lambda found: arguments[found.group(1)], base)


def pins(file: Path) -> dict[str, str]:
    """Version by package, of a requirements file; the one for the images' Python where it depends on that."""
    lines = [line.split("#")[0].strip() for line in file.read_text().splitlines()]
    parsed = [Requirement(line) for line in lines if line]
    here = {"python_version": image_python(), "python_full_version": f"{image_python()}.0"}
    fitting = [r for r in parsed if r.marker is None or r.marker.evaluate(here)]
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in fitting}


def image_python() -> str:
    return base_image(DOCKER / "lookup.Dockerfile").removeprefix("python:").partition("-")[0]


def words(command: str | list[str] | None) -> list[str]:
    return shlex.split(command) if isinstance(command, str) else list(command or [])


@each_dockerfile
def test_what_a_dockerfile_copies_exists_and_reaches_the_builder(file: Path) -> None:
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert copied(file)
    for source in copied(file):
        assert (ROOT / source).exists(), source
        assert any(Path(source).is_relative_to(pattern) for pattern in let_through), f"{source}: see .dockerignore"


def test_secrets_never_reach_the_builder_or_git() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not any(".env" in line or line in ("!docker", "!docker/") for line in ignored if line.startswith("!"))
    assert "docker/.env" in (ROOT / ".gitignore").read_text().splitlines()


@each_dockerfile
def test_base_images_are_pinned(file: Path) -> None:
    assert re.search(r":[^:]*\d+\.\d+", base_image(file)), base_image(file)


@each_service
def test_services_run_an_image_of_ours_or_a_pinned_one(name: str) -> None:
    service = SERVICES[name]
    if "build" not in service:
        assert re.search(r":(v?\d+\.\d+|RELEASE\.\d{4})", service["image"]), service["image"]


def test_images_and_repository_agree_on_python_and_airflow() -> None:
    supported = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert Requirement(f"x{supported}").specifier.contains(image_python())
    assert base_image(DOCKER / "jobs.Dockerfile") == base_image(DOCKER / "lookup.Dockerfile")
    airflow = pins(ROOT / "requirements.txt")["apache-airflow"]
    assert base_image(DOCKER / "airflow.Dockerfile") == f"apache/airflow:slim-{airflow}-python{image_python()}"
    spark_home = f"/usr/local/lib/python{image_python()}/site-packages/pyspark"
    assert ("ENV", f"SPARK_HOME={spark_home}") in instructions(DOCKER / "jobs.Dockerfile")


def test_the_delta_jars_are_those_that_delta_spark_asks_for() -> None:
    pinned = pins(ROOT / "requirements.txt")
    spark = ".".join(pinned["pyspark"].split(".")[:2])
    jars = f"io.delta:delta-spark_{spark}_2.13:{pinned['delta-spark']}"
    assert ("ARG", f"DELTA={jars}") in instructions(DOCKER / "jobs.Dockerfile")


@pytest.mark.parametrize("file", [*DOCKERFILES, DOCKER / "compose.yaml", DOCKER / "README.md"], ids=lambda f: f.name)
def test_modules_that_are_run_exist(file: Path) -> None:
    for module in re.findall(r"python[\"',\s]+-m[\"',\s]+([\w.]+)", file.read_text()):
        assert importlib.util.find_spec(module), module


@each_service
def test_commands_that_services_run_exist(name: str) -> None:
    scripts = {script.name for script in entry_points(group="console_scripts")}
    ran = [words(SERVICES[name].get("command")), words(SERVICES[name].get("healthcheck", {}).get("test"))[1:]]
    for command in filter(None, ran):
        if command[0] == "airflow":
            assert "airflow" in scripts
            assert command[1] in ("api-server", "scheduler", "dag-processor", "jobs"), command


def test_an_image_that_only_reads_lists_pins_what_the_nights_use() -> None:
    pinned, lookup = pins(ROOT / "requirements.txt"), pins(DOCKER / "lookup-requirements.txt")
    assert lookup == {name: pinned.get(name) for name in lookup}


def test_packages_for_the_airflow_image_alone_are_pinned_and_nowhere_else() -> None:
    own = pins(DOCKER / "airflow-requirements.txt")
    assert all(re.fullmatch(r"\d[\w.]*", version) for version in own.values())
    assert not own.keys() & pins(ROOT / "requirements.txt").keys()


@each_service
def test_what_a_service_names_exists(name: str) -> None:
    service = SERVICES[name]
    assert set(service.get("depends_on", {})) <= SERVICES.keys()
    if build := service.get("build"):
        assert (DOCKER / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (DOCKER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
    for needed, how in service.get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[needed], f"{name} waits for {needed} to be healthy"


@each_service
def test_a_configuration_that_a_service_reads_is_mounted_and_loads(name: str) -> None:
    inside = SERVICES[name].get("environment", {}).get("NIGHTSHIFT_CONFIG")
    if inside:
        mounts = dict(reversed(v.split(":")[:2]) for v in SERVICES[name]["volumes"])
        assert load(DOCKER / mounts[inside]).store.address


def test_every_secret_is_in_the_example_and_none_has_a_default() -> None:
    asked = set(re.findall(r"\$\{(\w+)", (DOCKER / "compose.yaml").read_text()))
    required = set(re.findall(r"\$\{(\w+):\?", (DOCKER / "compose.yaml").read_text()))
    example = dict(re.findall(r"^(\w+)=(.*)$", (DOCKER / ".env.example").read_text(), re.MULTILINE))
    assert asked == required == example.keys()
    assert {name for name, value in example.items() if value} == {"S3_ACCESS_KEY"}


def test_the_containers_configuration_is_the_samples_published_to_their_s3_server() -> None:
    sample, there = load(ROOT / "nightshift.yaml"), load(DOCKER / "nightshift.yaml")
    own = {"store", "tracking"}
    assert there.model_dump(exclude={*own, "source"}) == sample.model_dump(exclude={*own, "source"})
    assert there.source.model_copy(update={"address": sample.source.address}) == sample.source
    assert Path(there.folder / there.source.address.format(run_date=there.source.first_day)).exists()

    endpoint, bucket = str(there.store.endpoint), str(there.store.address).split("/")[2]
    assert endpoint == "http://s3:9000"
    assert "s3" in SERVICES
    assert f"mc mb --ignore-existing s3/{bucket}" in SERVICES["s3-bucket"]["command"][0]


def test_ports_are_published_on_loopback_only_and_are_those_served() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)
    served = str(load(DOCKER / "nightshift.yaml").serving.port)
    assert f"127.0.0.1:{served}:{served}" in SERVICES["lookup"]["ports"]
    assert ("EXPOSE", served) in instructions(DOCKER / "lookup.Dockerfile")


def test_airflow_settings_have_the_astro_clis_keys() -> None:
    """https://github.com/astronomer/astro-cli/blob/main/settings/types.go"""
    settings = yaml.safe_load((ROOT / "airflow_settings.yaml").read_text())
    assert settings.keys() == {"airflow"}
    assert settings["airflow"].keys() == {"connections", "pools", "variables"}
    parts = ("id", "type", "host", "schema", "login", "password", "port", "uri", "extra")
    for connection in settings["airflow"]["connections"]:
        assert connection.keys() <= {f"conn_{part}" for part in parts}
        assert {"conn_id", "conn_type"} <= connection.keys()
    for pool in settings["airflow"]["pools"]:
        assert pool.keys() <= {"pool_name", "pool_slot", "pool_description"}
    for variable in settings["airflow"]["variables"]:
        assert variable.keys() == {"variable_name", "variable_value"}


GUARD = """
import json, os, sys

class OnlyWhatTheImageHas:
    forbidden = set(json.loads(os.environ["FORBIDDEN"]))
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.forbidden or ".".join(name.split(".")[:2]) in self.forbidden:
            raise ModuleNotFoundError(f"No module named {name!r} in the lookup image", name=name)

sys.meta_path.insert(0, OnlyWhatTheImageHas())
"""


def test_the_lookup_service_runs_on_what_its_image_has_and_nothing_else(tmp_path: Path) -> None:
    """With every other package, and every other part of the library, made impossible to import in all its processes."""
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    configuration = tmp_path / "nightshift.yaml"  # a store in S3 that nobody answers for
    configuration.write_text((DOCKER / "nightshift.yaml").read_text().replace("http://s3:9000", "http://127.0.0.1:9"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "FORBIDDEN": json.dumps(sorted(_not_in_the_lookup_image())),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "include")]),
        "NIGHTSHIFT_CONFIG": str(configuration),
        "NIGHTSHIFT_HOME": str(tmp_path / "home"),
        **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test"),
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-m", "nightshift.serving", "--port", str(port)]
    with _running(command, environment, tmp_path / "log") as process:
        assert process.stdout is not None
        announced = process.stdout.readline()
        assert f":{port}" in announced, (tmp_path / "log").read_text()
        for path in ("healthz", "metrics", "docs", "openapi.json", "v1/status"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
                assert answer.status == 200


def _not_in_the_lookup_image() -> set[str]:
    """Modules that are here and are not in the image: of other packages, and the library's other parts."""
    provided = _closure(pins(DOCKER / "lookup-requirements.txt"))
    others = {
        module
        for module, names in packages_distributions().items()
        if provided.isdisjoint(map(canonicalize_name, names)) and module not in ("_distutils_hack", "pip", "setuptools")
    }
    parts = {Path(source).parts[2] for source in copied(DOCKER / "lookup.Dockerfile") if source.startswith("include/")}
    library = {path.name for path in (ROOT / "include/nightshift").iterdir() if (path / "__init__.py").exists()}
    return others | {f"nightshift.{part}" for part in library - parts}


def _closure(names: Any) -> set[str]:
    """These packages and all that they need."""
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            needed = [Requirement(text) for text in distribution(name).requires or []]
            waiting += [canonicalize_name(r.name) for r in needed if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as errors:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=20)
