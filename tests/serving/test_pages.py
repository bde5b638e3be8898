"""The page at / is the files of a folder, read once; nothing else of the disk can be asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightshift.publishing.storage import open_storage
from nightshift.serving.routes import pages
from tests.serving.asking import Client, make_client


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A service with a page, whose files go away once they are read."""
    folder = tmp_path / "page"
    folder.mkdir()
    for name, text in (("index.html", "<html>"), ("page.css", "b {}"), ("page.js", "1"), ("notes.txt", "secret")):
        (folder / name).write_text(text)
    monkeypatch.setattr(pages, "files", lambda package: tmp_path)
    client = make_client(open_storage((tmp_path / "published").as_uri()), tmp_path / "cache")
    for file in folder.iterdir():
        file.unlink()
    return client


@pytest.mark.parametrize(
    ("address", "kind", "text"),
    [("/", "text/html", "<html>"), ("/page.css", "text/css", "b {}"), ("/page.js", "text/javascript", "1")],
)
def test_each_file_is_answered_with_its_kind_and_may_load_only_its_own(
    client: Client, address: str, kind: str, text: str
) -> None:
    answer = client.get(address)
    assert (answer.status, answer.text) == (200, text)
    assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert client.get(address, headers={"if-none-match": answer.headers["etag"]}).status == 304


@pytest.mark.parametrize("address", ["/notes.txt", "/page/page.js", "/../page.js", "/page.js/", "/index.html"])
def test_nothing_else_is_there(client: Client, address: str) -> None:
    assert client.get(address).status == 404


def test_a_service_without_a_page_has_its_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "files", lambda package: tmp_path)
    client = make_client(open_storage((tmp_path / "published").as_uri()), tmp_path / "cache")
    assert client.get("/").status == 404
    assert client.get("/docs").status == 200
