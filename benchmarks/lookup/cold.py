"""A new machine: how long until it answers, and what that takes, with nothing on its disk and the runs in S3.

    python -m benchmarks.lookup.cold --out var/figures --users 200000

Whole: it is ready when every shard is here. By shard (`serving.lazy_shards`): when the items are, and a user's shard
comes when the user is asked for. Last, the same machine again, with everything on its disk. The S3 server is moto's,
on the other core: much of the time is its own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.lookup.__main__ import DATE, cores, move
from benchmarks.lookup.planted import Size, plant
from benchmarks.lookup.servers import Server, service
from benchmarks.measure import median, report
from benchmarks.options import parser
from benchmarks.stores import store
from nightshift.publishing.storage import open_storage

WHOLE, LAZY, AGAIN = "whole", "by shard", "whole, again"
ASKED = 400  # users


def main(argv: list[str] | None = None) -> None:
    args = arguments().parse_args(argv)
    server_cores, store_cores = cores()
    with tempfile.TemporaryDirectory(prefix="cold-") as folder, store("s3", Path(folder)) as (address, endpoint):
        os.sched_setaffinity(0, store_cores)
        storage, size = open_storage(address, endpoint), Size(args.users, shards=args.shards)
        manifest = plant(storage, "home", DATE, "a", "a", size)
        move(storage, manifest.run)
        size_mib = sum(file.bytes for file in manifest.files.values()) / 2**20
        rows: list[dict[str, Any]] = []
        for name, home in ((WHOLE, "whole"), (LAZY, "lazy"), (AGAIN, "whole")):
            place = Path(folder, home)
            place.mkdir(exist_ok=True)
            config = configuration(place, {"address": address, "endpoint": endpoint}, name == LAZY)
            with service(config, place, server_cores) as server:
                rows.append({"start": name, "MiB in the store": round(size_mib), **figures(server, place, args.users)})
    report("cold", rows, vars(args), args.out)


def arguments() -> argparse.ArgumentParser:
    result = parser("lookup.cold", __doc__, repeats=False)
    result.add_argument("--users", type=int, default=200_000, help="with a list of 20 items each (200000)")
    result.add_argument("--shards", type=int, default=16, help="files that the run is spread over (16)")
    return result


def configuration(folder: Path, store: dict[str, Any], lazy: bool) -> Path:
    values = yaml.safe_load(Path("nightshift.yaml").read_text(encoding="utf-8"))
    values |= {"store": store, "serving": {"lazy_shards": lazy}}
    file = folder / "cold.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return file


def figures(server: Server, home: Path, users: int) -> dict[str, Any]:
    """What it took to be ready, and what users got who asked at once."""
    here, peak = on_disk(home), server.peak_mib()
    milliseconds, own = [], 0
    with httpx.Client(base_url=server.url) as client:
        for number in range(0, users, max(1, users // ASKED)):
            begun = time.perf_counter()
            answer = client.get(f"/v1/users/u{number}/recommendations").raise_for_status().json()
            milliseconds.append(1000 * (time.perf_counter() - begun))
            own += answer["degraded"] is None
    return {
        "ready, s": server.ready_seconds,
        "here by then, MiB": round(here),
        "most memory until then, MiB": round(peak),
        "then, ms an answer": f"{median(milliseconds):.1f}, at most {max(milliseconds):.1f}",
        "users with their own list": f"{own / len(milliseconds):.0%}",
        "here then, MiB": round(on_disk(home)),
    }


def on_disk(home: Path) -> float:
    """MiB of shards."""
    return sum(file.stat().st_size for file in home.rglob("*.lmdb")) / 2**20


if __name__ == "__main__":
    main()
