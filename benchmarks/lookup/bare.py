"""The yardstick: the same server and interface as the lookup service, returning one answer from memory.

    python -m benchmarks.lookup.bare --port 8099 --answer answer.json

`answer.json` holds the answer's headers, as pairs, and its body, as text.
"""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.lookup.bare", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--answer", type=Path, required=True)
    args = parser.parse_args()
    server = Granian(
        "bare",
        "127.0.0.1",
        args.port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.warning,
    )
    server.serve(target_loader=functools.partial(application, args.answer), wrap_loader=False)


def application(answer: Path) -> Any:
    found = json.loads(answer.read_text(encoding="utf-8"))
    headers, body = [(name, value) for name, value in found["headers"]], found["body"].encode()

    async def app(scope: Any, protocol: Any) -> None:
        protocol.response_bytes(200, headers, body)

    return app


if __name__ == "__main__":
    main()
