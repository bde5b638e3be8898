"""The service's own description, as OpenAPI 3.1 and as a page for people that needs nothing from elsewhere."""

from __future__ import annotations

import html
from typing import Any

import nightshift

Json = dict[str, Any]


def describe(recommendations: int, similar: int, batch: int, id_bytes: int) -> Json:
    """The description: the longest lists, the most users in a batch, and the longest id in bytes are its limits."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nightshift lookup",
            "version": nightshift.__version__,
            "description": "Recommendations made overnight. Every answer names the run and the model that made it.",
        },
        "paths": {
            "/v1/users/{user_id}/recommendations": _get(
                "A user's list, best first. A user that the run does not know gets the popular list, and is told so.",
                "Recommendations",
                [_path("user_id", id_bytes), _k(recommendations)],
                no_run=True,
            ),
            "/v1/recommendations:batch": _post_batch(recommendations, batch, id_bytes),
            "/v1/items/{item_id}/similar": _get(
                "Items like this one, best first. 404 where the run does not know the item.",
                "Similar",
                [_path("item_id", id_bytes), _k(similar)],
                no_run=True,
            ),
            "/v1/status": _get("What is served: the manifest of the run; and why a newer one was refused.", "Status"),
            "/healthz": _get("The process is alive.", "Health"),
            "/readyz": _get("200 if there is a run to answer from, else 503.", "Ready", no_run=True),
            "/metrics": _get("Counters and times for Prometheus.", media="text/plain"),
            "/openapi.json": _get("This description."),
            "/docs": _get("This description as a page.", media="text/html"),
        },
        "components": {"schemas": _schemas(id_bytes)},
    }


def _get(
    summary: str,
    schema: str | None = None,
    parameters: list[Json] | None = None,
    no_run: bool = False,
    media: str = "application/json",
) -> Json:
    shape = {"$ref": f"#/components/schemas/{schema}"} if schema else {}
    responses: Json = {"200": {"description": "The answer.", "content": {media: {"schema": shape}}}}
    if parameters:
        responses["4XX"] = _problem("What was asked is wrong; `detail` says what.")
    if no_run:
        responses["503"] = _problem("There is no run to answer from yet.")
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": responses}}


def _post_batch(size: int, batch: int, id_bytes: int) -> Json:
    asked = {
        "type": "object",
        "required": ["user_ids"],
        "additionalProperties": False,
        "properties": {
            "user_ids": {"type": "array", "items": _id(id_bytes), "maxItems": batch},
            "k": {"type": "integer", "minimum": 1, "maximum": size, "default": size},
        },
        "example": {"user_ids": ["17850", "13047"], "k": 5},
    }
    operation = _get("Many users' lists from one run, in the order asked.", "Batch", no_run=True)["get"]
    operation["responses"]["4XX"] = _problem("What was asked is wrong; `detail` says what.")
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": asked}}}
    return {"post": operation}


def _path(name: str, id_bytes: int) -> Json:
    about = f"At most {id_bytes} bytes of UTF-8, percent-encoded."
    return {"name": name, "in": "path", "required": True, "description": about, "schema": _id(id_bytes)}


def _k(most: int) -> Json:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": most}
    return {"name": "k", "in": "query", "description": f"How many, 1 to {most}.", "schema": schema}


def _id(id_bytes: int) -> Json:
    return {"type": "string", "minLength": 1, "maxLength": id_bytes}


def _problem(description: str) -> Json:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}


def _schemas(id_bytes: int) -> Json:
    text, number = {"type": "string"}, {"type": "number"}
    title = {"type": ["string", "null"]}
    model = _object(name=text, version=text, kind=text)
    run: Json = {"surface": text, "run_date": {"type": "string", "format": "date"}, "run_id": text, "model": model}
    entry = _object(item_id=text, title=title, score=number, source=text, reason=text)
    answer: Json = {"user_id": text, "items": {"type": "array", "items": entry}}
    fallback = {"fallback": {"const": "popular"}, "reason": text}
    similar = {"type": "array", "items": _object(item_id=text, title=title, score=number)}
    return {
        "Recommendations": _object(fallback, **run, **answer),
        "Batch": _object(**run, results={"type": "array", "items": _object(fallback, **answer)}),
        "Similar": _object(**run, item_id=text, title=title, items=similar),
        "Status": _object(surface=text, store=text, live={"type": ["object", "null"]}, refused=title),
        "Health": _object(status=text),
        "Ready": _object(**run, status=text),
        "Problem": _object(type=text, title=text, status={"type": "integer"}, detail=text),
    }


def _object(optional: Json | None = None, /, **required: Json) -> Json:
    """An object with exactly these members."""
    return {
        "type": "object",
        "required": list(required),
        "additionalProperties": False,
        "properties": {**required, **(optional or {})},
    }


def page(description: Json) -> str:
    """The description as HTML."""
    sections = [
        f"<h2><code>{method.upper()} {html.escape(path)}</code></h2><p>{html.escape(operation['summary'])}</p>"
        + _parameters(operation)
        + "".join(
            f"<p><b>{status}</b> {html.escape(response['description'])} {_schema_of(response)}</p>"
            for status, response in operation["responses"].items()
        )
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    shapes = [
        f"<h3 id='{name}'>{name}</h3><ul>{_members(schema)}</ul>"
        for name, schema in description["components"]["schemas"].items()
    ]
    title = html.escape(f"{description['info']['title']} {description['info']['version']}")
    return PAGE.format(
        title=title,
        about=html.escape(description["info"]["description"]),
        body="\n".join([*sections, "<h2>Shapes</h2>", *shapes]),
    )


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
h2 {{ margin-top: 2.2rem; border-top: 1px solid #ddd; padding-top: 1rem; font-size: 1.1rem }}
h3 {{ margin-bottom: 0 }} ul {{ margin-top: .2rem }} code {{ background: #f3f3f3; padding: .1em .3em }}
</style></head>
<body><h1>{title}</h1><p>{about} For machines: <a href="/openapi.json">/openapi.json</a>.</p>
{body}
</body></html>
"""


def _parameters(operation: Json) -> str:
    items = [
        f"<li><code>{parameter['name']}</code> in the {parameter['in']}: {html.escape(parameter['description'])}</li>"
        for parameter in operation["parameters"]
    ]
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        items.append(f"<li>body like <code>{html.escape(str(schema['example']).replace(chr(39), chr(34)))}</code></li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _schema_of(response: Json) -> str:
    reference = next(iter(response["content"].values()))["schema"].get("$ref", "")
    name = reference.rpartition("/")[2]
    return f"<a href='#{name}'>{name}</a>" if name else ""


def _members(schema: Json) -> str:
    return "".join(
        f"<li><code>{name}</code>{'' if name in schema['required'] else ' (may be absent)'}{_kind(member)}</li>"
        for name, member in schema["properties"].items()
    )


def _kind(member: Json) -> str:
    if member.get("type") == "array":
        return f": a list of<ul>{_members(member['items'])}</ul>"
    if "properties" in member:
        return f"<ul>{_members(member)}</ul>"
    return ""
