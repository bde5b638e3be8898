"""The pointer goes forward by publishing and back by rollback, and by nothing else."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import rollback
from nightshift.config import load
from nightshift.publishing.manifest import Run
from nightshift.publishing.pointer import Move, Pointer, back, forward, keeps, make_live, read_pointer
from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import ConflictError, Storage, StoreError, open_storage, store_of
from nightshift.runs import StepError
from nightshift.runs.lock import alone
from tests.publishing.planted import NOW, announce, announce_live, as_an_earlier_release_left_it, day


def live(storage: Storage) -> str:
    found = read_pointer(storage, "home")
    return str(found[0].run) if found else "nothing"


def test_the_first_publish_is_live(storage: Storage) -> None:
    assert read_pointer(storage, "home") is None
    move = announce_live(storage, day(29), "first")
    assert (move.moved, move.previous, live(storage)) == (True, None, "2011-11-29/first")


def test_a_pointer_that_the_disk_does_not_let_move_is_said_to_stay(tmp_path: Path) -> None:
    storage = open_storage(tmp_path.as_uri())
    announce_live(storage, day(29), "first")
    (tmp_path / ".lock").mkdir()
    with pytest.raises(StoreError, match=r"2011-11-30/first is published and not live, and readers see .*-29/first"):
        announce_live(storage, day(30), "first")


def test_a_later_date_and_a_new_run_of_the_same_date_move_the_pointer(storage: Storage) -> None:
    announce_live(storage, day(29), "first")
    assert announce_live(storage, day(30), "first").moved
    move = announce_live(storage, day(30), "second", mark="b")
    assert (move.moved, str(move.previous), live(storage)) == (True, "2011-11-30/first", "2011-11-30/second")


def test_an_older_date_is_published_and_leaves_the_pointer(storage: Storage) -> None:
    announce_live(storage, day(30), "first")
    before = storage.read("home/current.json")
    move = announce_live(storage, day(29), "backfill")
    assert not move.moved
    assert "2011-11-30/first is live and newer" in move.why
    assert storage.read("home/current.json") == before
    assert storage.exists("home/runs/2011-11-29/backfill/manifest.json")


def test_publishing_again_leaves_the_pointer(storage: Storage) -> None:
    announce_live(storage, day(30), "first")
    before = storage.read("home/current.json")
    move = announce_live(storage, day(30), "first")
    assert (move.moved, move.why) == (False, "2011-11-30/first is live already")
    assert storage.read("home/current.json") == before


def test_rollback_goes_to_the_run_that_was_live_before_again_and_again(storage: Storage) -> None:
    for number in (27, 28, 29, 30):
        announce_live(storage, day(number), "night")
    went = [str(roll_back(storage, "home", None, NOW).live) for _ in range(3)]
    assert went == ["2011-11-29/night", "2011-11-28/night", "2011-11-27/night"]
    with pytest.raises(StoreError, match="no run was live before 2011-11-27/night"):
        roll_back(storage, "home", None, NOW)


def test_the_retry_of_a_task_does_not_undo_a_rollback(storage: Storage) -> None:
    announce_live(storage, day(29), "night")
    announce_live(storage, day(30), "night")
    roll_back(storage, "home", None, NOW)
    move = announce_live(storage, day(30), "night")
    assert (move.moved, live(storage)) == (False, "2011-11-29/night")
    assert "2011-11-30/night was rolled back; `python -m jobs.rollback --to 2011-11-30/night`" in move.why


def test_a_new_run_of_the_night_that_was_rolled_back_goes_forward(storage: Storage) -> None:
    announce_live(storage, day(29), "night")
    announce_live(storage, day(30), "night")
    roll_back(storage, "home", None, NOW)
    assert announce_live(storage, day(30), "mended", mark="b").moved
    assert str(roll_back(storage, "home", None, NOW).live) == "2011-11-29/night"


def test_a_rollback_can_name_its_run_and_be_taken_back(storage: Storage) -> None:
    for number in (27, 28, 29):
        announce_live(storage, day(number), "night")
    assert str(roll_back(storage, "home", "2011-11-27", NOW).live) == "2011-11-27/night"
    assert not announce_live(storage, day(28), "night").moved, "it was withdrawn with the run after it"
    assert str(roll_back(storage, "home", "2011-11-29/night", NOW).live) == "2011-11-29/night"
    assert str(roll_back(storage, "home", None, NOW).live) == "2011-11-27/night"


def test_a_rollback_to_what_cannot_be_is_refused_with_what_can(storage: Storage) -> None:
    with pytest.raises(StoreError, match="nothing is published for home"):
        roll_back(storage, "home", None, NOW)
    announce_live(storage, day(29), "night")
    announce_live(storage, day(30), "night")
    with pytest.raises(StoreError, match="2 published runs are called 'night'"):
        roll_back(storage, "home", "night", NOW)
    with pytest.raises(StoreError, match=r"0 published runs are called 'x'.*2011-11-30/night, 2011-11-29/night"):
        roll_back(storage, "home", "x", NOW)
    with pytest.raises(StoreError, match="2011-11-30/night is live already"):
        roll_back(storage, "home", "2011-11-30", NOW)


def test_a_rollback_to_an_empty_name_is_refused_and_moves_nothing(storage: Storage) -> None:
    for number in (29, 30):
        announce_live(storage, day(number), "night")
    with pytest.raises(StoreError, match="--to is empty: name a run id, a run date, or date/id"):
        roll_back(storage, "home", "", NOW)
    assert live(storage) == "2011-11-30/night"


def test_a_rollback_passes_over_runs_that_were_pruned(storage: Storage) -> None:
    for number in (28, 29, 30):
        announce_live(storage, day(number), "night")
    storage.delete("home/runs/2011-11-29/night/manifest.json")
    assert str(roll_back(storage, "home", None, NOW).live) == "2011-11-28/night"


def test_a_rollback_goes_to_no_run_of_an_earlier_release(storage: Storage) -> None:
    moves = [announce_live(storage, day(number), "night") for number in (28, 29, 30)]
    as_an_earlier_release_left_it(storage, moves[1].live)
    with pytest.raises(StoreError, match=r"2011-11-29/night has format .*: publish 2011-11-29 again"):
        roll_back(storage, "home", "2011-11-29", NOW)
    assert str(roll_back(storage, "home", None, NOW).live) == "2011-11-28/night"


def test_a_rollback_never_undoes_a_publish_it_has_not_seen(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    announce_live(storage, day(28), "night")
    announce_live(storage, day(29), "night")

    def meanwhile(*_: object) -> None:
        raise ConflictError("a publish came between")

    monkeypatch.setattr(storage, "replace", meanwhile)
    with pytest.raises(StoreError, match="look at what is live now"):
        roll_back(storage, "home", None, NOW)
    assert live(storage) == "2011-11-29/night"


def test_of_publishers_at_once_the_latest_date_is_live_and_none_is_forgotten(address: tuple[str, str | None]) -> None:
    storage = open_storage(*address)
    runs = [announce(storage, day(number), "night") for number in (25, 26, 27, 28)]
    start = threading.Barrier(len(runs))

    def work(run: Run) -> None:
        own = open_storage(*address)
        start.wait()
        make_live(own, "home", run, NOW)

    threads = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read_pointer(storage, "home")
    assert found is not None
    assert found[0].run == runs[-1]
    assert list(found[0].history) == sorted(found[0].history, key=lambda run: run.run_date, reverse=True)


def test_a_pointer_that_is_none_is_refused_by_its_name(storage: Storage) -> None:
    storage.write("home/current.json", b"{}")
    with pytest.raises(StoreError, match=r"home/current.json is no pointer: Field required"):
        read_pointer(storage, "home")


runs = st.builds(
    lambda number, name: Run(run_date=day(number), run_id=name, manifest=f"{number}/{name}", content_hash=name),
    st.integers(1, 9),
    st.sampled_from("abc"),
)


@given(st.lists(st.tuples(st.sampled_from(["publish", "back", "back to"]), runs), max_size=40))
def test_whatever_is_done_the_pointer_keeps_its_promises(acts: list[tuple[str, Run]]) -> None:
    pointer: Pointer | None = None
    for act, run in acts:
        before = pointer
        if act == "publish" and (pointer is None or not keeps(pointer, run)):
            pointer = forward(pointer, "home", run, NOW)
            assert before is None or before.run_date <= pointer.run_date, "publishing goes forward in date"
            assert before is None or run not in (before.run, *before.history, *before.withdrawn)
        elif act == "back" and pointer and pointer.history:
            pointer = back(pointer, pointer.history[0], NOW)
            assert before is not None
            assert before.run in pointer.withdrawn
        elif act == "back to" and pointer and run != pointer.run:
            pointer = back(pointer, run, NOW)
        if pointer:
            known = [pointer.run, *pointer.history, *pointer.withdrawn]
            assert len(set(map(str, known))) == len(known), "a run is live, or was, or is withdrawn"
            assert Pointer.model_validate_json(pointer.to_json()) == pointer


def test_whoever_must_be_alone_finds_a_rollback_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def looks(storage: Storage, *_: object) -> Move:
        with pytest.raises(StepError, match="the last to begin was rollback"), alone(tmp_path, "erase"):
            pass
        return roll_back(storage, "home", None, NOW)

    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    storage = store_of(load("nightshift.yaml"))
    announce_live(storage, day(29), "first")
    announce_live(storage, day(30), "first")
    monkeypatch.setattr(rollback, "roll_back", looks)
    assert rollback.rollback("nightshift.yaml")["live"] == "2011-11-29/first"
