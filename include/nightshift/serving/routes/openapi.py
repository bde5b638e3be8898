"""The service's own description, as OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nightshift
from nightshift.serving.routes.query import ID_BYTES, MOST_VALUES, Limits

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
TITLE: Json = {"type": ["string", "null"]}
DAY: Json = {"type": "string", "format": "date"}
NUMBER: Json = {"type": "number"}
ID: Json = {"type": "string", "minLength": 1, "maxLength": ID_BYTES}
PAIR: Json = {"type": "string", "pattern": "^[^:]+:.+$"}
TOO_LONG = ("414", "431")
WRONG = {
    "400": "A value is not one that is allowed; `detail` says which are.",
    "401": "A key is asked for, and this is none.",
    "403": "This key is not for what was asked.",
    "414": "The address is too long. The answer has no body where it is very long.",
    "431": "The address and the headers together are longer than the server takes.",
    "429": "Too many requests of this key or address; Retry-After says when to come back.",
}
NO_RUN = "There is no run to answer from, as nothing was ever published here."
STORE = "The store cannot be read, or others are reading it: see Retry-After."
OF_PAST = {
    "404": "There is no such run.",
    "409": "That run is damaged, or of another release's format: `detail` says which.",
    "503": f"{NO_RUN} Of a run that is not live: {STORE}",
}


def describe(limits: Limits, surfaces: Sequence[str], past: bool = False, histories: bool = True) -> Json:
    """The description of a service with these limits and surfaces.

    Args:
        surfaces: the default first.
        past: whether runs that are not live can be asked for.
        histories: whether it answers what users bought.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nightshift lookup",
            "version": nightshift.__version__,
            "description": "Recommendations made overnight. Every answer names the run and the model that made it.",
        },
        "security": [{}, {"bearer": []}, {"key": []}],
        "paths": {
            "/v1/users/{user_id}/recommendations": _get(
                "A user's list, best first. Who has none gets their segment's or the popular one, and is told so.",
                "Recommendations",
                [
                    _path("user_id"),
                    _k(limits.recommendations),
                    *_of_items(surfaces),
                    SEGMENT,
                    *([RUN] if past else []),
                    OVERRIDE,
                ],
                {**WRONG, **(OF_PAST if past else {"503": NO_RUN})},
                tagged=True,
            ),
            "/v1/recommendations:batch": _batch(limits, surfaces),
            **({"/v1/users/{user_id}/history": _history(surfaces)} if histories else {}),
            "/v1/items/{item_id}/similar": _get(
                "Items like this one, best first.",
                "Similar",
                [_path("item_id"), _k(limits.similar), *_of_items(surfaces)],
                {**WRONG, "404": "The run does not know the item.", "503": NO_RUN},
                tagged=True,
            ),
            **(_runs(surfaces) if past else {}),
            "/v1/status": _get(
                "What is served: the manifest of the run; and why not a newer one.",
                "Status",
                [_surface(surfaces)],
                WRONG,
            ),
            "/healthz": _get("The process is alive.", "Health"),
            "/readyz": _get("Whether there is a run to answer from.", "Ready", problems={"503": NO_RUN}),
            "/metrics": _get("Counters and times for Prometheus, of all processes.", media="text/plain"),
            "/openapi.json": _get("This description.", tagged=True),
            "/docs": _get("This description as a page.", media="text/html", tagged=True),
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    }


def _get(
    summary: str,
    schema: str | None = None,
    parameters: Sequence[Json] = (),
    problems: dict[str, str] | None = None,
    media: str = "application/json",
    tagged: bool = False,
) -> Json:
    if tagged:
        parameters = [*parameters, IF_NONE_MATCH]
    return {
        "get": {
            "summary": summary,
            "parameters": list(parameters),
            "responses": _responses(schema, problems, media, tagged),
        }
    }


def _responses(schema: str | None, problems: dict[str, str] | None, media: str, tagged: bool) -> Json:
    shape = {"$ref": f"#/components/schemas/{schema}"} if schema else {}
    found: Json = {"200": {"description": "The answer.", "content": {media: {"schema": shape}}}}
    if tagged:
        found["200"]["headers"] = {"ETag": {"description": "Of this answer, while it stays the same.", "schema": TEXT}}
        found["304"] = {"description": "The answer that has the tag in If-None-Match is still the answer."}
    for status, about in (problems or {}).items():
        problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
        content = {"content": {"application/problem+json": problem}} if status not in TOO_LONG else {}
        found[status] = {"description": about, **content}
    return found


def _runs(surfaces: Sequence[str]) -> Json:
    return {
        "/v1/runs": _get(
            "The runs that lists can be asked of, the latest first. Where keys are asked for, for those of testers.",
            "Runs",
            [_surface(surfaces)],
            {**WRONG, "503": STORE},
        )
    }


def _batch(limits: Limits, surfaces: Sequence[str]) -> Json:
    size = limits.recommendations
    asked = {
        "type": "object",
        "required": ["user_ids"],
        "additionalProperties": False,
        "properties": {
            "user_ids": {"type": "array", "items": ID, "maxItems": limits.batch},
            "k": {"type": "integer", "minimum": 1, "maximum": size, "default": size},
            "surface": {"type": "string", "enum": list(surfaces), "default": surfaces[0]},
            "exclude": {"type": "array", "items": ID, "maxItems": MOST_VALUES},
            "filter": {"type": "object", "additionalProperties": {"type": "array", "items": ID, "minItems": 1}},
        },
        "example": {"user_ids": ["17850", "13047"], "k": 5},
    }
    problems = {**WRONG, "408": "The body did not come in time.", "413": "The body is too large."}
    problems["503"] = f"{NO_RUN} Or too many bodies are on their way: see Retry-After."
    return {
        "post": {
            "summary": "Many users' lists from one run, in the order asked.",
            "parameters": [OVERRIDE],
            "requestBody": {"required": True, "content": {"application/json": {"schema": asked}}},
            "responses": _responses("Batch", problems, "application/json", tagged=False),
        }
    }


def _history(surfaces: Sequence[str]) -> Json:
    problems = {
        **WRONG,
        "403": "Where keys are asked for, this is for those with the role tester.",
        "404": "The run holds no purchases of this user.",
        "503": f"{NO_RUN} Or the user's are still on their way: see Retry-After.",
    }
    about = "What a user bought, the latest first."
    return _get(about, "History", [_path("user_id"), _surface(surfaces)], problems, tagged=True)


def _path(name: str) -> Json:
    about = f"At most {ID_BYTES} bytes of UTF-8, percent-encoded, without U+FFFD."
    schema = {**ID, "pattern": "^[^\ufffd]+$"}
    return {"name": name, "in": "path", "required": True, "description": about, "schema": schema}


def _k(most: int) -> Json:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": most}
    return {"name": "k", "in": "query", "description": f"How many, 1 to {most}.", "schema": schema}


def _surface(surfaces: Sequence[str]) -> Json:
    schema = {"type": "string", "enum": list(surfaces), "default": surfaces[0]}
    return {"name": "surface", "in": "query", "description": "Where the list is shown.", "schema": schema}


def _of_items(surfaces: Sequence[str]) -> list[Json]:
    return [
        _surface(surfaces),
        _many("exclude", "An item that is not to be in the list; give it once an item.", ID),
        _many(
            "filter",
            "attribute:value, which items must have; of several values of one attribute any will do. 400 where the "
            "run has no such attribute.",
            PAIR,
        ),
    ]


def _many(name: str, about: str, item: Json) -> Json:
    schema = {"type": "array", "items": item}
    return {"name": name, "in": "query", "description": about, "schema": schema, "style": "form", "explode": True}


SEGMENT: Json = {
    "name": "segment",
    "in": "query",
    "description": "attribute:value, like country:Germany: what is known of a user who may have no list.",
    "schema": PAIR,
}
RUN: Json = {
    "name": "run",
    "in": "query",
    "description": "<run date>/<run id>, as /v1/runs has it: the list in that run, not in the live one. For testers.",
    "schema": TEXT,
}
OVERRIDE: Json = {
    "name": "X-Nightshift-Override",
    "in": "header",
    "description": "experiment=variant, for callers with the role tester.",
    "schema": TEXT,
}
IF_NONE_MATCH: Json = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The tag of an answer that is at hand.",
    "schema": TEXT,
}


def _schemas() -> Json:
    model = _object(name=TEXT, version=TEXT, kind=TEXT)
    stamp: Json = {
        "surface": TEXT,
        "run_date": DAY,
        "run_id": TEXT,
        "model": model,
        "variant": TEXT,
    }
    experiments: Json = {"experiments": {"type": "object", "additionalProperties": TEXT}}
    levels = {"enum": ["segment", "popular", "stale"]}
    degraded = {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Degraded"}]}
    entry = _object(item_id=TEXT, title=TITLE, score=NUMBER, source=TEXT, reason=TEXT)
    similar = _object(item_id=TEXT, title=TITLE, score=NUMBER)
    of_user: Json = {"user_id": TEXT, "degraded": degraded, "items": {"type": "array", "items": entry}}
    bought = _object(item_id=TEXT, title=TITLE, bought_on=DAY, times={"type": "integer", "minimum": 1})
    of_item: Json = {
        "item_id": TEXT,
        "title": TITLE,
        "degraded": degraded,
        "items": {"type": "array", "items": similar},
    }
    return {
        "Recommendations": _object(experiments, **stamp, **of_user),
        "Batch": _object(
            experiments, **stamp, results={"type": "array", "items": _object({**stamp, **experiments}, **of_user)}
        ),
        "History": _object(**stamp, user_id=TEXT, degraded=degraded, items={"type": "array", "items": bought}),
        "Similar": _object(**stamp, **of_item),
        "Degraded": _object(level=levels, reason=TEXT),
        "Status": _object(
            surface=TEXT,
            surfaces={"type": "array", "items": TEXT},
            store=TEXT,
            live={"type": ["object", "null"]},
            stale=TITLE,
            refused=TITLE,
            trouble=TITLE,
            channels={"type": "object"},
            experiments={"type": "object", "additionalProperties": {"type": "array", "items": TEXT}},
        ),
        "Runs": _object(
            surface=TEXT,
            runs={
                "type": "array",
                "items": _object(
                    run_date=stamp["run_date"], run_id=TEXT, live={"type": "boolean"}, channel=TITLE, state=TEXT
                ),
            },
        ),
        "Health": _object(status=TEXT),
        "Ready": _object(**stamp, status=TEXT),
        "Problem": _object(type=TEXT, title=TEXT, status={"type": "integer"}, detail=TEXT),
    }


def _object(optional: Json | None = None, /, **required: Json) -> Json:
    """An object with exactly these members."""
    return {
        "type": "object",
        "required": list(required),
        "additionalProperties": False,
        "properties": {**required, **(optional or {})},
    }
