"""Read published lists straight from the store: no service, no Spark, no Airflow.

  which runs are there          python -m nightshift.publishing.read runs --from 2011-11-01 --to 2011-11-30
  one user's list               python -m nightshift.publishing.read user 17850 --top 5
  what one user bought          python -m nightshift.publishing.read history 17850
  the list for unknown users    python -m nightshift.publishing.read popular
  items like an item            python -m nightshift.publishing.read similar 22423
  many users, an id a line      python -m nightshift.publishing.read users ids.txt > lists.jsonl
  everybody, for an e-mail      python -m nightshift.publishing.read all lists.parquet --top 5 \\
                                    --columns user_id,rank,item_id,title
  is everything as it was put?  python -m nightshift.publishing.read verify

It reads the run that is live now; of --run-date the one that is live or was so last, of those not rolled back; or the
one of --run-id, of that date if both are given. `runs` says which is what, and to which channel. The store is the
configuration's; with --store no configuration is needed. Who may read it is what AWS's own environment and files say.

Lists are JSON, an object a line: {"user_id": "17850", "run_date": "2011-11-30", "items": [...]}; a user that the run
does not know has "items": null. `users` gives them by shard, not in the order of the file. `all` writes Parquet, CSV or
JSON lines, by the file's suffix.

All that is read is held against the hashes in the run's manifest first. One shard at a time is downloaded, to a
temporary folder unless --cache names one to keep for the next time. Meanwhile a lease keeps the run from being pruned;
where you may not write to the store, read --without-lease.

What goes wrong is one line on standard error, and exit 1, or 2 if the question was wrong; a file is written whole, or
not at all.
"""

from __future__ import annotations

import argparse
import datetime as dt
import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from nightshift.config import ConfigError, load
from nightshift.config.settings import Store
from nightshift.publishing.pointer import UNNAMED, standings
from nightshift.publishing.read.batch import BatchRun, read_run
from nightshift.publishing.read.export import WRITERS, write
from nightshift.publishing.read.manifests import manifests_between
from nightshift.publishing.records import Entry
from nightshift.publishing.storage import Storage, StoreError, open_storage, store_of


def main(argv: Sequence[str] | None = None) -> None:
    """Answer one question about what is published; see this module's docstring, which is the help."""
    args = arguments().parse_args(argv)
    try:
        storage, surface = _store(args)
        if args.what == "runs":
            _print(_runs(storage, surface, getattr(args, "from"), args.to))
            return
        with read_run(
            storage,
            surface,
            run_date=args.run_date,
            run_id=args.run_id,
            reader=args.reader,
            lease=not args.without_lease,
            cache=args.cache,
        ) as run:
            ANSWERS[args.what](run, args)
    except (ConfigError, StoreError, OSError) as error:
        print(f"read: {error}", file=sys.stderr)
        sys.exit(1)


def _store(args: argparse.Namespace) -> tuple[Storage, str]:
    if args.store:
        return open_storage(args.store, args.endpoint), args.surface or Store().surface
    settings = load(args.config)
    return store_of(settings), args.surface or settings.store.surface


def arguments() -> argparse.ArgumentParser:
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--store", metavar="ADDRESS", help="file:///folder or s3://bucket/prefix (store.address)")
    where.add_argument("--endpoint", metavar="URL", help="of an S3-compatible server; with --store")
    where.add_argument("--surface", help="whose lists (store.surface, else home)")
    where.add_argument("--config", metavar="FILE", help="the configuration (NIGHTSHIFT_CONFIG, else nightshift.yaml)")
    which = argparse.ArgumentParser(add_help=False, parents=[where])
    which.add_argument("--run-date", type=dt.date.fromisoformat, metavar="DAY", help="this day's that is live or was")
    which.add_argument("--run-id", metavar="ID", help="not the live run: the one that is called so")
    which.add_argument("--cache", type=Path, metavar="FOLDER", help="keep what is downloaded here for the next time")
    which.add_argument("--reader", metavar="NAME", help="who holds the lease (machine and process)")
    which.add_argument("--without-lease", action="store_true", help="write nothing to the store")
    top = argparse.ArgumentParser(add_help=False)
    top.add_argument("--top", type=_positive, metavar="K", help="of each list the first K entries")

    whole = argparse.ArgumentParser(
        prog="python -m nightshift.publishing.read",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = functools.partial(whole.add_subparsers(dest="what", required=True, metavar="WHAT").add_parser)
    runs = add("runs", parents=[where], help="the published runs, a line each")
    runs.add_argument("--from", type=dt.date.fromisoformat, metavar="DAY", help="the first run date")
    runs.add_argument("--to", type=dt.date.fromisoformat, metavar="DAY", help="the last run date")
    add("user", parents=[which, top], help="one user's list").add_argument("id", type=_id)
    add("history", parents=[which, top], help="what one user bought, the latest first").add_argument("id", type=_id)
    add("similar", parents=[which, top], help="the items like one item").add_argument("id", type=_id)
    add("popular", parents=[which, top], help="the list for users the run does not know")
    users = add("users", parents=[which, top], help="the lists of many users")
    users.add_argument("ids", type=Path, help="a file with an id a line; /dev/stdin for what is piped in")
    everybody = add("all", parents=[which, top], help="all users' rows, as a file")
    everybody.add_argument("file", type=_file, help="to write: .parquet, .csv or .jsonl")
    everybody.add_argument("--columns", type=lambda text: text.split(","), metavar="A,B", help="these columns only")
    add("verify", parents=[which], help="hold every file of the run against its hash")
    return whole


def _runs(storage: Storage, surface: str, first: dt.date | None, last: dt.date | None) -> Iterator[dict[str, Any]]:
    named = standings(storage, surface)
    for manifest in manifests_between(storage, surface, first, last):
        standing = named.get(manifest.run.manifest, UNNAMED)
        told = {
            "run_date": manifest.run_date,
            "run_id": manifest.run_id,
            "channel": standing.channel,
            "state": standing.state,
            **manifest.counts,
        }
        yield {**told, "bytes": sum(f.bytes for f in manifest.files.values()), "created_at": manifest.created_at}


def _user(run: BatchRun, args: argparse.Namespace) -> None:
    _print([_line(run, "user_id", args.id, run.user(args.id, args.top))])


def _history(run: BatchRun, args: argparse.Namespace) -> None:
    _print([_line(run, "user_id", args.id, run.history(args.id, args.top))])


def _users(run: BatchRun, args: argparse.Namespace) -> None:
    with open(args.ids, encoding="utf-8", newline="\n") as lines:
        try:
            asked = [name for line in lines if (name := line.rstrip("\r\n"))]
        except UnicodeDecodeError as error:
            wrong = error.object[error.start : error.end]
            raise StoreError(f"{args.ids} is not UTF-8: {error.reason}: {wrong!r}") from None
        _print(_line(run, "user_id", name, items) for name, items in run.users(asked, args.top))


def _similar(run: BatchRun, args: argparse.Namespace) -> None:
    _print([_line(run, "item_id", args.id, run.similar(args.id, args.top))])


def _popular(run: BatchRun, args: argparse.Namespace) -> None:
    _print([_line(run, "user_id", None, run.popular(args.top))])


def _all(run: BatchRun, args: argparse.Namespace) -> None:
    rows = write(args.file, run.batches(args.columns, top=args.top))
    _print([{"file": str(args.file), "run": str(run.manifest.run), "rows": rows}])


def _verify(run: BatchRun, _: argparse.Namespace) -> None:
    files = list(run.verify())
    told = {"run": str(run.manifest.run), "files": len(files), "bytes": sum(file.bytes for file in files)}
    _print([{**told, "all as their hashes say": True}])


def _line(run: BatchRun, key: str, name: str | None, items: list[Entry] | None) -> dict[str, Any]:
    return {key: name, "run_date": run.manifest.run_date, "run_id": run.manifest.run_id, "items": items}


def _print(lines: Iterable[dict[str, Any]]) -> None:
    for line in lines:
        sys.stdout.write(orjson.dumps(line).decode() + "\n")
    sys.stdout.flush()


def _file(text: str) -> Path:
    if Path(text).suffix not in WRITERS:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {', '.join(WRITERS)}")
    return Path(text)


def _id(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not UTF-8") from None
    return text


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


ANSWERS: dict[str, Callable[[BatchRun, argparse.Namespace], None]] = {
    "user": _user,
    "users": _users,
    "history": _history,
    "similar": _similar,
    "popular": _popular,
    "all": _all,
    "verify": _verify,
}

if __name__ == "__main__":
    main()
