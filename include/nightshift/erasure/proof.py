"""Look for people in everything that nightshift keeps: every file's bytes, every table's columns, every version's log.

A proof fails on any of them that is found. What cannot be told from something else is counted apart: a user id that is
also an item's, or a bare number among a model's numbers.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lmdb
import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.erasure.columns import has_users, occurrences
from nightshift.erasure.leftovers import OF_NUMBERS, files_of, is_model, place
from nightshift.erasure.people import People
from nightshift.erasure.published import pairs_of, surfaces_of, users_in
from nightshift.erasure.tables import LOG, log_entries, parquet_files, statistics_hold, tables_of
from nightshift.lake import Lake
from nightshift.publishing.read import list_manifests, parse_manifest
from nightshift.publishing.storage import Storage


@dataclass
class Proof:
    """What was found where; `alike` is what may as well be something else. `looked_at` counts files."""

    found: Counter[str] = field(default_factory=Counter)
    alike: Counter[str] = field(default_factory=Counter)
    looked_at: int = 0

    @property
    def clean(self) -> bool:
        return not self.found and self.looked_at > 0

    def add(self, where: str, count: int, alike: bool = False) -> None:
        self.looked_at += 1
        if count:
            (self.alike if alike else self.found)[where] += count


def prove(home: Path, lake: Lake, storage: Storage, people: People, work: Path) -> Proof:
    """Look everywhere. Nothing is changed."""
    proof = Proof()
    items = item_names(lake)
    persons = people.without(items)  # who is like nothing else
    search_lake(lake, people, persons, proof)
    search_published(storage, people, persons, proof, work)
    for file in files_of(home):
        search_file(file, place(home, file), people, persons, proof)
    return proof


def item_names(lake: Lake) -> set[str]:
    """The ids of all items that events were of."""
    if not lake.exists("events"):
        return set()
    return set(lake.arrow("events", ["item_id"])["item_id"].unique().to_pylist())


def search_lake(lake: Lake, people: People, persons: People, proof: Proof) -> None:
    """All files of all tables, live or not, and their logs."""
    for name in tables_of(lake):
        where = f"lake/{name}"
        for file in parquet_files(lake.path(name)):
            if LOG not in file.parts:
                search_table(file, where, people, persons, proof)
        proof.add(f"{where} log", sum(statistics_hold(entry, people) for entry in log_entries(lake.path(name))))
        for file in (lake.path(name) / LOG).rglob("*.json"):
            for line in filter(None, file.read_text(encoding="utf-8").splitlines()):
                action = json.loads(line)
                rest = {key: value for key, value in action.items() if key not in ("add", "remove")}
                paths = [action[key].get("path", "") for key in ("add", "remove") if action.get(key)]
                proof.add(f"{where} log", _in_json([rest, paths], people))
        for file in lake.path(name).glob("*.uncommitted"):
            proof.add(where, people.occur(file.read_bytes()))


def search_table(file: Path, where: str, people: People, persons: People, proof: Proof) -> None:
    """A Parquet file, by its columns: those that name users, and texts."""
    try:
        table = pq.read_table(file, partitioning=None)
    except (pa.ArrowInvalid, OSError):
        content = file.read_bytes()  # cut off; as bytes then
        proof.add(where, people.occur(content))
        return
    proof.add(where, occurrences(table, people if has_users(table.schema) else persons))


def search_published(storage: Storage, people: People, persons: People, proof: Proof, work: Path) -> None:
    """Every run of every surface: records by key and by content, lists by row; and every file beside them."""
    for surface in surfaces_of(storage):
        for item in list_manifests(storage, surface):
            manifest = parse_manifest(storage, item.key)
            proof.add("published", users_in(storage, manifest, people, work))
            for key, value in pairs_of(storage, manifest, work):
                if persons.ids and (found := persons.occur(key[2:]) + _in_lines(value, persons)):
                    proof.add("published", found)
    for item in storage.list(""):
        if item.key.endswith(".json"):
            proof.add("published", _in_json(json.loads(storage.read(item.key).body), persons))


def search_file(file: Path, where: str, people: People, persons: People, proof: Proof) -> None:
    """Any other file: JSON by its strings, a packed one by what is in it, the rest by bytes."""
    if ".parquet" in file.name:
        search_table(file, where, people, persons, proof)
    elif file.suffix == ".lmdb":
        with (
            lmdb.open(str(file), subdir=False, readonly=True, lock=False, create=False) as shard,
            shard.begin() as all_,
        ):
            proof.add(where, sum(persons.occur(bytes(k)) + persons.occur(bytes(v)) for k, v in all_.cursor()))
    else:
        numbers = People(frozenset(name for name in people.ids if name.replace(".", "").isdigit()))
        for name, content in _contents(file):
            if name.endswith(".json") and (value := _parsed(content)) is not None:
                model = is_model(file)
                proof.add(where, _in_json(value, persons if model else people))
                if model:
                    proof.add(where, _in_json(value, people.without(persons.ids)), alike=True)
            elif is_model(file) or Path(name).suffix in OF_NUMBERS:
                proof.add(where, people.without(numbers.ids).occur(content))
                proof.add(where, numbers.occur(content), alike=True)
            else:
                proof.add(where, people.occur(content))


def _contents(file: Path) -> Iterator[tuple[str, bytes]]:
    """The file's name and bytes; of a packed one its parts'."""
    if file.suffix == ".gz":
        yield file.name.removesuffix(".gz"), gzip.decompress(file.read_bytes())
    elif zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as packed:
            yield from ((name, packed.read(name)) for name in packed.namelist())
    else:
        yield file.name, file.read_bytes()


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def _in_lines(value: bytes, people: People) -> int:
    """Of a published record: one JSON value a line. The cheap look first."""
    if not people.occur(value):
        return 0
    return sum(_in_json(json.loads(line), people) for line in value.splitlines())


def _in_json(value: Any, people: People) -> int:
    """How often they stand in the strings of a JSON value; numbers name nobody."""
    if isinstance(value, str):
        return people.occur_in(value)
    if isinstance(value, list):
        return sum(_in_json(part, people) for part in value)
    if isinstance(value, dict):
        return sum(people.occur_in(key) + _in_json(part, people) for key, part in value.items())
    return 0
