"""The description is valid, names every address, and is what the service does; `test_contract` holds it to that."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import orjson
import pytest
from openapi_spec_validator import validate

from nightshift.publishing.storage import open_storage
from tests.publishing.planted import day, publish_live
from tests.serving.asking import Client, make_client


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Client:
    folder = tmp_path_factory.mktemp("store")
    storage = open_storage(folder.as_uri())
    publish_live(storage, day(30), "night")
    return make_client(storage, folder)


def test_the_description_is_valid_and_names_every_address_and_no_other(client: Client) -> None:
    description = client.get("/openapi.json").json()
    validate(description)
    described = {(method.upper(), path) for path, methods in description["paths"].items() for method in methods}
    there = {(route.methods[0], path) for path, route in client.app.routes.items()}
    assert described == there


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
    body = orjson.dumps({"user_ids": ["17850", "nobody"]}) if method == "POST" else b""
    components = client.get("/openapi.json").json()["components"]
    described = {"$ref": f"#/components/schemas/{schema}", "components": components}
    jsonschema.Draft202012Validator(described).validate(client.request(method, path, body).json())


def test_the_surfaces_and_limits_described_are_the_services(tmp_path: Path) -> None:
    client = make_client(open_storage(tmp_path.as_uri()), tmp_path, surfaces=("mail", "home"))
    description = client.get("/openapi.json").json()
    parameters = description["paths"]["/v1/users/{user_id}/recommendations"]["get"]["parameters"]
    schemas = {parameter["name"]: parameter["schema"] for parameter in parameters}
    assert schemas["surface"] == {"type": "string", "enum": ["mail", "home"], "default": "mail"}
    assert schemas["k"]["maximum"] == 20


def test_the_page_for_people_needs_nothing_from_elsewhere(client: Client) -> None:
    response = client.get("/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "<code>GET /v1/users/{user_id}/recommendations</code>" in response.text
    assert not re.search(r"(src|href)=.https?://|<script|@import", response.text)
