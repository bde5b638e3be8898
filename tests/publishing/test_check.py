"""The check of a store finds the promises that a server breaks, and leaves nothing behind."""

from __future__ import annotations

import pytest

from nightshift.publishing.check import PROMISES, check, main
from nightshift.publishing.storage import Storage
from nightshift.publishing.storage_s3 import S3Storage
from tests.publishing import faults
from tests.publishing.faults import FaultyServer
from tests.publishing.faulty_stores import client, server, yesterday
from tests.publishing.faulty_stores import storage as faulty
from tests.publishing.stores import BUCKET, inside

__all__ = ["client", "faulty", "server", "yesterday"]


def test_a_good_store_keeps_all_promises(storage: Storage) -> None:
    assert check(storage) == {promise.__doc__: None for promise in PROMISES}
    assert storage.list("") == []
    assert storage.unfinished("") == []


def unconditionally(call: faults.Call) -> None:
    """As a server does that knows no conditions."""
    for header in ("If-None-Match", "If-Match"):
        del call.handler.headers[header]
    call.answer(*call.forward())


def test_a_server_without_conditional_writes_is_found_out(
    faulty: Storage, server: FaultyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.arm("other", unconditionally)
    with pytest.raises(SystemExit, match="1"):
        main(["--store", f"s3://{BUCKET}/found-out", "--endpoint", server.endpoint])
    lines = capsys.readouterr().out.splitlines()
    assert [line[:6] for line in lines] == ["kept  ", "BROKEN", "BROKEN", "kept  ", "kept  ", "kept  "]
    assert lines[1] == "BROKEN  a key is created once (If-None-Match: *): a second body took its place"
    assert inside("found-out/") == {}


def lists_no_uploads(call: faults.Call) -> None:
    call.answer(200, [], b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>")


def says_it_is_done(call: faults.Call) -> None:
    call.answer(204, [], b"")


@pytest.mark.parametrize(
    ("operation", "fault", "why"),
    [
        ("list uploads", lists_no_uploads, "one was begun, and 0 were found"),
        ("abort an upload", says_it_is_done, "one that was aborted is found again"),
    ],
)
def test_a_server_that_keeps_what_was_cut_off_is_found_out(
    faulty: S3Storage, server: FaultyServer, operation: str, fault: faults.Fault, why: str
) -> None:
    server.arm(operation, fault)
    assert list(filter(None, check(faulty).values())) == [why]
    server.arm("", None)
    assert len(faulty.unfinished("")) == (operation == "abort an upload")


def test_a_right_that_is_missing_is_named(faulty: Storage, server: FaultyServer) -> None:
    server.arm("list uploads", faults.says(403, "AccessDenied"))
    [why] = filter(None, check(faulty).values())
    assert "AccessDenied to ListMultipartUploads" in why


def test_a_store_that_is_away_is_waited_for_once(faulty: Storage, server: FaultyServer) -> None:
    server.arm("other", faults.says(403, "AccessDenied"))
    first, *others = check(faulty).values()
    assert "AccessDenied" in str(first)
    assert others == ["not tried, as nothing can be written or read"] * 5


def test_a_store_that_cannot_be_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["--store", "gs://bucket"])
    assert capsys.readouterr().err.startswith("check: store.address 'gs://bucket' is neither")
