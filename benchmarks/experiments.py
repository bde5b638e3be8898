"""What experiments cost a request: assigning a user, noting what was shown, and what the thread takes to write it down.

    python -m benchmarks.experiments --out var/figures

Each is called over and over in short rounds that take turns, and the fastest round counts: what the machine does beside
makes a round longer and never shorter. The hash alone is there as the yardstick.
"""

from __future__ import annotations

import hashlib
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import report
from benchmarks.options import parser
from nightshift.config.settings import Experiments, ExposureFiles
from nightshift.experiments.assignment import Assigner
from nightshift.experiments.exposure_files import part_of, write
from nightshift.experiments.exposures import AT_ONCE, ExposureLog

CALLS = 500  # a round
USERS = [str(number) for number in range(12_000, 13_000)]
RUN, NOW = "2011-11-29/by-hand", 1322640312.0
VARIANTS = [{"name": "control"}, {"name": "treatment"}]
LAYERS = (0, 1, 2, 3, 8)


def main(argv: list[str] | None = None) -> None:
    arguments = parser("experiments", __doc__, repeats=False)
    arguments.add_argument("--rounds", type=int, default=300, help="of each (300)")
    args = arguments.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        found = fastest(calls(Path(folder)), args.rounds)
        written = writing(Path(folder), args.rounds // 10)
    rows = [{"what": name, "ns": round(nanoseconds)} for name, nanoseconds in {**found, **written}.items()]
    report("experiments", rows, vars(args), args.out)


def calls(folder: Path) -> dict[str, Callable[[], Any]]:
    """What is called once a request."""
    users = itertools.cycle(USERS).__next__
    begun = hashlib.blake2b(digest_size=32, salt=b"salt").copy

    def hashed() -> bytes:
        digest = begun()
        digest.update(users().encode())
        return digest.digest()

    def assigning(layers: int) -> Callable[[], Any]:
        assign = Assigner(declared(layers)).assign
        return lambda: assign(users(), "home")

    note, given = (
        ExposureLog(ExposureFiles(max_rows=10**9), folder).note,
        Assigner(declared(2)).assign(USERS[0], "home"),
    )
    return {
        "a user's id": users,
        "the hash alone": hashed,
        **{f"assign, {count} layers": assigning(count) for count in LAYERS},
        "note": lambda: note(users(), given, RUN, 20, NOW, "request"),
    }


def declared(layers: int) -> Experiments:
    """An experiment over half of each layer, and holdouts."""
    found = []
    for lane in range(1, layers + 1):
        experiment = {"name": f"x{lane}", "slot": [0, 0.5], "variants": VARIANTS}
        found.append({"name": f"l{lane}", "lane": lane, "holdout": 0.05, "experiments": [experiment]})
    return Experiments.model_validate({"holdout": 0.05, "layers": found})


def fastest(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Nanoseconds a call in the fastest round, less what the loop and the user's id take."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter_ns()
            for _ in range(CALLS):
                call()
            best[name] = min(best[name], (time.perf_counter_ns() - started) / CALLS)
    loop = best.pop("a user's id")
    return {name: nanoseconds - loop for name, nanoseconds in best.items()}


def writing(folder: Path, rounds: int) -> dict[str, float]:
    """Processor time a row that the thread takes, with the items as a number and as a JSON answer of 3 KB."""
    assigner = Assigner(declared(2))
    answer = b"[" + b",".join(b'{"item_id":"%d","title":"%s"}' % (n, b"word " * 25) for n in range(20)) + b"]"
    found = {}
    for name, items in (("write, a number of items", 20), ("write, an answer of 3 KB", answer)):
        rows = [(assigner.assign(user, "home"), RUN, None, user, items, NOW, user) for user in USERS * 10]
        best = float("inf")
        for number in range(rounds):
            started = time.process_time_ns()
            parts = [part_of(rows[at : at + AT_ONCE], at) for at in range(0, len(rows), AT_ONCE)]
            write(folder, parts, "b", number, 0)
            best = min(best, (time.process_time_ns() - started) / len(rows))
        found[name] = best
    return found


if __name__ == "__main__":
    main()
