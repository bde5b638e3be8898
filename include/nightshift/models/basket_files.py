"""Baskets in files that are mapped into memory: what a fit reads of the events, however many there are."""

from __future__ import annotations

import contextlib
import datetime as dt
import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from nightshift.features.snapshot import INTERACTIONS
from nightshift.models.baskets import NEVER, Baskets, baskets_of

FIELDS = tuple(field.name for field in fields(Baskets))


@dataclass(frozen=True)
class MappedBaskets(Baskets):
    """Baskets whose arrays are files.

    Attributes:
        maps: the files, as mapped.
    """

    maps: tuple[mmap.mmap, ...]

    def release(self) -> None:
        """Unmap the pages that were read; the kernel keeps them as long as it has memory to spare."""
        for mapped in self.maps:
            mapped.madvise(mmap.MADV_DONTNEED)


def write_baskets(
    histories: Iterable[pd.DataFrame], user_ids: np.ndarray, item_ids: np.ndarray, as_of: dt.date, folder: Path
) -> Baskets:
    """What `baskets_of` would give of all histories in one frame, to the bit, in memory for the longest of them.

    Args:
        histories: frames of whole users, in order of user id: see `features.histories`.
        folder: where the files go, a file an array.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        files = {name: _Growing(stack.enter_context((folder / f"{name}.npy").open("w+b"))) for name in FIELDS}
        targets = events = 0
        for part in _parts(histories, user_ids, item_ids, as_of):
            later = part.history_next < NEVER
            moved = {
                "start": part.start[:-1] + targets,
                "history_next": np.where(later, part.history_next + np.where(later, events, 0), NEVER),
                "history_start": part.history_start + events,
                "history_end": part.history_end + events,
            }
            for name, file in files.items():
                file.append(moved.get(name, getattr(part, name)))
            targets, events = targets + len(part.target), events + len(part.history_item)
        files["start"].append(np.array([targets]))
        mapped = {name: file.mapped() for name, file in files.items()}
    arrays = {name: array for name, (array, _) in mapped.items()}
    return MappedBaskets(**arrays, maps=tuple(file for _, file in mapped.values()))


def _parts(
    histories: Iterable[pd.DataFrame], user_ids: np.ndarray, item_ids: np.ndarray, as_of: dt.date
) -> Iterator[Baskets]:
    """The baskets of each frame; at least one part, which may be empty."""
    nothing = pd.DataFrame(columns=INTERACTIONS, dtype=object)
    for frame in chain([nothing], histories):
        yield baskets_of(frame, user_ids, item_ids, as_of)


class _Growing:
    """An array in a file of NumPy's own format, whose length is known at its end only."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.length = file, 0

    def append(self, array: np.ndarray) -> None:
        if not self.file.tell():
            self.kind = array.dtype
            self._head()
        array.astype(self.kind, casting="safe", copy=False).tofile(self.file)
        self.length += len(array)

    def mapped(self) -> tuple[np.ndarray, mmap.mmap]:
        """The whole, read from the file."""
        self.file.seek(0)
        self._head()
        offset = self.file.tell()
        self.file.flush()
        mapped = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, self.kind, self.length, offset), mapped

    def _head(self) -> None:
        """The format leaves room for the length to grow."""
        about = {"descr": np.lib.format.dtype_to_descr(self.kind), "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self.file, about)
