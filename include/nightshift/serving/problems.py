"""Errors as problem+json (RFC 9457): what was wrong, with which value, and what to do."""

from __future__ import annotations

from http import HTTPStatus

import orjson

from nightshift.serving.answers import Answer, Pairs, plain_headers

URL_CHARACTERS = 8192
HEADERS = plain_headers("application/problem+json", "no-store")


class Problem(Exception):
    """Raised anywhere below a route; answered as problem+json."""

    def __init__(self, status: int, detail: str, headers: Pairs = ()) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers

    def answer(self) -> Answer:
        """The problem as an answer. Its type is about:blank: the status says what kind it is."""
        title = HTTPStatus(self.status).phrase
        body = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        return self.status, [*HEADERS, *self.headers], orjson.dumps(body)


def not_there(path: str) -> Problem:
    if len(path) > URL_CHARACTERS:
        return too_long(path)
    return Problem(404, "There is no such page. GET /docs lists those there are.")


def too_long(part: str) -> Problem:
    return Problem(414, f"A part of the address has {len(part)} characters; at most {URL_CHARACTERS} are allowed.")


def not_allowed(method: str, allowed: str) -> Problem:
    return Problem(405, f"{method[:40]} is not for this address; use {allowed}.", (("allow", allowed),))


CRASHED = Problem(500, "The service has failed on this request; its log says why.")
