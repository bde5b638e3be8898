"""Look for people in everything that nightshift keeps: every file, every table's columns, every version's log.

A proof fails on any of them that is found, and on what cannot be read or should not be there. What cannot be told from
something else is counted apart: see `people`.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import lmdb
import pyarrow as pa

from nightshift.erasure.leftovers import (
    OF_NUMBERS,
    count_in_database,
    files_of,
    is_database,
    is_model,
    is_shard,
    is_table,
    place,
)
from nightshift.erasure.parquet import count_in, parquet_files
from nightshift.erasure.people import People
from nightshift.erasure.published import pairs_of, surfaces_of, unnamed, users_in
from nightshift.erasure.tables import LOG, folders_of, log_entries, statistics_hold, tables_of
from nightshift.erasure.texts import Count, counted, counted_in
from nightshift.lake import Lake
from nightshift.publishing.read import CorruptRunError, list_manifests, parse_manifest
from nightshift.publishing.records import keys_of
from nightshift.publishing.shards import Pair, open_shard
from nightshift.publishing.storage import Storage

SCRATCH = "scratch-"  # how folders begin, in that of the erasures, for what is looked into


@dataclass
class Proof:
    """What was found where; `alike` is what may as well be something else. `looked_at` counts files."""

    found: Counter[str] = field(default_factory=Counter)
    alike: Counter[str] = field(default_factory=Counter)
    looked_at: int = 0

    @property
    def clean(self) -> bool:
        return not self.found and self.looked_at > 0

    def add(self, where: str, count: Count | int) -> None:
        count = Count(count) if isinstance(count, int) else count
        self.looked_at += 1
        if count.found:
            self.found[where] += count.found
        if count.alike:
            self.alike[where] += count.alike


def prove(home: Path, lake: Lake, storage: Storage, people: People, work: Path) -> Proof:
    """Look everywhere. Nothing is changed.

    Args:
        people: who know which of their ids are items' too: see `People.beside`.
    """
    proof = Proof()
    search_lake(lake, people, proof)
    search_published(storage, people, proof, work)
    for file in files_of(home):
        search_file(home, file, people, proof)
    return proof


def ids_of_items(lake: Lake, people: People) -> set[str]:
    """Those of their ids that events have as an item's."""
    if not lake.exists("events"):
        return set()
    found = lake.arrow("events", ["item_id"], [("item_id", "in", sorted(people.ids))])
    return set(found["item_id"].unique().to_pylist())


def search_lake(lake: Lake, people: People, proof: Proof) -> None:
    """All files of all tables, live or not, those of stages included, and their logs."""
    for folder in folders_of(lake):
        for file in parquet_files(folder):
            if LOG not in file.parts:
                search_table(file, f"lake/{folder.name}", people, proof)
        for file in folder.glob("*.uncommitted"):
            proof.add(f"lake/{folder.name}", counted(file.read_bytes(), people))
    for name in tables_of(lake):
        where = f"lake/{name} log"
        proof.add(where, sum(statistics_hold(entry, people) for entry in log_entries(lake.path(name))))
        for file in (lake.path(name) / LOG).rglob("*.json"):
            for line in filter(None, file.read_text(encoding="utf-8").splitlines()):
                action = json.loads(line)
                rest = {key: value for key, value in action.items() if key not in ("add", "remove")}
                paths = [action[key].get("path", "") for key in ("add", "remove") if action.get(key)]
                proof.add(where, Count(alike=sum(counted_in([rest, paths], people))))  # nightshift writes nobody there


def search_table(file: Path, where: str, people: People, proof: Proof) -> None:
    """A Parquet file, by its columns: those that name users, and texts."""
    try:
        proof.add(where, count_in(file, people))
    except (pa.ArrowInvalid, OSError):
        if file.exists():
            proof.add(f"{where}, unreadable", 1)


def search_published(storage: Storage, people: People, proof: Proof, work: Path) -> None:
    """Every run of every surface: records by key and by content, lists by row; and every file beside them."""
    for surface in surfaces_of(storage):
        for item in list_manifests(storage, surface):
            try:
                manifest = parse_manifest(storage, item.key)
                proof.add("published", users_in(storage, manifest, people, work))
                for pair in pairs_of(storage, manifest, work):
                    if (count := _in_record(pair, people)) != Count():
                        proof.add("published", count)
            except CorruptRunError:
                proof.add("published, unreadable", 1)
    proof.add("published without a manifest", len(unnamed(storage)))
    for item in storage.list(""):
        if item.key.endswith(".json"):
            proof.add("published", counted(storage.read(item.key).body, people))


def search_file(home: Path, file: Path, people: People, proof: Proof) -> None:
    """Any other file: JSON by its strings, a packed one by what is in it, the rest by words. One that is gone by now
    holds nobody."""
    where = place(home, file)
    if is_table(file):
        search_table(file, where, people, proof)
        return
    try:
        if is_shard(file):
            keys = keys_of(people.ids)
            pairs = open_shard(file).pairs()
            proof.add(where, sum((Count(pair[0] in keys) + _in_record(pair, people) for pair in pairs), Count()))
        elif is_database(file):
            proof.add(where, count_in_database(file, people))
        else:
            for name, content in _contents(file):
                count = counted(content, people)
                if is_model(home, file) or Path(name).suffix in OF_NUMBERS:
                    count = _of_model(content, people)
                proof.add(where, count)
    except (FileNotFoundError, sqlite3.Error, lmdb.Error, EOFError, zlib.error, gzip.BadGzipFile):
        if file.exists():
            proof.add(f"{where}, unreadable", 1)


def _in_record(pair: Pair, people: People) -> Count:
    """Of a published record that is nobody's list. An item's own name is no person's."""
    key, value = pair
    return Count(alike=people.alike(key[2:])) + counted(value, people)


def _of_model(content: bytes, people: People) -> Count:
    """Of a model's file, which knows items and numbers: an id without a letter may be either."""
    names = people.ids - people.figures
    found = counted(content, People(names, people.items)).found if names else 0
    return Count(found, sum(counted(content, people)) - found)


def _contents(file: Path) -> Iterator[tuple[str, bytes]]:
    """The file's name and bytes; of a packed one its parts'."""
    if file.suffix == ".gz":
        yield file.name.removesuffix(".gz"), gzip.decompress(file.read_bytes())
    elif zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as packed:
            yield from ((name, packed.read(name)) for name in packed.namelist())
    else:
        yield file.name, file.read_bytes()
