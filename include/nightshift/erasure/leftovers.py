"""Remove people from every other file of NIGHTSHIFT_HOME: the nights' folders, models, reports, databases, logs.

What a file is decides what is done: rows of a table go, strings of JSON and words of a text become `[erased]`, a page
of a night's report, which shows some users' histories, goes whole. Files of items and numbers are left as they are;
`proof` looks into them all the same.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq

from nightshift.erasure.columns import has_users, scrubbed, without_people
from nightshift.erasure.people import People
from nightshift.landing.suppression import FOLDER

log = logging.getLogger("nightshift.erasure")

APART = ("lake", "published", FOLDER)  # folders of the home that have their own ways
OF_NUMBERS = frozenset({".safetensors", ".faiss", ".npy", ".npz", ".lgb"})  # a model's weights, an index
TEXTS = frozenset({".html", ".log", ".csv", ".jsonl", ".md", ".yaml", ".yml", ".svg", ".out", ".err", ""})
LARGEST_TEXT = 2**30


def files_of(home: Path) -> Iterator[Path]:
    """Every file of the home that is in no folder of its own way."""
    for top in sorted(home.glob("*")):
        if top.is_file():
            yield top
        elif top.name not in APART:
            yield from sorted(file for file in top.rglob("*") if file.is_file() and not file.is_symlink())


def is_model(file: Path) -> bool:
    """Whether a file is part of a model or an index: it is hashed, and holds items and numbers, and no user."""
    parts = set(file.parts)
    return bool(parts & {"model", "models", "index", "baseline"}) and file.suffix in {".json", ".txt", *OF_NUMBERS}


def erase_leftovers(home: Path, people: People) -> Counter[str]:
    """Rewrite or remove what holds these people. Returns how many files, by where they lie: `nights/lists`."""
    found: Counter[str] = Counter()
    for file in files_of(home):
        if is_model(file):
            continue
        if _way(file)(file, people):
            found[place(home, file)] += 1
    return found


def place(home: Path, file: Path) -> str:
    """Where a file lies, in a word or two that name no night."""
    parts = file.relative_to(home).parts
    kept = [part for part in parts[:-1] if not part[:1].isdigit()][:2]
    return "/".join(kept) if kept else "home"


def _way(file: Path) -> Callable[[Path, People], bool]:
    if ".parquet" in file.name:
        return _table
    if file.suffix == ".json":
        return _json
    if file.suffix == ".html" and file.parent.name == "nights":
        return _page
    if file.suffix in {".db", ".sqlite", ".sqlite3"}:
        return _database
    if file.suffix == ".gz":
        return _packed
    return _text


def _table(file: Path, people: People) -> bool:
    schema = pq.read_schema(file)
    if not has_users(schema):
        return False
    before = pq.read_table(file, partitioning=None)
    after = without_people(before, people)
    if after.equals(before):
        return False
    partial = file.with_name(f".{file.name}.partial")
    pq.write_table(after, partial)
    partial.replace(file)
    return True


def _json(file: Path, people: People) -> bool:
    content = file.read_bytes()
    if not people.occur(content):
        return False
    try:
        before = json.loads(content)
    except ValueError:
        return _text(file, people)
    after = scrubbed(before, people)
    if after == before:
        return False  # numbers, not names
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(json.dumps(after, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(file)
    return True


def _page(file: Path, people: People) -> bool:
    if not people.occur(file.read_bytes()):
        return False
    file.unlink()
    log.info("%s is removed; python -m jobs.report --run-date %s makes one without them", file, file.stem)
    return True


def _packed(file: Path, people: People) -> bool:
    content = gzip.decompress(file.read_bytes())
    if not people.occur(content):
        return False
    partial = file.with_name(f".{file.name}.partial")
    partial.write_bytes(gzip.compress(people.scrub(content)))
    partial.replace(file)
    return True


def _text(file: Path, people: People) -> bool:
    """In place, so that a process which goes on writing to the file does so."""
    if file.suffix in OF_NUMBERS or file.stat().st_size > LARGEST_TEXT:
        return False
    content = file.read_bytes()
    if b"\0" in content[:4096] or not people.occur(content):
        return False
    with file.open("r+b") as opened:
        opened.write(people.scrub(content))
        opened.truncate()
    return True


def _database(file: Path, people: People) -> bool:
    """Every text of every table; then the file is packed anew, so that no freed page keeps what it held."""
    content = b"".join(part.read_bytes() for part in (file, file.with_name(file.name + "-wal")) if part.is_file())
    if not people.occur(content):
        return False
    with contextlib.closing(sqlite3.connect(file, timeout=60)) as database:
        database.execute("PRAGMA secure_delete = ON")
        database.create_function("people_occur", 1, lambda value: _occur(value, people), deterministic=True)
        database.create_function("without_people", 1, lambda value: _scrubbed(value, people), deterministic=True)
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for column in [row[1] for row in database.execute(f"PRAGMA table_info({_quoted(table)})")]:
                name = _quoted(column)
                database.execute(
                    f"UPDATE {_quoted(table)} SET {name} = without_people({name}) "
                    f"WHERE typeof({name}) IN ('text', 'blob') AND people_occur({name})"
                )
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("VACUUM")
    return True


def _occur(value: str | bytes, people: People) -> bool:
    return people.occur(value.encode() if isinstance(value, str) else value) > 0


def _scrubbed(value: str | bytes, people: People) -> str | bytes:
    return people.scrub_text(value) if isinstance(value, str) else people.scrub(value)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
