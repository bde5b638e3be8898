"""Two publishers at once: one wins, and the other stops and says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nightshift.publishing.storage import StoreError
from nightshift.publishing.storage_s3 import S3Storage
from tests.publishing import faults
from tests.publishing.faults import FaultyServer
from tests.publishing.faulty_stores import client, live, publish_today, server, storage, yesterday
from tests.publishing.planted import day, publish_live
from tests.publishing.stores import BUCKET

__all__ = ["client", "server", "storage", "yesterday"]


def publish_of(number: int, run_id: str, mark: str) -> Callable[[faults.Call], None]:
    """Another publisher moves the pointer at the very moment that we do."""

    def fault(call: faults.Call) -> None:
        prefix = call.target.split("/")[2]
        other = S3Storage(BUCKET, prefix, f"http://{call.upstream}")
        assert publish_live(other, day(number), run_id, mark).moved
        call.answer(*call.forward())

    return fault


def test_of_two_publishers_of_a_date_one_wins_and_the_other_stops_and_says_so(
    server: FaultyServer, storage: S3Storage
) -> None:
    server.arm("move the pointer", publish_of(30, "faster", "c"), 1)
    move = publish_today(storage)
    assert not move.moved
    assert move.why == (
        "another publisher made 2011-11-30/faster live at the same time: 2011-11-30/today is published beside it; "
        "`python -m jobs.rollback --to 2011-11-30/today` makes it live"
    )
    assert live(storage) == "faster"


def test_a_publisher_of_a_later_date_goes_on_from_what_another_has_made_live(
    server: FaultyServer, storage: S3Storage
) -> None:
    server.arm("move the pointer", publish_of(29, "faster", "c"), 1)
    move = publish_today(storage)
    assert (move.moved, str(move.previous)) == (True, "2011-11-29/faster")
    assert live(storage) == "today"


def test_a_pointer_whose_move_nobody_can_ask_about_is_said_to_be_unknown(
    server: FaultyServer, storage: S3Storage
) -> None:
    def moves_and_dies(call: faults.Call) -> None:
        call.forward()
        server.arm("read the pointer", faults.says(503, "SlowDown"))
        call.error(403, "AccessDenied")

    server.arm("move the pointer", moves_and_dies)
    with pytest.raises(
        StoreError, match="the store fell silent while it went live: readers see it or 2011-11-29/yeste"
    ):
        publish_today(storage)
