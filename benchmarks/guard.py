"""What the guard and the access log add to a request, in nanoseconds of processor time.

    python -m benchmarks.guard --out figures

Each figure is the best of many rounds: other processes on the machine only ever add.
"""

from __future__ import annotations

import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

import yaml

from benchmarks.measure import report
from benchmarks.options import parser
from nightshift.config.settings import AccessLog, Guard
from nightshift.serving.guard.access import WRITE_SECONDS, access_log_of
from nightshift.serving.guard.admission import AddressGuard, KeyGuard, guard_of
from nightshift.serving.guard.keys import hash_of, new_key
from nightshift.serving.guard.request_ids import RequestIds

CALLS, ROUNDS, LINES = 1_000, 300, 1_000
CLIENT = "203.0.113.7:40123"


def main() -> None:
    args = parser("guard", __doc__, repeats=False).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [{"what": name, "ns": round(nanoseconds(work))} for name, work in _pieces(Path(folder)).items()]
        written = nanoseconds(_written_lines(Path(folder)), calls=1) / LINES
        rows.append({"what": f"note and write, a line (a thread does, every {WRITE_SECONDS} s)", "ns": round(written)})
    report("guard", rows, vars(args), args.out)


def nanoseconds(work: Callable[[], object], calls: int = CALLS) -> float:
    """Of one call, the best of `ROUNDS`."""
    timer = timeit.Timer(work, timer=time.process_time)
    return min(timer.repeat(ROUNDS, calls)) / calls * 1e9


def _pieces(folder: Path) -> dict[str, Callable[[], object]]:
    key, now = new_key(), time.monotonic()
    known = {"name": "shop", "hash": hash_of(key), "rate": 1e9}
    (folder / "keys.yaml").write_text(yaml.safe_dump({"keys": [known]}))
    keyed, by_address = guard_of(Guard(keys="keys.yaml"), folder), guard_of(Guard(rate=1e9), folder)
    assert isinstance(keyed, KeyGuard)
    assert isinstance(by_address, AddressGuard)
    bearer, unknown = {"authorization": f"Bearer {key}"}, {"x-api-key": new_key()}
    ids = RequestIds()
    waiting = access_log_of(AccessLog(path="-", waiting=2 * CALLS * ROUNDS), folder)
    assert waiting
    return {
        "an empty call (in every figure)": lambda: None,
        "admit, a key that is known, with a rate": lambda: keyed.admit(bearer, now),
        "admit, a key that is not known": lambda: keyed.admit(unknown, now),
        "admit, by client address": lambda: by_address.admit({}, now, CLIENT),
        "a new request id": lambda: ids.of({}),
        "note": lambda: waiting.note("recommendations", 200, 0.0002, 2100, "shop", "5f1c9a7e00000001"),
    }


def _written_lines(folder: Path) -> Callable[[], object]:
    """Work that notes and writes `LINES` of them."""
    log = access_log_of(AccessLog(path="access.jsonl"), folder)
    assert log

    def work() -> None:
        for _ in range(LINES):
            log.note("recommendations", 200, 0.0002, 2100, "shop", "5f1c9a7e00000001")
        log.write()

    return work


if __name__ == "__main__":
    main()
