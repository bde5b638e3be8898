"""What the lookup service can carry, beside a server that returns the same bytes from memory.

    python -m benchmarks.lookup --work var/lookup --out var/figures
    python -m benchmarks.lookup --work var/lookup --out var/figures --swaps 1000

The service as it is by default, the service with everything on (API keys and rates, the access log, an experiment whose
variants read two runs, its exposures), and the yardsticks, the same server with every user's answer in a dictionary, as
either of them gives it, header by header, run on one core, the load on another, in turns; beside them the server with
one answer for everybody, which asks nothing of memory. All ask for whole lists; one more row asks for five entries, for
which a list is cut. Requests a second are those of the peak, processor time is all that the worker used, the kernel's
part included; latencies are at 70% of the peak with everything on, and at that rate while runs are swapped. `--work`
keeps the published runs for the next time; each yardstick holds a million users' answers in 4 GB.

A connection asks again after its answer and a pause: wrk has no open loop, and does not correct for coordinated
omission. Connections are added until the rate is within 3% of the 70%, and the share that was reached is printed; but
while a server stalls, whoever waits for it asks nothing, so that a stall counts once a connection and not once for each
request that would have come meanwhile.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.lookup.load import Load, Loaded, load, load_at, loader
from benchmarks.lookup.planted import Size, plant
from benchmarks.lookup.servers import Server, bare, service
from benchmarks.measure import interleaved, median, report, say, spread
from benchmarks.options import parser
from nightshift.config.settings import CURRENT
from nightshift.publishing.manifest import Run
from nightshift.publishing.pointer import Pointer, put_pointer, read_pointer
from nightshift.publishing.storage import Storage, open_storage
from nightshift.serving.following.mapped import why_not_held
from nightshift.serving.guard.keys import hash_of, new_key

CHALLENGER = "challenger"
DATE = dt.date(2026, 3, 1)
SHARE = 0.7  # of the peak, at which latencies are taken
ONE, PLAIN, ALL_ON = "one answer", "lookup service", "with everything on"
CUT, FEW = f"{ALL_ON}, k=5", 5
BARE, BARE_ON = "same bytes from memory", f"same bytes from memory as {ALL_ON}"
YARDSTICKS = {PLAIN: (BARE, ONE), ALL_ON: (BARE_ON, ONE)}


def main(argv: list[str] | None = None) -> None:
    args = arguments().parse_args(argv)
    server_cores, load_cores = cores()
    work = args.work.absolute()
    storage, runs = publish(work, Size(args.users, shards=args.shards))
    config = configuration(work, storage)
    what = Load(args.users, args.unknown, args.connections)
    all_on, key = everything_on(work, storage, runs[1])
    with tempfile.TemporaryDirectory(prefix="home-", dir=work) as folder:
        home, busy = Path(folder), Path(folder) / "everything-on"
        busy.mkdir()
        with service(config, home, server_cores) as first:
            ready = {"first": first.ready_seconds}
        with service(config, home, server_cores) as again:
            ready["again"] = again.ready_seconds
        with service(all_on, busy, server_cores) as ours, ExitStack() as yardsticks:
            with service(config, home, server_cores) as plain:
                answer, answer_on = answer_of(plain), answer_of(ours, key)

                def yardstick(of: httpx.Response, *asked: str) -> Server:
                    return yardsticks.enter_context(bare(of, home, server_cores, *asked))

                each, what = ("--address", storage.address, "--users", str(args.users)), replace(what, key=key)
                servers = {
                    ONE: yardstick(answer),
                    BARE: yardstick(answer, *each),
                    PLAIN: plain,
                    BARE_ON: yardstick(answer_on, *each),
                    ALL_ON: ours,
                }
                for server in servers.values():  # else the first rounds are of pages mapped for the first time
                    load(server.url, what, args.warm, load_cores)
                turns = {name: (server, what) for name, server in servers.items()}
                turns[CUT] = ours, replace(what, k=FEW)
                peaks = {name: peak_of(*turn, args.seconds, load_cores) for name, turn in turns.items()}
                found = interleaved(args.repeats, peaks)
                rate = SHARE * median([one["rate"] for one in found[ALL_ON]])
                calm = {
                    name: load_at(server.url, asked, rate, args.seconds, load_cores)
                    for name, (server, asked) in turns.items()
                }
                held = {PLAIN: plain.memory_mib(), ALL_ON: ours.memory_mib()}
            for file in busy.rglob("*.checked"):  # so that the next run is hashed, as one is that nobody has served yet
                file.unlink()
            # The yardsticks are still there: what a machine does with gigabytes that become free would be measured too.
            swaps = swapped(storage, runs, ours, calm[ALL_ON][0], args, load_cores)
    told = {
        "loader": loader(),
        "answer_bytes": len(answer_on.content),
        "ready_seconds": ready,
        "memory_mib": held,
        "ratio": {name: {of: ratios(found[of], found[name]) for of in beside} for name, beside in YARDSTICKS.items()},
        **swaps,
    }
    rows = [row(name, found, calm[name][1], rate / SHARE) for name in found]
    report("lookup", rows, vars(args), args.out, {"told": told, "peaks": found})
    explain(told)


def arguments() -> argparse.ArgumentParser:
    result = parser("lookup", __doc__)
    result.add_argument("--work", type=Path, required=True, help="a folder for the published runs, 9 GB with 1M users")
    result.add_argument("--users", type=int, default=1_000_000, help="with a list of 20 items each (1000000)")
    result.add_argument("--shards", type=int, default=8, help="files that a run is spread over (8)")
    result.add_argument("--unknown", type=float, default=0.0, help="share of requests for users that have no list (0)")
    result.add_argument("--connections", type=int, default=32, help="at the peak (32)")
    result.add_argument("--seconds", type=float, default=5, help="of every measurement (5)")
    result.add_argument("--warm", type=float, default=10, help="seconds of load on each server before (10)")
    result.add_argument("--swaps", type=int, default=5, help="of the live run, under load (5)")
    return result


def cores() -> tuple[set[int], set[int]]:
    """One core for the servers, one for the load."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        say("there is one core only: servers and load share it, so the figures are of both together")
    return {first}, {others[0] if others else first}


def publish(work: Path, size: Size) -> tuple[Storage, list[Run]]:
    """Two runs of the same users and other lists, the first of them live."""
    storage = open_storage((work / "published").as_uri())
    runs = [plant(storage, "home", DATE, mark, mark, size).run for mark in ("a", "b")]
    move(storage, runs[0])
    say("reading both runs, so that memory has what it has room for")
    for file in sorted((work / "published").rglob("*.lmdb")):
        with file.open("rb", buffering=0) as content:
            while content.read(2**24):
                pass
    return storage, runs


def configuration(work: Path, storage: Storage) -> Path:
    values = yaml.safe_load(Path("nightshift.yaml").read_text(encoding="utf-8"))
    values["store"] = {"address": storage.address}
    values["serving"] = {"hold_memory": why_not_held() is None}  # beside a yardstick that nobody takes memory from
    file = work / "nightshift.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return file


def everything_on(work: Path, storage: Storage, other: Run) -> tuple[Path, str]:
    """The configuration with all that costs a request something, half of the users on the other run; and a key."""
    move(storage, other, CHALLENGER)
    key, values = new_key(), yaml.safe_load((work / "nightshift.yaml").read_text(encoding="utf-8"))
    entry = {"name": "load", "hash": hash_of(key), "role": "reader", "surfaces": ["home"], "rate": 1e6, "burst": 10**6}
    (work / "keys.yaml").write_text(yaml.safe_dump({"keys": [entry]}), encoding="utf-8")
    values["serving"] |= {"guard": {"keys": str(work / "keys.yaml")}, "access_log": {"path": "access.jsonl"}}
    variants = [{"name": "control"}, {"name": CHALLENGER, "channel": CHALLENGER}]
    ranker = {"name": "ranker", "slot": [0, 1], "variants": variants}
    page = {"name": "page", "slot": [0, 0.5], "variants": [{"name": "control"}, {"name": "wide"}]}
    layers = [
        {"name": of["name"], "lane": lane, "experiments": [of]} for lane, of in enumerate((ranker, page), start=1)
    ]
    values["experiments"] = {"channels": {CHALLENGER: CHALLENGER}, "layers": layers}
    file = work / "everything-on.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return file, key


def move(storage: Storage, run: Run, channel: str = CURRENT) -> None:
    """Make a run live, back and forth as no publish does."""
    found, now = read_pointer(storage, "home", channel), dt.datetime.now(dt.UTC)
    before = (found[0].run,) if found else ()
    pointer = Pointer(
        **run.model_dump(), surface="home", channel=channel, moved_at=now, moved_by="rollback", history=before
    )
    put_pointer(storage, pointer, found[1] if found else None)


def answer_of(server: Server, key: str = "") -> httpx.Response:
    """What the user u0 gets."""
    headers = {"accept-encoding": "identity", "x-api-key": key}
    answer = httpx.get(f"{server.url}/v1/users/u0/recommendations", headers=headers)
    return answer.raise_for_status()


def peak_of(server: Server, what: Load, seconds: float, load_cores: set[int]) -> Callable[[], dict[str, float]]:
    """Measures requests a second and processor time a request, as fast as the server can."""

    def measured() -> dict[str, float]:
        before = server.cpu_seconds()
        done = load(server.url, what, seconds, load_cores)
        must_be_clean(done)
        return {"rate": done.rate, "cpu_us": 1e6 * (server.cpu_seconds() - before) / done.requests, **done.latency}

    return measured


def swapped(
    storage: Storage, runs: list[Run], server: Server, what: Load, args: argparse.Namespace, load_cores: set[int]
) -> dict[str, Any]:
    """Load while a new run is fetched, checked and swapped in, and then while both are swapped to and fro."""
    checking = replace(what, check=True)
    with swapping(storage, runs, server, 1) as new:
        while_new = until_done(server, checking, args.seconds, load_cores, new)
    with swapping(storage, runs[::-1], server, args.swaps) as known:
        while_known = until_done(server, checking, args.seconds, load_cores, known)
    return {
        "new_run_seconds": new[0],
        "while_a_new_run_comes": vars(while_new),
        "swap_seconds": median(known),
        "swaps": len(known),
        "during_swaps": vars(while_known),
    }


@contextmanager
def swapping(storage: Storage, runs: list[Run], server: Server, times: int) -> Iterator[list[float]]:
    """Moves the pointer so many times, each once the last is served; the seconds of each are added as it is."""
    seconds: list[float] = []

    def swap() -> None:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            for run in itertools.islice(itertools.cycle(reversed(runs)), times):
                begun = time.perf_counter()
                move(storage, run)
                while client.get("/readyz").json()["run_id"] != run.run_id:
                    time.sleep(0.005)
                seconds.append(time.perf_counter() - begun)

    thread = threading.Thread(target=swap, daemon=True)
    thread.start()
    yield seconds
    thread.join()


def until_done(server: Server, what: Load, seconds: float, load_cores: set[int], swaps: list[float]) -> Loaded:
    """Load until there are no more swaps; every answer is looked into."""
    parts = list[Loaded]()
    while not parts or threading.active_count() > 1:
        parts.append(load(server.url, what, seconds, load_cores))
        must_be_clean(parts[-1])
        say(f"{len(swaps)} swaps, slowest answer {parts[-1].latency['max']:.1f} ms")
    worst = {name: max(part.latency[name] for part in parts) for name in parts[0].latency}
    return Loaded(sum(part.requests for part in parts), sum(part.seconds for part in parts), 0, worst, 0)


def must_be_clean(done: Loaded) -> None:
    if done.errors or done.mixed:
        raise RuntimeError(f"{done.errors} requests failed and {done.mixed} answers mixed two runs: {done}")


def row(name: str, found: dict[str, list[dict[str, float]]], calm: Loaded, peak: float) -> dict[str, Any]:
    """A server's line; `peak`: requests a second with everything on."""
    rates = [one["rate"] for one in found[name]]
    return {
        "server": name,
        "requests/s": f"{median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
        "CPU µs a request": spread([one["cpu_us"] for one in found[name]]),
        "at, requests/s": round(calm.rate),
        f"of the peak {ALL_ON}": f"{calm.rate / peak:.0%}",
        **{f"{name}, ms": value for name, value in calm.latency.items()},
    }


def ratios(theirs: list[dict[str, float]], ours: list[dict[str, float]]) -> dict[str, list[float]]:
    """Of the service to a yardstick, pair by pair: requests a second, and what its processor time allows."""
    pairs = list(zip(theirs, ours, strict=True))
    return {
        "requests": [ours["rate"] / bare["rate"] for bare, ours in pairs],
        "processor": [bare["cpu_us"] / ours["cpu_us"] for bare, ours in pairs],
    }


def explain(told: dict[str, Any]) -> None:
    ready = told["ready_seconds"]
    print(f"\nload by {told['loader']}; {told['answer_bytes']:,} bytes an answer {ALL_ON}")
    for name, beside in told["ratio"].items():
        for of, ratio in beside.items():
            by_time = f"by processor time a request {spread(ratio['processor'])}"
            print(f"{name}: of the requests/s of {of} {spread(ratio['requests'])}, {by_time}")
    print(f"ready {ready['first']:.2f} s after the first start, {ready['again']:.2f} s after the next")
    for name, of in told["memory_mib"].items():
        print(f"{name}: {of['own']:.0f} MiB of its own, beside {of['shards']:.0f} MiB of mapped shards")
    print(f"a new run is served {told['new_run_seconds']:.1f} s later; {_worst(told, 'while_a_new_run_comes')}")
    print(f"{told['swaps']} swaps, of {told['swap_seconds']:.2f} s each; {_worst(told, 'during_swaps')}")
    print("no request failed, and no answer mixed two runs")


def _worst(told: dict[str, Any], name: str) -> str:
    found = told[name]
    rate = found["requests"] / found["seconds"]
    return f"{rate:,.0f} requests/s, " + ", ".join(f"{of} {value:.1f} ms" for of, value in found["latency"].items())


if __name__ == "__main__":
    main()
