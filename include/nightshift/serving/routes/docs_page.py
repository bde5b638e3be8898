"""The service's description as a page for people, that needs nothing from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]


def page(description: Mapping[str, Any]) -> str:
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
        style=STYLE,
        about=html.escape(description["info"]["description"]),
        body="\n".join([*sections, "<h2>Shapes</h2>", *shapes]),
    )


STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h2 { margin-top: 2.2rem; border-top: 1px solid #ddd; padding-top: 1rem; font-size: 1.1rem }
h3 { margin-bottom: 0 } ul { margin-top: .2rem } code { background: #f3f3f3; padding: .1em .3em }
"""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>{style}</style></head>
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
    reference = next(iter(response.get("content", {"": {"schema": {}}}).values()))["schema"].get("$ref", "")
    name = reference.rpartition("/")[2]
    return f"<a href='#{name}'>{name}</a>" if name else ""


def _members(schema: Json) -> str:
    return "".join(
        f"<li><code>{name}</code>{'' if name in schema['required'] else ' (may be absent)'}{_kind(member)}</li>"
        for name, member in schema["properties"].items()
    )


def _kind(member: Json) -> str:
    if "properties" in member.get("items", {}):
        return f": a list of<ul>{_members(member['items'])}</ul>"
    if "properties" in member:
        return f"<ul>{_members(member)}</ul>"
    return ""
