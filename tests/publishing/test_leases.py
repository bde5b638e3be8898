"""A lease holds a run for its reader, whatever the clocks say, and no longer than it may."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.publishing.leases import LONGEST, SKEW, LapsedError, Lease, LeaseRecord, _holds, leased
from nightshift.publishing.manifest import Run
from nightshift.publishing.storage import Listed, Storage, StoreError
from tests.publishing.planted import announce, day

HOUR = dt.timedelta(hours=1)
FOLDER = "home/runs/2011-11-30/night/"


def now() -> dt.datetime:
    """By the store's clock, which stamps what is written."""
    return dt.datetime.now(dt.UTC)


@pytest.fixture
def run(storage: Storage) -> Run:
    return announce(storage, day(30), "night")


def test_a_run_is_held_for_an_hour_and_the_lease_is_swept_then(storage: Storage, run: Run) -> None:
    Lease(storage, "home", "newsletter").hold(run)
    assert leased(storage, "home", now()) == {FOLDER}
    assert leased(storage, "home", now() + HOUR) == {FOLDER}
    assert leased(storage, "home", now() + HOUR + 2 * SKEW) == set()
    assert storage.list("home/leases/") == []


def test_a_readers_clock_does_not_matter(storage: Storage, run: Run) -> None:
    for number, wrong in enumerate((dt.timedelta(days=-400), dt.timedelta(days=400))):
        Lease(storage, "home", f"reader-{number}", now=lambda: now() + wrong).hold(run)  # noqa: B023
    assert leased(storage, "home", now()) == {FOLDER}
    assert leased(storage, "home", now() + HOUR + 2 * SKEW) == set()


@given(
    asked=st.floats(1e-3, 1e9),
    elapsed=st.floats(-900, 1e7),
    off=st.floats(-900, 900),
)
def test_no_lease_ends_early_or_holds_for_ever(asked: float, elapsed: float, off: float) -> None:
    """However far the clocks of the store and of who prunes are apart, up to a quarter of an hour."""
    run = Run(run_date=day(30), run_id="night", manifest=FOLDER + "manifest.json", content_hash="a")
    written = now()
    record = LeaseRecord(reader="reader", run=run, seconds=asked, until=written)
    seen = written + dt.timedelta(seconds=elapsed + off)  # by whoever prunes
    holds = _holds(Listed("home/leases/reader.json", written), record, seen)
    if elapsed <= min(asked, LONGEST.total_seconds()):
        assert holds
    if elapsed > LONGEST.total_seconds() + 2 * SKEW.total_seconds():
        assert not holds


def test_it_is_written_again_when_a_third_of_its_time_is_over(storage: Storage, run: Run) -> None:
    time = [0.0]
    lease = Lease(storage, "home", "newsletter", seconds=60, clock=lambda: time[0])
    with lease.of(run):
        storage.delete(lease.key)
        time[0] = 20
        lease.keep()
        assert not storage.exists(lease.key)
        time[0] = 21
        lease.keep()
        assert storage.exists(lease.key)
    assert not storage.exists(lease.key), "it is released at the end"
    lease.keep()
    assert not storage.exists(lease.key), "and holds nothing then"


def test_a_reader_whose_run_went_while_its_lease_had_run_out_is_told(storage: Storage, run: Run) -> None:
    time = [0.0]
    lease = Lease(storage, "home", "newsletter", clock=lambda: time[0])
    lease.hold(run)
    storage.delete(run.manifest)
    time[0] = 7200
    with pytest.raises(LapsedError, match=r"2011-11-30/night is not in .* any more: open the run that is live now"):
        lease.keep()
    assert storage.list("home/leases/") == []


def test_a_reader_holds_one_run_at_a_time(storage: Storage, run: Run) -> None:
    lease = Lease(storage, "home", "catalogue")
    lease.hold(run)
    lease.hold(announce(storage, day(29), "night"))
    assert leased(storage, "home", now()) == {"home/runs/2011-11-29/night/"}


def test_readers_of_one_name_do_not_end_each_others_leases(storage: Storage, run: Run) -> None:
    before = announce(storage, day(29), "night")
    with Lease(storage, "home", "newsletter").of(before):
        with Lease(storage, "home", "newsletter").of(run):
            assert leased(storage, "home", now()) == {FOLDER, "home/runs/2011-11-29/night/"}
        assert leased(storage, "home", now()) == {"home/runs/2011-11-29/night/"}
    assert leased(storage, "home", now()) == set()


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "x" * 129, "news letter"])
def test_a_name_that_is_no_name_of_a_file_is_refused(storage: Storage, name: str) -> None:
    with pytest.raises(StoreError, match="a reader cannot be called"):
        Lease(storage, "home", name)


def test_leases_are_of_a_surface(storage: Storage, run: Run) -> None:
    Lease(storage, "home", "newsletter").hold(run)
    assert leased(storage, "mail", now()) == set()
