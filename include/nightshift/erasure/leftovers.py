"""Remove people from every other file of NIGHTSHIFT_HOME: the nights' folders, models, reports, databases, logs.

What a file is decides what is done: rows of a table go, strings of JSON and words of a text become `[erased]`; a page
of a night's report, which shows some users' histories, and a copy of a published shard go whole, and so does what a
kill has cut off. Files of items and numbers are left as they are; `proof` looks into them all the same.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pyarrow.parquet as pq

from nightshift.erasure.columns import without_people
from nightshift.erasure.parquet import count_in, is_readable
from nightshift.erasure.people import People
from nightshift.erasure.texts import Count, cleaned, counted, counted_in, scrubbed
from nightshift.experiments.exposure_files import is_exposures, remove
from nightshift.landing.suppression import FOLDER
from nightshift.publishing.records import keys_of
from nightshift.publishing.shards import open_shard
from nightshift.runs import StepError
from nightshift.runs.durable import replacing

log = logging.getLogger("nightshift.erasure")

APART = ("lake", "published", FOLDER)  # folders of the home that have their own ways
OF_NUMBERS = frozenset({".safetensors", ".faiss", ".npy", ".npz", ".lgb"})  # a model's weights, an index
LARGEST_TEXT = 2**30
SQLITE, LMDB = b"SQLite format 3\0", b"\xde\xc0\xef\xbe"  # how such files begin; LMDB's after 16 bytes


def files_of(home: Path) -> Iterator[Path]:
    """Every file of the home that is in no folder of its own way, and that is looked at by itself."""
    for top in sorted(home.glob("*")):
        if top.is_file():
            found = [top]
        elif top.name not in APART:
            found = sorted(file for file in top.rglob("*") if file.is_file() and not file.is_symlink())
        else:
            continue
        yield from (file for file in found if not is_beside_a_database(file))


def is_beside_a_database(file: Path) -> bool:
    """Whether it is SQLite's `-wal` or `-shm`, which come and go with who has the database open, and are read by it."""
    name, _, kind = file.name.rpartition("-")
    database = file.with_name(name or file.name)
    return kind in {"wal", "shm"} and database.is_file() and is_database(database)


def is_model(home: Path, file: Path) -> bool:
    """Whether a file is part of a model or an index: it is hashed, and holds items and numbers, and no user."""
    parts = set(file.relative_to(home).parts)
    of_model = bool(parts & {"model", "models", "index", "baseline"})
    return of_model and file.suffix in {".json", ".txt", ".md", *OF_NUMBERS}


def erase_leftovers(home: Path, people: People) -> Counter[str]:
    """Rewrite or remove what holds these people. Returns how many files, by where they lie: `nights/lists`."""
    found: Counter[str] = Counter()
    for file in files_of(home):
        if is_model(home, file):
            continue
        try:
            if _way(file)(file, people):
                found[place(home, file)] += 1
        except FileNotFoundError:
            if file.exists():
                raise  # or somebody has removed it since it was listed
    return found


def place(home: Path, file: Path) -> str:
    """Where a file lies, in a word or two that name no night."""
    parts = file.relative_to(home).parts
    kept = [part for part in parts[:-1] if not part[:1].isdigit()][:2]
    return "/".join(kept) if kept else "home"


def is_table(file: Path) -> bool:
    return ".parquet" in file.name and file.suffix != ".crc"


def is_database(file: Path) -> bool:
    return _beginning(file)[: len(SQLITE)] == SQLITE


def is_shard(file: Path) -> bool:
    return file.suffix == ".lmdb" or _beginning(file)[16:20] == LMDB


def _beginning(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(20)


def _way(file: Path) -> Callable[[Path, People], bool]:
    if is_table(file):
        return _table
    if is_exposures(file):
        return _exposures
    if is_shard(file):
        return _shard
    if is_database(file):
        return _database
    if file.suffix == ".json":
        return _json
    if file.suffix == ".html" and file.parent.name == "nights":
        return _page
    if file.suffix == ".gz":
        return _packed
    return _text


def _table(file: Path, people: People) -> bool:
    if not is_readable(file):
        return _removed(file, "is cut off")
    if not count_in(file, people).found:
        return False
    with replacing(file) as partial:
        pq.write_table(without_people(pq.read_table(file, partitioning=None), people), partial)
    return True


def _exposures(file: Path, people: People) -> bool:
    """Their rows; what cannot be read as such a file is a text."""
    try:
        return remove(file, people.ids.__contains__) > 0
    except ValueError:
        return _text(file, people)


def _shard(file: Path, people: People) -> bool:
    """A reader that has it open goes on, and gets another when it asks again."""
    try:
        shard = open_shard(file)
        theirs = any(shard.get(key) is not None for key in keys_of(people.ids))
    except lmdb.Error:
        return _removed(file, "is cut off")
    return theirs and _removed(file, "is a copy of what was published")


def _json(file: Path, people: People) -> bool:
    content = file.read_bytes()
    if not people.may_occur(content):
        return False
    try:
        before = json.loads(content)
    except ValueError:
        return _text(file, people)
    after = scrubbed(before, people)
    if after == before:
        return False  # numbers, or what is alike
    with replacing(file) as partial:
        partial.write_text(json.dumps(after, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    return True


def _page(file: Path, people: People) -> bool:
    if not counted(file.read_bytes(), people).found:
        return False
    return _removed(file, f"is removed; python -m jobs.report --run-date {file.stem} makes one without them")


def _removed(file: Path, why: str) -> bool:
    file.unlink()
    log.info("%s %s", file, why)
    return True


def _packed(file: Path, people: People) -> bool:
    try:
        content = gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error):
        return _removed(file, "is cut off")
    if (after := cleaned(content, people)) == content:
        return False
    with replacing(file) as partial:
        partial.write_bytes(gzip.compress(after))
    return True


def _text(file: Path, people: People) -> bool:
    """In place, so that a process which goes on writing to the file does so."""
    if file.suffix in OF_NUMBERS or file.stat().st_size > LARGEST_TEXT:
        return False
    content = file.read_bytes()
    if b"\0" in content[:4096] or (after := cleaned(content, people)) == content:
        return False
    with file.open("r+b") as opened:
        opened.write(after)
        opened.truncate()
    return True


def _database(file: Path, people: People) -> bool:
    """Every text of every table; then the file is packed anew, so that no freed page keeps what it held.

    Raises:
        StepError: somebody keeps it locked, or it is damaged.
    """
    pages = file.read_bytes()
    with contextlib.suppress(FileNotFoundError):
        pages += file.with_name(file.name + "-wal").read_bytes()
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=60)) as database:
            changed = _without_people(database, people)
            if changed or any(name.encode() in pages for name in people.ids):
                database.execute("VACUUM")
                (busy, *_) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if busy:
                    raise sqlite3.OperationalError("somebody is reading it")
    except sqlite3.Error as error:
        raise StepError(f"{file}: {error}: stop what works with it") from None
    return changed


def _without_people(database: sqlite3.Connection, people: People) -> bool:
    database.execute("PRAGMA secure_delete = ON")
    database.create_function("people_occur", 2, lambda value, name: _count(value, name, people).found > 0)
    database.create_function("without_people", 2, lambda value, name: _cleaned(value, name, people))
    for table, name in _columns(database):
        column = _quoted(name)
        database.execute(
            f"UPDATE {table} SET {column} = without_people({column}, ?) "
            f"WHERE typeof({column}) IN ('text', 'blob') AND people_occur({column}, ?)",
            (name, name),
        )
    database.commit()
    return database.total_changes > 0


def count_in_database(file: Path, people: People) -> Count:
    """How often they are in the texts of a database's tables."""
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)) as database:
        count = Count()
        for table, name in _columns(database):
            texts = f"SELECT {_quoted(name)} FROM {table} WHERE typeof({_quoted(name)}) IN ('text', 'blob')"
            count = sum((_count(value, name, people) for (value,) in database.execute(texts)), count)
        return count


def _columns(database: sqlite3.Connection) -> list[tuple[str, str]]:
    """Each column of each table; the table's name is quoted."""
    tables = [_quoted(row[0]) for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [(t, row[1]) for t in tables for row in database.execute(f"PRAGMA table_info({t})")]


def _count(value: str | bytes, column: str, people: People) -> Count:
    return counted_in(value, people, column) if isinstance(value, str) else counted(value, people)


def _cleaned(value: str | bytes, column: str, people: People) -> str | bytes:
    return str(scrubbed(value, people, column)) if isinstance(value, str) else cleaned(value, people)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
