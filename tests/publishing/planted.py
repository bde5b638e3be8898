"""Planted lists: every title ends in a mark, so that a test sees which run an answer comes from."""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nightshift.publishing.lists import HISTORIES, SEGMENTS, Lists, load_lists
from nightshift.publishing.manifest import FORMAT, Manifest, Model, Run
from nightshift.publishing.pointer import Move, make_live
from nightshift.publishing.publish import Origin, publish_run
from nightshift.publishing.read import read_manifest
from nightshift.publishing.storage import Storage

NOW = dt.datetime(2011, 12, 1, 2, 0, tzinfo=dt.UTC)
USERS = ("13047", "17850", "Zoë/Ünï\n?", "x" * 900)
ITEMS = ("21034", "22423", "85123A", "ü/é")
ORIGIN = Origin(
    Model(name="nightshift-recommender", version="7", kind="two_stage"),
    {"events": 12, "user_features": 3},
    "0.1.0+abc",
    "0123456789abcdef",
)


def day(number: int) -> dt.date:
    """The `number`th of November 2011."""
    return dt.date(2011, 11, number)


def write_lists(folder: Path, mark: str = "a", users: tuple[str, ...] = USERS) -> Path:
    """A night's `lists` folder: every user has the items in order, rank 1 first. No segments, and no histories."""
    folder.mkdir(parents=True, exist_ok=True)
    rank = range(1, len(ITEMS) + 1)
    score = [1 / n for n in rank]
    entry = {
        "item_id": ITEMS,
        "score": score,
        "source": ["repeat"] * len(ITEMS),
        "reason": ["You bought this"] * len(ITEMS),
    }
    every = [(user, place) for user in users for place in range(len(ITEMS))]
    frames = {
        "items": {
            "item_id": ITEMS,
            "title": [f"item {item} of {mark}" for item in ITEMS],
            "sellable": [True] * len(ITEMS),
        },
        "popular": {"rank": rank, **entry},
        "lists": {
            "user_id": [user for user, _ in every],
            "rank": [place + 1 for _, place in every],
            **{name: [column[place] for _, place in every] for name, column in entry.items()},
        },
        "similar": dict(
            zip(
                ("item_id", "rank", "similar_id", "score"),
                zip(*((a, 1, b, 0.5) for a, b in itertools.pairwise(ITEMS)), strict=True),
                strict=True,
            )
        ),
    }
    for name, columns in frames.items():
        pq.write_table(
            pa.table({column: list(values) for column, values in columns.items()}), folder / f"{name}.parquet"
        )
    for name, schema in (("segments", SEGMENTS), ("histories", HISTORIES)):
        pq.write_table(schema.empty_table().drop_columns("title"), folder / f"{name}.parquet")
    return folder


def write_more(folder: Path, segments: Sequence[str], bought: Mapping[str, Sequence[tuple[str, dt.date, int]]]) -> Path:
    """Into a night's `lists` folder: a list for each segment (`country:France`), its items in the reverse order; what
    users bought; and the items' kinds.
    """
    entry = {"source": "trending", "reason": "Popular this month"}
    rows = [
        dict(zip(("attribute", "value"), segment.split(":", 1), strict=True))
        | {"rank": rank, "item_id": item, "score": 1 / rank, **entry}
        for segment in segments
        for rank, item in enumerate(reversed(ITEMS), 1)
    ]
    untitled = pa.schema([field for field in SEGMENTS if field.name != "title"])
    pq.write_table(pa.Table.from_pylist(rows, untitled), folder / "segments.parquet")
    untitled = pa.schema([field for field in HISTORIES if field.name != "title"])
    rows = [dict(zip(untitled.names, (user, *one), strict=True)) for user, of in sorted(bought.items()) for one in of]
    pq.write_table(pa.Table.from_pylist(rows, untitled), folder / "histories.parquet")
    items = pq.read_table(folder / "items.parquet", partitioning=None)
    kinds = pa.array([f"kind {number}" for number in range(len(ITEMS) - 1)] + [None])
    pq.write_table(items.append_column("kind", kinds), folder / "items.parquet")
    return folder


@functools.cache
def planted_lists(mark: str = "a", users: tuple[str, ...] = USERS) -> Lists:
    return load_lists(write_lists(Path(tempfile.mkdtemp(prefix="planted-lists-")), mark, users))


def publish_lists(storage: Storage, date: dt.date, run_id: str, lists: Lists, shards: int = 2) -> Manifest:
    """Publish these lists for `home`, live or not."""
    with tempfile.TemporaryDirectory() as work:
        return publish_run(
            storage, "home", date, run_id, lists, ORIGIN, shards=shards, item_shards=1, now=NOW, work=Path(work)
        )


def publish(
    storage: Storage, date: dt.date, run_id: str, mark: str = "a", surface: str = "home", shards: int = 2
) -> Manifest:
    """Publish planted lists, live or not."""
    with tempfile.TemporaryDirectory() as work:
        return publish_run(
            storage,
            surface,
            date,
            run_id,
            planted_lists(mark),
            ORIGIN,
            shards=shards,
            item_shards=1,
            now=NOW,
            work=Path(work),
        )


def publish_live(storage: Storage, date: dt.date, run_id: str, mark: str = "a", surface: str = "home") -> Move:
    """Publish planted lists and move the pointer, as a night does."""
    return make_live(storage, surface, publish(storage, date, run_id, mark, surface).run, NOW)


def announce(storage: Storage, date: dt.date, run_id: str, mark: str = "a") -> Run:
    """Publish a manifest alone, for tests that look no further."""
    manifest = Manifest(
        surface="home",
        run_date=date,
        run_id=run_id,
        created_at=NOW,
        content_hash=mark,
        counts={},
        files={},
        **vars(ORIGIN),
    )
    storage.create(manifest.run.manifest, manifest.to_json())
    return manifest.run


def as_an_earlier_release_left_it(storage: Storage, run: Run) -> None:
    """Give a published run the format before this one."""
    older = read_manifest(storage, run).model_copy(update={"format": FORMAT - 1})
    storage.delete(run.manifest)
    storage.create(run.manifest, older.to_json())


def announce_live(storage: Storage, date: dt.date, run_id: str, mark: str = "a") -> Move:
    """Publish a manifest alone, and move the pointer."""
    return make_live(storage, "home", announce(storage, date, run_id, mark), NOW)
