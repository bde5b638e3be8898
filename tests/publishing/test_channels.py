"""A channel is a pointer beside `current`: what moves one leaves the others, and the runs it needs are kept."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from nightshift.config import load
from nightshift.publishing.layout import pointer_key
from nightshift.publishing.pointer import channels_of, make_live, read_pointer
from nightshift.publishing.prune import prune
from nightshift.publishing.read import list_manifests, live_manifest, published_before
from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import Storage, store_of
from nightshift.runs import Night, open_night
from tests.publishing.planted import NOW, announce, announce_live, day, publish, publish_live


def test_a_publish_to_a_channel_leaves_what_is_live(storage: Storage) -> None:
    publish_live(storage, day(30), "night", "a")
    move = make_live(storage, "home", publish(storage, day(30), "night", "b").run, NOW, "challenger")
    assert (move.moved, move.previous) == (True, None)
    assert storage.exists("home/channels/challenger.json")
    current, challenger = live_manifest(storage, "home"), live_manifest(storage, "home", "challenger")
    assert current
    assert challenger
    assert (current.run_id, challenger.run) == ("night", move.live)
    assert live_manifest(storage, "home", "other") is None
    assert channels_of(storage, "home") == ["current", "challenger"]


def test_a_channel_goes_forward_and_back_by_itself(storage: Storage) -> None:
    announce_live(storage, day(30), "night")
    first, second = (announce(storage, day(number), "challenger") for number in (29, 30))
    for run in (first, second):
        assert make_live(storage, "home", run, NOW, "challenger").moved
    assert not make_live(storage, "home", first, NOW, "challenger").moved
    assert roll_back(storage, "home", None, NOW, "challenger").live == first
    found = read_pointer(storage, "home", "challenger")
    assert found
    assert (found[0].channel, found[0].withdrawn) == ("challenger", (second,))
    assert read_pointer(storage, "home")[0].run.run_id == "night"  # type: ignore[index]


def test_pruning_keeps_what_a_channel_reads_and_would_go_back_to(storage: Storage) -> None:
    for number in (1, 2, 3):
        make_live(storage, "home", announce(storage, day(number), "challenger"), NOW, "challenger")
    for number in range(20, 26):
        announce_live(storage, day(number), "night")
    prune(storage, "home", 1, NOW)
    kept = {int(found.key.split("/")[2][-2:]) for found in list_manifests(storage, "home")}
    assert kept == {2, 3, 24, 25}
    storage.delete(pointer_key("home", "challenger"))
    prune(storage, "home", 1, NOW)
    assert not {int(found.key.split("/")[2][-2:]) for found in list_manifests(storage, "home")} & {2, 3}


def test_lists_are_compared_with_those_of_current_and_never_with_a_channels(tmp_path: Path) -> None:
    night = open_night(load("nightshift.yaml"), day(30), home=tmp_path)
    storage = store_of(night.settings, night.home)
    publish_live(storage, day(28), "night", "a")
    make_live(storage, "home", publish(storage, day(29), "challenger", "b").run, NOW, "challenger")
    assert marks_before(night) == {"a"}
    publish(storage, day(29), "backfill", "c")  # a backfill is named by no pointer, and counts
    assert marks_before(night) == {"c"}


def marks_before(night: Night) -> set[str]:
    """What the titles of the lists before end with."""
    files = published_before(night, night.home / "cache")
    assert files
    return set(pd.concat(map(pd.read_parquet, files))["title"].str[-1])
