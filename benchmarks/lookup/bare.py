"""The yardsticks: the server of the lookup service, with its limits, returning answers from memory.

    python -m benchmarks.lookup.bare --port 8099 --answer answer.json
    python -m benchmarks.lookup.bare --port 8099 --answer answer.json --address file:///published --users 1000000

`answer.json` holds the headers, as pairs, and the body, as text, of the service's answer for the user u0. It is
returned to whatever is asked; with --address each user gets their own, of the run that is live there, out of a dict.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from nightshift.publishing import records
from nightshift.publishing.read import live_manifest, open_run
from nightshift.publishing.storage import open_storage
from nightshift.serving.server import server_at


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.lookup.bare", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--answer", type=Path, required=True)
    parser.add_argument("--address", help="of a store: each user gets their own list, of the live run of `home`")
    parser.add_argument("--users", type=int, default=1_000_000, help="u0, u1, ... (1000000)")
    args = parser.parse_args()
    loader = functools.partial(each, args.answer, args.address, args.users) if args.address else None
    server = server_at("127.0.0.1", args.port)
    server.serve(target_loader=loader or functools.partial(one, args.answer), wrap_loader=False)


def one(answer: Path) -> Any:
    """The application that returns one answer."""
    headers, body = read(answer)

    async def app(scope: Any, protocol: Any) -> None:
        protocol.response_bytes(200, headers, body)

    return app


def each(answer: Path, address: str, users: int) -> Any:
    """The application that returns each user's own answer."""
    headers, body = read(answer)
    answers = dict(answers_of(body, address, users))
    answers["/readyz"] = b""

    async def app(scope: Any, protocol: Any) -> None:
        found = answers.get(scope.path)
        protocol.response_bytes(404 if found is None else 200, headers, found or b"")

    return app


def read(answer: Path) -> tuple[list[tuple[str, str]], bytes]:
    found = json.loads(answer.read_text(encoding="utf-8"))
    return [(name, value) for name, value in found["headers"]], found["body"].encode()


def answers_of(body: bytes, address: str, users: int) -> Iterator[tuple[str, bytes]]:
    """Address and body of every user's answer, as the service gives them: `body` is that of u0."""
    storage = open_storage(address)
    size, head = len(orjson.loads(body)["items"]), body[: body.index(b'"u0"')]
    middle, end = body[len(head) + len(b'"u0"') : body.index(b"[{")], b"}"
    with tempfile.TemporaryDirectory(prefix="bare-") as cache:
        manifest = live_manifest(storage, "home")
        if manifest is None:
            raise SystemExit(f"nothing is published at {address}")
        run = open_run(storage, manifest, Path(cache))
        for user in (f"u{number}" for number in range(users)):
            entries = records.first(run.user(user) or records.NOTHING, size)
            yield f"/v1/users/{user}/recommendations", b"".join((head, b'"%b"' % user.encode(), middle, entries, end))


if __name__ == "__main__":
    main()
