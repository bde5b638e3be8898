"""Errors as problem+json (RFC 9457): what was wrong, with which value, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response


class Problem(HTTPException):
    """Raised anywhere below a route; answered as problem+json."""


def answer(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """The problem as a response. Its type is about:blank: the status says what kind it is."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return Response(orjson.dumps(body), status, headers, "application/problem+json")


async def on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, Problem):
        return answer(error.status_code, error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return answer(404, "There is no such page. GET /docs lists those there are.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another")
        return answer(405, f"{request.method} is not for this address; use {allowed}.", error.headers)
    return answer(error.status_code, error.detail, error.headers)


async def on_crash(request: Request, error: Exception) -> Response:
    return answer(500, "The service has failed on this request; its log says why.")
