"""The check of a store finds the promises that a server breaks, and leaves nothing behind."""

from __future__ import annotations

import pytest

from nightshift.publishing.check import PROMISES, check, main
from nightshift.publishing.storage import Storage
from tests.publishing import faults
from tests.publishing.faults import FaultyServer
from tests.publishing.faulty_stores import client, server, yesterday
from tests.publishing.faulty_stores import storage as faulty
from tests.publishing.stores import BUCKET, inside

__all__ = ["client", "faulty", "server", "yesterday"]


def test_a_good_store_keeps_all_promises(storage: Storage) -> None:
    assert check(storage) == {promise.__doc__: None for promise in PROMISES}
    assert storage.list("") == []


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


def test_a_right_that_is_missing_is_named(faulty: Storage, server: FaultyServer) -> None:
    server.arm("list uploads", faults.says(403, "AccessDenied"))
    [why] = filter(None, check(faulty).values())
    assert "AccessDenied to ListMultipartUploads" in why


def test_a_store_that_cannot_be_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["--store", "gs://bucket"])
    assert capsys.readouterr().err.startswith("check: store.address 'gs://bucket' is neither")
