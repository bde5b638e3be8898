"""Batch readers get one user, many users, or all of them, of the run they ask for, from Python or a terminal."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from nightshift.publishing.leases import Lease
from nightshift.publishing.lists import load_lists
from nightshift.publishing.manifest import Manifest
from nightshift.publishing.pointer import make_live
from nightshift.publishing.read import CorruptRunError, find_manifest, manifests_between, read_run
from nightshift.publishing.read.__main__ import main
from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import Storage, StoreError, open_storage
from tests.publishing.planted import (
    ITEMS,
    NOW,
    USERS,
    announce,
    announce_live,
    day,
    publish_lists,
    publish_live,
    write_lists,
    write_more,
)

PAGE = Path(__file__).parents[2] / "docs" / "store.md"
Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def published(storage: Storage) -> Storage:
    """Three days, of which the second is live again; of the first only its manifest is there."""
    announce_live(storage, day(28), "night")
    for number, mark in ((29, "b"), (30, "c")):
        publish_live(storage, day(number), "night", mark)
    roll_back(storage, "home", None, NOW)
    return storage


@pytest.fixture
def ask(published: Storage, address: tuple[str, str | None], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Ask:
    """What a question on the command line is answered."""

    def asked(*question: str) -> list[dict[str, Any]]:
        endpoint = ["--endpoint", address[1]] if address[1] else []
        main([question[0], "--store", address[0], *endpoint, *question[1:]])
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return asked


def test_one_user(published: Storage) -> None:
    with read_run(published, "home") as run:
        assert run.manifest.run_date == day(29)
        entries = run.user("17850", k=2)
        assert [entry["title"] for entry in entries or []] == ["item 21034 of b", "item 22423 of b"]
        assert run.user("nobody") is None
        assert len(run.user("17850") or []) == len(ITEMS)
        assert [entry["item_id"] for entry in run.popular(3)] == list(ITEMS[:3])
        assert run.similar("22423") == [{"item_id": "85123A", "title": "item 85123A of b", "score": 0.5}]
        assert run.similar("nothing") is None


def test_what_a_user_bought(tmp_path: Path) -> None:
    storage = open_storage((tmp_path / "store").as_uri())
    lists = load_lists(write_more(write_lists(tmp_path), [], {"17850": [("22423", day(1), 2), ("21034", day(3), 1)]}))
    make_live(storage, "home", publish_lists(storage, day(30), "night", lists).run, NOW)
    with read_run(storage, "home") as run:
        latest = {"item_id": "21034", "title": "item 21034 of a", "bought_on": "2011-11-03", "times": 1}
        assert run.history("17850", 1) == [latest]
        assert [entry["times"] for entry in run.history("17850") or []] == [1, 2]
        assert run.history("13047") is None


def test_many_users_are_all_answered_once(published: Storage) -> None:
    with read_run(published, "home") as run:
        found = list(run.users([*USERS, "nobody"], k=1))
    assert sorted(name for name, _ in found) == sorted([*USERS, "nobody"])
    assert {name for name, entries in found if entries is None} == {"nobody"}


def test_all_rows_come_in_batches_no_larger_than_asked(published: Storage) -> None:
    with read_run(published, "home") as run:
        batches = list(run.batches(rows=3))
        assert max(batch.num_rows for batch in batches) == 3
        rows = pa.Table.from_batches(batches).to_pylist()
        assert {(row["user_id"], row["item_id"], row["rank"]) for row in rows} == {
            (user, item, rank) for user in USERS for rank, item in enumerate(ITEMS, start=1)
        }
        few = pa.Table.from_batches(list(run.batches(["user_id", "title"], top=2)))
        assert few.column_names == ["user_id", "title"]
        assert few.num_rows == 2 * len(USERS)
        with pytest.raises(StoreError, match="lists have no column price; they have user_id, rank, item_id"):
            next(run.batches(["price"]))


def test_nothing_is_left_of_what_was_downloaded_unless_there_is_a_cache(
    published: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    most = 0
    with read_run(published, "home") as run:
        for _ in run.batches():
            most = max(most, len(list(tmp_path.glob("nightshift-*/*.parquet"))))
    assert most <= 1, "one shard at a time"
    assert not list(tmp_path.glob("nightshift-*"))
    with read_run(published, "home", cache=tmp_path / "cache") as run:
        list(run.batches())
        kept = {file.sha256 for file in run.manifest.files_in("lists")}
    there = {path.stem for path in (tmp_path / "cache").glob("*.parquet")}
    assert there == (set() if published.local("a") else kept)


def test_a_reader_holds_the_run_while_it_reads_and_not_after(published: Storage) -> None:
    with read_run(published, "home", reader="newsletter") as run:
        [held] = published.list("home/leases/")
        lease = json.loads(published.read(held.key).body)
        assert (lease["reader"], lease["run"]["manifest"]) == ("newsletter", run.manifest.run.manifest)
        with read_run(published, "home", lease=False):
            assert len(published.list("home/leases/")) == 1
        for reader in ("newsletter", None):
            with read_run(published, "home", reader=reader), read_run(published, "home", reader=reader):
                assert len(published.list("home/leases/")) == 3
        assert published.list("home/leases/") == [held], "the others have released their own"
    assert published.list("home/leases/") == []


def test_a_reader_keeps_its_lease_between_batches(published: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    monkeypatch.setattr(Lease, "keep", lambda lease: kept.append(lease.reader))
    with read_run(published, "home", reader="newsletter") as run:
        batches = len(list(run.batches(rows=4)))
    assert len(kept) >= batches > 1


def test_a_run_is_found_by_its_date_or_its_id(published: Storage) -> None:
    announce(published, day(28), "other")
    assert find_manifest(published, "home").run_date == day(29)
    assert find_manifest(published, "home", day(28)).run_id == "night", "the other was never live"
    assert find_manifest(published, "home", day(30), "night").run_id == "night"
    assert find_manifest(published, "home", day(28), "night").run_id == "night"
    assert find_manifest(published, "home", run_id="other").run_date == day(28)
    with pytest.raises(StoreError, match=r"no run 2011-11-01 is published for home at .*; there are: .*28/other"):
        find_manifest(published, "home", day(1))
    with pytest.raises(StoreError, match="nothing is published for mail"):
        find_manifest(published, "mail")


def test_of_a_date_it_is_the_run_that_readers_of_the_live_one_had_last(storage: Storage) -> None:
    for run_id in ("first", "second", "bad"):
        announce_live(storage, day(29), run_id)
    roll_back(storage, "home", None, NOW)
    make_live(storage, "home", announce(storage, day(29), "challenger"), NOW, "challenger")
    assert find_manifest(storage, "home", day(29)).run_id == "second"
    announce_live(storage, day(30), "night")
    assert find_manifest(storage, "home", day(29)).run_id == "second"
    storage.delete("home/runs/2011-11-29/second/manifest.json")
    assert find_manifest(storage, "home", day(29)).run_id == "first", "what was pruned is not to be had"


def test_a_date_of_which_no_run_is_live_or_was_is_refused_with_the_runs_there_are(storage: Storage) -> None:
    for run_id in ("night", "bad"):
        announce_live(storage, day(30 if run_id == "bad" else 29), run_id)
    roll_back(storage, "home", None, NOW)
    make_live(storage, "home", announce(storage, day(30), "challenger"), NOW, "challenger")
    with pytest.raises(StoreError, match=r"no run of 2011-11-30 is live for home.* by --run-id: ") as refused:
        find_manifest(storage, "home", day(30))
    assert set(str(refused.value).rsplit("--run-id: ")[1].split(", ")) == {"bad", "challenger"}
    with pytest.raises(StoreError, match=r"no run 2011-11-28 is published .*: .*2011-11-29/night"):
        find_manifest(storage, "home", day(28))


@pytest.mark.parametrize(("first", "last", "found"), [(None, None, [28, 29, 30]), (29, 29, [29]), (29, None, [29, 30])])
def test_runs_are_listed_by_run_date(published: Storage, first: int | None, last: int | None, found: list[int]) -> None:
    between = manifests_between(published, "home", first and day(first), last and day(last))
    assert [manifest.run_date.day for manifest in between] == found


@pytest.mark.parametrize("kind", ["parts/", "lists", "items/", "similar"])
def test_what_is_not_what_the_manifest_says_is_not_read(published: Storage, kind: str) -> None:
    manifest: Manifest = find_manifest(published, "home")
    file = manifest.files_in(kind)[0]
    body = published.read(manifest.folder + file.path).body
    published.write(manifest.folder + file.path, body[:-1] + b"?")
    with read_run(published, "home") as run, pytest.raises(CorruptRunError, match=file.path):
        list(run.verify())
    if kind == "lists":
        with read_run(published, "home") as run, pytest.raises(CorruptRunError, match=file.path):
            list(run.batches())


def test_the_command_tells_of_the_runs(published: Storage, ask: Ask) -> None:
    announce(published, day(29), "beside")
    make_live(published, "home", announce(published, day(30), "challenger"), NOW, "challenger")
    told = {(run["run_date"], run["run_id"]): (run["channel"], run["state"]) for run in ask("runs")}
    assert told == {
        ("2011-11-28", "night"): ("current", "was live"),
        ("2011-11-29", "night"): ("current", "live"),
        ("2011-11-29", "beside"): (None, "published"),
        ("2011-11-30", "night"): ("current", "rolled back"),
        ("2011-11-30", "challenger"): ("challenger", "live"),
    }
    assert [run["users"] for run in ask("runs", "--from", "2011-11-29", "--to", "2011-11-29") if "users" in run] == [4]


def test_the_command_answers_for_users_and_items(ask: Ask, tmp_path: Path) -> None:
    [user] = ask("user", "17850", "--top", "1", "--cache", str(tmp_path / "cache"))
    assert (user["user_id"], user["run_date"], user["run_id"]) == ("17850", "2011-11-29", "night")
    assert [item["title"] for item in user["items"]] == ["item 21034 of b"]
    [of_another_day] = ask("user", "17850", "--run-date", "2011-11-30", "--run-id", "night", "--without-lease")
    assert of_another_day["items"][0]["title"] == "item 21034 of c"
    assert ask("user", "nobody")[0]["items"] is None
    assert ask("similar", "22423")[0]["items"][0]["item_id"] == "85123A"
    assert len(ask("popular", "--top", "3")[0]["items"]) == 3
    (tmp_path / "ids").write_text("17850\r\nnobody\n\n13047")
    assert {line["user_id"]: line["items"] is None for line in ask("users", str(tmp_path / "ids"))} == {
        "17850": False,
        "nobody": True,
        "13047": False,
    }
    assert ask("verify")[0]["all as their hashes say"] is True


def test_the_command_writes_all_rows(ask: Ask, tmp_path: Path) -> None:
    for suffix in (".parquet", ".csv", ".jsonl"):
        [told] = ask("all", str(tmp_path / f"lists{suffix}"), "--top", "2", "--columns", "user_id,rank,item_id")
        assert (told["run"], told["rows"]) == ("2011-11-29/night", 8)
    tables = [pq.read_table(tmp_path / "lists.parquet"), pa.csv.read_csv(tmp_path / "lists.csv")]
    rows = [json.loads(line) for line in (tmp_path / "lists.jsonl").read_text().splitlines()]
    assert tables[0].column_names == tables[1].column_names == list(rows[0])
    assert tables[0].num_rows == tables[1].num_rows == len(rows) == 8
    assert not list(tmp_path.glob(".lists*"))


def test_the_command_fails_in_one_line_and_writes_nothing(
    ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "latin-1").write_bytes("17850\nZoë\n".encode("latin-1"))
    for question, said in (
        (["users", str(tmp_path / "latin-1")], r"latin-1 is not UTF-8: invalid continuation byte: b'\xeb'"),
        (["user", "17850", "--run-date", "2011-01-01"], "no run 2011-01-01 is published for home"),
        (["all", str(tmp_path / "lists.csv"), "--columns", "price"], "lists have no column price"),
        (["users", str(tmp_path / "none")], "No such file"),
        (["popular", "--surface", "mail"], "nothing is published for mail"),
    ):
        with pytest.raises(SystemExit, match="1"):
            ask(*question)
        told = capsys.readouterr()
        assert told.err.startswith("read: ")
        assert said in told.err
        assert (told.out, told.err.count("\n")) == ("", 1)
    for question in (["all", "lists.xlsx"], ["user", "1", "--top", "0"], ["user", "\udcff"], []):
        with pytest.raises(SystemExit, match="2"):
            main(question)
    assert not list(tmp_path.glob("lists*"))


def examples(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_pages_example_runs(
    published: Storage, address: tuple[str, str | None], capsys: pytest.CaptureFixture[str]
) -> None:
    [code] = examples("python")
    where = f'open_storage("{address[0]}", endpoint={address[1]!r})'
    code, replaced = re.subn(r'open_storage\("s3://bucket/published"\)', where, code)
    assert replaced == 1
    exec(code, {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2011-11-29 4"
    assert "17850 ['item 21034 of b', 'item 22423 of b', 'item 85123A of b']" in lines
    assert sum(int(line) for line in lines if line.isdigit()) == 3 * len(USERS)


def test_the_commands_of_the_page_and_of_the_help_run(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ids.txt").write_text("17850\n")
    told = (sys.modules[main.__module__].__doc__ or "").replace("\\\n", " ") + "".join(examples(""))
    found = re.findall(r"python -m nightshift\.publishing\.read ([a-z].*)", told)
    assert len(found) == 14
    for line in found:
        assert ask(*line.split(" > ")[0].split())
