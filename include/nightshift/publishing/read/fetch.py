"""A file of a run on this machine, checked: by its hash once, and by what the disk says of it from then on.

What was checked is remembered in the cache, in a file that ends in `.checked`: a digest of the checked file's path,
size, times of change and inode. So a run of gigabytes opens at once, and a file that was cut off, changed or replaced
is looked at again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from nightshift.publishing.manifest import File, Manifest
from nightshift.publishing.read.manifests import CorruptRunError
from nightshift.publishing.storage import NotThereError, Storage, StoreError, sha256_of
from nightshift.runs.durable import flush, replacing

DAY = 86_400  # seconds
TRIES = 2  # of a download that comes out wrong: on its way, or in the store?


def fetch(storage: Storage, manifest: Manifest, file: File, cache: Path) -> Path:
    """Where `file` can be read on this machine, checked. It is downloaded into `cache` unless it is there, and whole.

    Raises:
        CorruptRunError: it is missing in the store, or another.
        StoreError: it cannot be downloaded; what is in `cache` is what was there before.
    """
    key = manifest.folder + file.path
    if path := storage.local(key):
        if not _is_good(path, file, cache):
            raise CorruptRunError(f"{storage.address}/{key} is {'another file' if path.is_file() else 'missing'}")
        return path
    path = cached(cache, file)
    if not _is_good(path, file, cache):
        with _one_at_a_time(cache, file):
            if not _is_good(path, file, cache):  # and nobody has fetched it while we waited
                _download(storage, manifest, file, path)
    return path


def was_fetched(storage: Storage, manifest: Manifest, file: File, cache: Path) -> bool:
    """Whether `fetch` has had this file before, so that it most likely takes no time now."""
    path = storage.local(manifest.folder + file.path) or cached(cache, file)
    return _mark(cache, file, path).is_file()


def doubt(storage: Storage, manifest: Manifest, file: File, cache: Path) -> None:
    """Forget that this file was checked: `fetch` looks at its hash again. Raises OSError."""
    _mark(cache, file, storage.local(manifest.folder + file.path) or cached(cache, file)).unlink(missing_ok=True)


def cached(cache: Path, file: File) -> Path:
    """Where a downloaded file is kept: by content, so that two runs with the same file keep one."""
    return cache / (file.sha256 + Path(file.path).suffix)


def tidy(cache: Path, keep: Iterable[Manifest]) -> None:
    """Remove what no run of `keep` needs. What somebody has open or mapped stays readable for them."""
    needed = {file.sha256 for manifest in keep for file in manifest.files.values()}
    for path in cache.glob("*"):
        ours = path.suffix in {".lmdb", ".parquet", ".checked", ".lock"}
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and (_is_left_over(path) or (ours and path.name[:64] not in needed)):
                path.unlink()


def _is_left_over(path: Path) -> bool:
    """Whether it is a download that was cut off long ago."""
    return path.name.startswith(".download-") and time.time() - path.stat().st_mtime > DAY


def _is_good(path: Path, file: File, cache: Path) -> bool:
    """Whether this is the file: of its size always, of its hash unless that was seen before.

    A file that is too short must not even be opened: to read a map beyond a file's end kills the process.
    """
    try:
        if path.stat().st_size != file.bytes:
            return False
        mark, stamp = _mark(cache, file, path), _stamp(path)
        if mark.is_file() and mark.read_text() == stamp:
            return True
        if sha256_of(path) != file.sha256 or _stamp(path) != stamp:
            return False
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"{error.filename}: {error.strerror}: check its rights") from error
    _remember(mark, stamp)
    return True


def _mark(cache: Path, file: File, path: Path) -> Path:
    return cache / f"{file.sha256}-{hashlib.sha256(bytes(path.absolute())).hexdigest()[:8]}.checked"


def _stamp(path: Path) -> str:
    found = path.stat()
    told = (str(path.absolute()), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _remember(mark: Path, stamp: str) -> None:
    """Whoever cannot, as on a full disk, looks again next time."""
    with contextlib.suppress(OSError):
        mark.parent.mkdir(parents=True, exist_ok=True)
        with replacing(mark) as partial:
            partial.write_text(stamp)


def _download(storage: Storage, manifest: Manifest, file: File, path: Path) -> None:
    key = manifest.folder + file.path
    for _ in range(TRIES):
        handle, name = tempfile.mkstemp(prefix=".download-", dir=path.parent)
        os.fchmod(handle, 0o644)
        os.close(handle)
        partial = Path(name)
        try:
            storage.download(key, partial)
            if partial.stat().st_size == file.bytes and sha256_of(partial) == file.sha256:
                flush(partial)  # before it is remembered as whole: what a power cut takes of it would not be looked for
                partial.replace(path)
                _remember(_mark(path.parent, file, path), _stamp(path))
                return
        except NotThereError as error:
            raise CorruptRunError(str(error)) from None
        finally:
            partial.unlink(missing_ok=True)
    raise CorruptRunError(f"{storage.address}/{key} is not the file that the manifest of {manifest.run} names")


@contextlib.contextmanager
def _one_at_a_time(cache: Path, file: File) -> Iterator[None]:
    """Let the processes that share a cache download a file once."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with open(cache / f"{file.sha256}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise StoreError(f"{cache}: {error.strerror}: make room on that disk, or check its rights") from error
