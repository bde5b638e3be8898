"""The service keeps to its own description: whatever is sent, right or wrong, is answered as that says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from nightshift.publishing.storage import open_storage
from nightshift.serving.routes.openapi import describe
from nightshift.serving.routes.query import Limits
from tests.publishing.planted import ITEMS, day
from tests.serving.planted_records import attribute_pairs, publish_with, segment_pairs
from tests.serving.running import running, write_config

PATHS = describe(Limits(20, 20, 3), ["home"])["paths"]
ADDRESSES = [(method, path) for path, methods in PATHS.items() for method in methods]
TAKING = [address for address in ADDRESSES if address[1].startswith("/v1/")]  # parameters that may be wrong


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseSchema]:
    """That of a running service, whose run has segments and attributes."""
    folder = tmp_path_factory.mktemp("service")
    address = ((folder / "published").as_uri(), None)
    pairs = [*segment_pairs({"country:Germany": ITEMS}), *attribute_pairs({ITEMS[0]: {"kind": "mug"}})]
    publish_with(open_storage(*address), day(30), "night", pairs)
    with running(write_config(folder, address)) as base:
        yield schemathesis.openapi.from_url(f"{base}/openapi.json")


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_what_is_asked_rightly_is_answered_as_described(description: BaseSchema, method: str, path: str) -> None:
    def ask(case: Case) -> None:
        response = case.call()
        filters = "filter" in case.query or "filter" in (case.body if isinstance(case.body, dict) else ())
        # no description can say which attributes a run has: who filters by another is told
        case.validate_response(response, excluded_checks=[positive_data_acceptance] if filters else None)

    examples(description, method, path, GenerationMode.POSITIVE, ask)


@pytest.mark.parametrize(("method", "path"), TAKING)
def test_what_is_asked_wrongly_is_refused_as_described(description: BaseSchema, method: str, path: str) -> None:
    def ask(case: Case) -> None:
        response = case.call()
        too_large = response.status_code in (413, 414, 431)  # refused, and the check does not know these
        case.validate_response(response, excluded_checks=[negative_data_rejection] if too_large else None)

    examples(description, method, path, GenerationMode.NEGATIVE, ask)


def examples(description: BaseSchema, method: str, path: str, mode: GenerationMode, ask: object) -> None:
    """Try the operation with examples that are drawn from its description."""
    strategy = description[path][method.upper()].as_strategy(generation_mode=mode)
    quickly = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    quickly(given(case=strategy)(ask))()
