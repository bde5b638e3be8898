"""The store on a disk: a write is a rename, a creation is a hard link, a compare-and-set holds a lock."""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightshift.publishing.storage import ConflictError, Listed, NotThereError, Stored, StoreError


class FileStorage:
    """Files under `root`. Names that begin with a dot are the store's own: half-written files and the lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = root.as_uri()

    def read(self, key: str) -> Stored:
        with _said_clearly(self, key):
            body = self._path(key).read_bytes()
        return Stored(body, _etag(body))

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def list(self, prefix: str) -> list[Listed]:
        found = []
        for folder, subfolders, names in os.walk(self._path(prefix) if prefix else self.root):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            for path in (Path(folder, name) for name in names if not name.startswith(".")):
                with _gone_meanwhile():
                    modified = dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
                    found.append(Listed(path.relative_to(self.root).as_posix(), modified))
        return sorted(found, key=lambda listed: listed.key)

    def write(self, key: str, body: bytes) -> None:
        with self._whole(key) as partial:
            partial.write_bytes(body)
            _flush(partial)
            partial.replace(self._path(key))

    def create(self, key: str, body: bytes) -> None:
        with self._whole(key) as partial:
            partial.write_bytes(body)
            _flush(partial)
            try:
                os.link(partial, self._path(key))
            except FileExistsError:
                self._must_be(key, body, "is there already")

    def replace(self, key: str, body: bytes, etag: str) -> None:
        with self._locked():
            if not self.exists(key) or self.read(key).etag != etag:
                self._must_be(key, body, "has changed meanwhile")
            else:
                self.write(key, body)

    def upload(self, source: Path, key: str) -> None:
        with self._whole(key) as partial:
            shutil.copyfile(source, partial)
            _flush(partial)
            partial.replace(self._path(key))

    def download(self, key: str, target: Path) -> None:
        with _said_clearly(self, key):
            shutil.copyfile(self._path(key), target)

    def local(self, key: str) -> Path:
        return self._path(key)

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def delete_all(self, prefix: str) -> None:
        shutil.rmtree(self._path(prefix), ignore_errors=True)

    def _path(self, key: str) -> Path:
        parts = key.rstrip("/").split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise StoreError(f"{key!r} is no key of a file store")
        return self.root.joinpath(*parts)

    @contextmanager
    def _whole(self, key: str) -> Iterator[Path]:
        """A file beside `key` to write and then to rename or link; what is left of it afterwards is removed."""
        target = self._path(key)
        with _said_clearly(self, key):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
            os.close(handle)
            os.chmod(name, 0o644)
            try:
                yield Path(name)
            finally:
                Path(name).unlink(missing_ok=True)
            _flush(target.parent)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _must_be(self, key: str, body: bytes, why: str) -> None:
        if not self.exists(key) or self.read(key).body != body:
            raise ConflictError(f"{self.address}/{key} {why}")


def _flush(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on the disk before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _etag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@contextmanager
def _gone_meanwhile() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        return


@contextmanager
def _said_clearly(storage: FileStorage, key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and error.filename == str(storage.root / key):
            raise NotThereError(f"{storage.address}/{key} is not there") from None
        what = f"{error.strerror}: {error.filename}"
        raise StoreError(f"{storage.address}/{key}: {what}. Check store.address and its rights.") from error
