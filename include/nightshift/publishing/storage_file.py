"""The store on a disk: a write is a rename, a creation is a hard link, a compare-and-set holds a lock."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from nightshift.publishing.storage import (
    ConflictError,
    Listed,
    NotThereError,
    Stored,
    StoreError,
    Unfinished,
    sha256_of,
)
from nightshift.runs.durable import flush, make_folder

PARTIAL = ".partial"


class FileStorage:
    """Files under `root`. Names that begin with a dot are the store's own: half-written files and the lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = root.as_uri()
        self.transfers = 2

    def read(self, key: str) -> Stored:
        with _said_clearly(self, key):
            body = self._path(key).read_bytes()
        return Stored(body, _etag(body))

    def exists(self, key: str) -> bool:
        with _said_clearly(self, key):
            return self._path(key).is_file()

    def list(self, prefix: str) -> list[Listed]:
        whole = [(path, at) for path, at in self._files(prefix) if not path.name.startswith(".")]
        found = [Listed(path.relative_to(self.root).as_posix(), at) for path, at in whole]
        return sorted(found, key=lambda listed: listed.key)

    def write(self, key: str, body: bytes) -> None:
        with self._whole(key) as partial:
            partial.write_bytes(body)
            flush(partial)
            partial.replace(self._path(key))

    def create(self, key: str, body: bytes) -> None:
        with self._whole(key) as partial:
            partial.write_bytes(body)
            flush(partial)
            try:
                os.link(partial, self._path(key))
            except FileExistsError:
                self._must_be(key, body, "is there already")

    def replace(self, key: str, body: bytes, etag: str) -> None:
        with self._locked(key):
            if not self.exists(key) or self.read(key).etag != etag:
                self._must_be(key, body, "has changed meanwhile")
            else:
                self.write(key, body)

    def upload(self, source: Path, key: str, sha256: str) -> None:
        target = self._path(key)
        if target.is_file() and target.stat().st_size == source.stat().st_size and sha256_of(target) == sha256:
            return
        with self._whole(key) as partial:
            shutil.copyfile(source, partial)
            if sha256_of(partial) != sha256:
                raise StoreError(f"{self.address}/{key}: what was written is not what is in {source}: check both disks")
            flush(partial)
            partial.replace(target)

    def download(self, key: str, target: Path) -> None:
        with _said_clearly(self, key):
            shutil.copyfile(self._path(key), target)

    def local(self, key: str) -> Path:
        return self._path(key)

    def delete(self, key: str) -> None:
        with _said_clearly(self, key):
            self._path(key).unlink(missing_ok=True)

    def delete_all(self, prefix: str) -> None:
        with _said_clearly(self, prefix), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._path(prefix))
            with contextlib.suppress(OSError):
                self._path(prefix).parent.rmdir()  # where it was the last in it

    def begin(self, key: str) -> str:
        with _said_clearly(self, key):
            return _partial_of(self._path(key))

    def unfinished(self, prefix: str) -> Sequence[Unfinished]:
        found = []
        for path, at in self._files(prefix):
            if path.name.startswith(".") and path.name.endswith(PARTIAL):
                key = path.parent.relative_to(self.root) / path.name[1:].rsplit(".", 2)[0]
                found.append(Unfinished(key.as_posix(), at, str(path)))
        return found

    def abort(self, unfinished: Unfinished) -> None:
        with _said_clearly(self, unfinished.key):
            Path(unfinished.name).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        parts = key.rstrip("/").split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise StoreError(f"{key!r} is no key of a file store")
        return self.root.joinpath(*parts)

    def _files(self, prefix: str) -> Sequence[tuple[Path, dt.datetime]]:
        """All files under the folder `prefix`, half-written ones too, and when they were last written.

        Raises:
            StoreError: a folder that is there cannot be looked into: nobody can say what it has.
        """
        found = []
        with _said_clearly(self, prefix):
            top = self._path(prefix) if prefix else self.root
            for folder, subfolders, names in os.walk(top, onerror=_raise_unless_gone):
                subfolders[:] = [name for name in subfolders if not name.startswith(".")]
                for path in (Path(folder, name) for name in names):
                    with contextlib.suppress(FileNotFoundError):
                        found.append((path, dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)))
        return found

    @contextlib.contextmanager
    def _whole(self, key: str) -> Iterator[Path]:
        """A file beside `key` to write and then to rename or link; what is left of it afterwards is removed."""
        target = self._path(key)
        with _said_clearly(self, key):
            name = _partial_of(target)
            try:
                yield Path(name)
            finally:
                Path(name).unlink(missing_ok=True)
            flush(target.parent)

    @contextlib.contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        with _said_clearly(self, key):
            make_folder(self.root)
            with open(self.root / ".lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield

    def _must_be(self, key: str, body: bytes, why: str) -> None:
        if not self.exists(key) or self.read(key).body != body:
            raise ConflictError(f"{self.address}/{key} {why}")


def _partial_of(target: Path, tries: int = 3) -> str:
    """A new file in the folder of `target`, which somebody else may remove as empty just then."""
    try:
        make_folder(target.parent)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=PARTIAL, dir=target.parent)
    except FileNotFoundError:
        if tries == 1:
            raise
        return _partial_of(target, tries - 1)
    os.fchmod(handle, 0o644)
    os.close(handle)
    return name


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _etag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@contextlib.contextmanager
def _said_clearly(storage: FileStorage, key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and error.filename == str(storage.root / key):
            raise NotThereError(f"{storage.address}/{key} is not there") from None
        what = f"{error.strerror}: {error.filename}"
        raise StoreError(f"{storage.address}/{key}: {what}. Check store.address and its rights.") from error
