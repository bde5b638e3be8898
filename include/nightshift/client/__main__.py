"""Ask the lookup service from a terminal.

    python -m nightshift.client recommendations 17850 --k 5
    python -m nightshift.client similar 22423
    python -m nightshift.client history 17850
    python -m nightshift.client batch --k 5 < user_ids.txt > lists.jsonl
    python -m nightshift.client status

NIGHTSHIFT_LOOKUP_URL says where the service is (http://127.0.0.1:8090), NIGHTSHIFT_LOOKUP_KEY which key to send.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from nightshift.client.answers import History, Item, Purchase, Recommendations, Similar
from nightshift.client.calls import LARGEST_BATCH
from nightshift.client.errors import ClientError
from nightshift.client.retries import BATCHES
from nightshift.client.synchronous import Client

HERE = "http://127.0.0.1:8090"


def main(argv: Sequence[str] | None = None) -> None:
    """Exit 1, with a line on standard error, where the service does not answer."""
    args = _parser().parse_args(argv)
    try:
        key, largest = os.environ.get("NIGHTSHIFT_LOOKUP_KEY"), getattr(args, "largest_batch", LARGEST_BATCH)
        with Client(args.url, key=key, largest_batch=largest) as client:
            for line in _answered(client, args):
                print(line)
    except (ClientError, ValueError) as error:
        print(f"client: {error}", file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nightshift.client",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", default=os.environ.get("NIGHTSHIFT_LOOKUP_URL", HERE), help="of the service")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what, about in (
        ("recommendations", "user_id", "a user's list"),
        ("similar", "item_id", "items like another"),
        ("history", "user_id", "what a user bought, the latest first"),
        ("batch", None, "the lists of the users on standard input, an id a line, as JSON lines"),
        ("status", None, "what is served, as JSON"),
    ):
        command = commands.add_parser(name, help=about)
        if what:
            command.add_argument(what)
            command.add_argument("--json", action="store_true", help="as JSON, not as a table")
        if name not in ("history", "status"):
            command.add_argument("--k", type=int, help="items at most")
        if name != "status":
            command.add_argument("--surface", help="where the list is shown")
        if name == "batch":
            command.add_argument("--largest-batch", type=int, default=LARGEST_BATCH, help="users in one request (1000)")
        if name == "recommendations":
            command.add_argument("--segment", help="attribute:value, of a user who may not be known")
            command.add_argument("--override", help="experiment=variant, for testers")
    return parser


def _answered(client: Client, args: argparse.Namespace) -> Iterable[str]:
    asked: dict[str, Any] = {"k": getattr(args, "k", None), "surface": getattr(args, "surface", None)}
    if args.command == "status":
        return [json.dumps(client.status(BATCHES), indent=1, ensure_ascii=False)]
    if args.command == "batch":
        users = [line.rstrip("\r\n") for line in sys.stdin if line.strip()]
        return [_as_json(one) for one in client.batch(users, **asked)]
    found: Recommendations | Similar | History
    if args.command == "history":
        found = client.history(args.user_id, surface=args.surface, policy=BATCHES)
    elif args.command == "similar":
        found = client.similar(args.item_id, policy=BATCHES, **asked)
    else:
        about = {"segment": args.segment, "override": args.override}
        found = client.recommendations(args.user_id, policy=BATCHES, **about, **asked)
    return [_as_json(found)] if args.json else _as_table(found)


def _as_json(answer: Recommendations | Similar | History) -> str:
    return json.dumps(dataclasses.asdict(answer), default=str, ensure_ascii=False)


def _as_table(answer: Recommendations | Similar | History) -> Iterable[str]:
    if answer.run:
        run = answer.run
        yield f"run of {run.run_date}, {run.run_id}; model {run.model.name} {run.model.version}; {run.variant}"
    if answer.degraded:
        yield f"{answer.degraded.level}: {answer.degraded.reason}"
    items: Sequence[Item | Purchase] = answer.items
    widest = max((len(item.item_id) for item in items), default=0)
    for place, item in enumerate(items, 1):
        yield _row(place, item, widest)


def _row(place: int, item: Item | Purchase, widest: int) -> str:
    if isinstance(item, Purchase):
        return f"{place:3} {item.item_id:{widest}} {item.bought_on} {item.times:4}  {item.title or ''}".rstrip()
    score = "" if item.score is None else f"{item.score:.4f}"
    return f"{place:3} {item.item_id:{widest}} {score:>8}  {item.title or ''}  {item.reason or ''}".rstrip()


if __name__ == "__main__":
    main()
