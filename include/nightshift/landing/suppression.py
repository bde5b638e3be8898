"""Who must not come back: a list of keyed hashes, so that landing knows an erased person and no reader of it does.

The source's files are the company's own; while they still hold the person, a backfill reads them again. Both files lie
in NIGHTSHIFT_HOME under erasure/: keep the salt secret, and keep both as long as such files may be read.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nightshift.runs.durable import flush, make_folder, replacing

if TYPE_CHECKING:
    from pyspark.sql import Column

FOLDER = "erasure"
ERASED = "erased"  # of a row in quarantine whose person was erased; it keeps nothing else of the row


@dataclass(frozen=True)
class Suppression:
    """The hashes of the erased, and the salt that they were made with."""

    salt: str
    hashes: frozenset[str]

    def hash_of(self, user_id: str) -> str:
        """As Spark's `sha2(concat(salt, user_id), 256)` gives it."""
        return hashlib.sha256((self.salt + user_id).encode()).hexdigest()

    def name_for(self, ids: Iterable[str]) -> str:
        """Eight digits that are the same for the same people, and tell nobody who they are."""
        together = " ".join(sorted(map(self.hash_of, ids)))
        return hashlib.sha256((self.salt + together).encode()).hexdigest()[:8]

    def holds(self, user_id: Column) -> Column:
        """Whether the user of a row is one of the erased; NULL has not been."""
        from pyspark.sql import functions as F

        if not self.hashes:
            return F.lit(False)
        return F.coalesce(F.sha2(F.concat(F.lit(self.salt), user_id), 256).isin(*sorted(self.hashes)), F.lit(False))


def load_suppression(home: Path) -> Suppression:
    """The list of this home; an empty one where nobody was ever erased.

    Raises:
        FileNotFoundError: the list is there and its salt is not: nobody could be known again.
    """
    listed, salt = home / FOLDER / "suppressed.txt", home / FOLDER / "salt"
    if not listed.is_file():
        return Suppression(salt.read_text().strip() if salt.is_file() else "", frozenset())
    if not salt.is_file():
        raise FileNotFoundError(f"{listed} cannot be read without {salt}: restore the salt, or erased people come back")
    return Suppression(salt.read_text().strip(), frozenset(listed.read_text().split()))


def suppress(home: Path, ids: Iterable[str]) -> Suppression:
    """Put people on the list. Who is on it already stays once."""
    folder = home / FOLDER
    make_folder(folder, mode=0o700)
    before = load_suppression(home)
    if not before.salt:
        _write(folder / "salt", secrets.token_hex(32) + "\n")
        before = load_suppression(home)
    after = Suppression(before.salt, before.hashes | {before.hash_of(name) for name in ids})
    _write(folder / "suppressed.txt", "".join(f"{line}\n" for line in sorted(after.hashes)))
    return after


def _write(file: Path, text: str) -> None:
    """Whole or not at all, and for this user's eyes only."""
    with replacing(file) as partial:
        partial.touch(0o600, exist_ok=False)
        partial.write_text(text)
        flush(partial)
    flush(file.parent)
