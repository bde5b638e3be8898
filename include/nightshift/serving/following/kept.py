"""The last good runs of each channel, as this machine remembers them: what serves when the store cannot be read.

`<channel>.json` in the surface's cache has their manifests, that of the last one first; their shards lie beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from nightshift.publishing.manifest import Manifest, Run
from nightshift.publishing.read import tidy
from nightshift.publishing.storage import Storage, StoreError
from nightshift.runs.durable import replacing

log = logging.getLogger("nightshift.serving")

RUNS = 2  # of each channel: what is served, and what was before, for a rollback to find


class Kept(BaseModel):
    """The file's content. `coming` is being opened: what has come of it stays, in whichever process."""

    model_config = ConfigDict(frozen=True)

    runs: tuple[Manifest, ...] = ()
    coming: Manifest | None = None

    @property
    def needed(self) -> Iterator[Manifest]:
        yield from self.runs
        if self.coming:
            yield self.coming


class KeptRuns:
    """The runs that one channel has served, in a folder that the surface's channels share."""

    def __init__(self, cache: Path, channel: str) -> None:
        self._cache, self._file = cache, cache / f"{channel}.json"

    def __iter__(self) -> Iterator[Manifest]:
        """The manifests, of the run that was served last first."""
        return iter(_read(self._file).runs)

    def expect(self, manifest: Manifest) -> None:
        """Say that this run is about to be opened, so that nobody tidies its shards away."""
        self._write(Kept(runs=tuple(self), coming=manifest))

    def keep(self, manifest: Manifest, history: tuple[Run, ...] = ()) -> None:
        """Remember that this run is good; forget those that are not among the ones that were live before it, since they
        were withdrawn, or somebody was erased from them; and remove shards that nobody needs."""
        before = (one for one in self if one.run != manifest.run and one.run in history)
        self._write(Kept(runs=(manifest, *before)[:RUNS]))
        _tidy(self._cache)

    def forget(self) -> None:
        """Keep nothing: the channel is over."""
        if self._file.exists():
            self._file.unlink(missing_ok=True)
            _tidy(self._cache)

    def _write(self, kept: Kept) -> None:
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
            with replacing(self._file) as partial:
                partial.write_text(kept.model_dump_json(), encoding="utf-8")
        except OSError as error:
            log.warning("the run cannot be kept for when the store is down: %s: %s", error.filename, error.strerror)


class OnThisMachine:
    """A store as far as its files are on this machine: nothing is asked of it.

    Attributes:
        downloads: whether what is not here may be fetched: once a run is open, for the shards that it lacks.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage, self.downloads = storage, False
        self.address, self.transfers, self.local = storage.address, storage.transfers, storage.local

    def download(self, key: str, target: Path) -> None:
        if not self.downloads:
            raise StoreError(f"{key} is not on this machine")
        self._storage.download(key, target)


def forget_others(cache: Path, channels: Iterable[str]) -> None:
    """Keep nothing of channels that are not followed any more."""
    for file in cache.glob("*.json"):
        if file.stem not in channels:
            KeptRuns(cache, file.stem).forget()


def _tidy(cache: Path) -> None:
    """Remove the shards that no channel needs."""
    tidy(cache, [one for file in cache.glob("*.json") for one in _read(file).needed])


def _read(file: Path) -> Kept:
    try:
        return Kept.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return Kept()
    except (OSError, ValidationError) as error:
        log.warning("%s is passed over: %s", file, error)
        return Kept()
