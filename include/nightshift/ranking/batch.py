"""The lists of all users, block by block: in bounded memory, by one process or several, and resumable.

A block's lists, and whatever else is made of it, are files of their own until all are there, so that a step that was
killed goes on where it was. The files go by what they were made from: another model, other features, other settings or
code, and all are made anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.features.blocks import Blocks
from nightshift.features.snapshot import Snapshot
from nightshift.ranking.ranker import cores
from nightshift.runs.durable import replacing

log = logging.getLogger("nightshift.ranking")

Maker = Callable[[Snapshot], Mapping[str, pa.Table]]
"""What is made of a snapshot's users, by its name: `lists`, by user and rank, and more."""

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
_work: tuple[Maker, Blocks] | None = None


@dataclass(frozen=True)
class Batch:
    """Blocks whose lists are made into `folder`, a folder for each kind of table with a file a block.

    Attributes:
        make: gives what makes the tables with `threads` (0: as many as there may be); called once a process, so it and
            what it holds can be sent to one.
        names: of the tables that it makes.
    """

    blocks: Blocks
    folder: Path
    make: Callable[..., Maker]
    names: Sequence[str]

    def run(self, processes: int = 0) -> dict[str, list[Path]]:
        """Make what is missing. Returns each table's files, by block.

        Args:
            processes: at once; 0: one a core, as far as there are blocks. One works here, with all threads; of several
                each has one thread.
        """
        for name in self.names:
            (self.folder / name).mkdir(exist_ok=True)
        numbers = range(len(self.blocks))
        files = [{name: self.folder / name / f"{number:06d}.parquet" for name in self.names} for number in numbers]
        missing = [number for number in numbers if not all(file.exists() for file in files[number].values())]
        if len(missing) < len(files):
            log.info("infer: %d of %d blocks are there already", len(files) - len(missing), len(files))
        processes = min(processes or cores(), len(missing))
        progress = _Progress(len(missing))
        if processes > 1:
            context = multiprocessing.get_context("spawn")
            start = _start, (self.make, replace(self.blocks), 1)  # without what this process has read of them
            with _environment(ONE_THREAD), ProcessPoolExecutor(processes, context, *start) as pool:
                work = {pool.submit(_tables_of, number, files[number]): number for number in missing}
                try:
                    for done in as_completed(work):
                        progress.tell(done.result())
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
        else:
            _start(self.make, self.blocks, 0)
            for number in missing:
                progress.tell(_tables_of(number, files[number]))
        return {name: [of_block[name] for of_block in files] for name in self.names}


def folder_for(parent: Path, made_from: Mapping[str, Any]) -> Path:
    """The folder of the blocks that are made from this, under `parent`; whatever was made from something else goes."""
    text = json.dumps(made_from, sort_keys=True, default=str)
    folder = parent / hashlib.sha256(text.encode()).hexdigest()[:16]
    for other in parent.glob("*"):
        if other != folder:
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def join(files: list[Path], target: Path) -> None:
    """Write the blocks' rows as one file, a block at a time."""
    with pq.ParquetWriter(target, pq.read_schema(files[0])) as writer:
        for file in files:
            rows = pq.read_table(file, partitioning=None)
            writer.write_table(rows, row_group_size=max(rows.num_rows, 1))  # a block is a row group


def _start(make: Callable[..., Maker], blocks: Blocks, threads: int) -> None:
    global _work
    _work = make(threads=threads), blocks


def _tables_of(number: int, files: Mapping[str, Path]) -> int:
    """Make a block's files, each whole or not at all. Returns how many users they are of."""
    assert _work
    maker, blocks = _work
    snapshot = blocks.block(number)
    made = maker(snapshot)
    for name, file in files.items():
        with replacing(file) as partial:
            pq.write_table(made[name], partial)
    return len(snapshot.users)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _Progress:
    """How far it is, and when it will be done."""

    def __init__(self, blocks: int) -> None:
        self.blocks, self.done, self.users, self.started = blocks, 0, 0, time.monotonic()

    def tell(self, users: int) -> None:
        self.done, self.users = self.done + 1, self.users + users
        seconds = max(time.monotonic() - self.started, 1e-3)
        log.info(
            "infer: block %d of %d, %s users, %.0f a second, %.0f s left",
            self.done,
            self.blocks,
            f"{self.users:,}",
            self.users / seconds,
            seconds / self.done * (self.blocks - self.done),
        )
