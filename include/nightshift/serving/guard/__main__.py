"""Make and check API keys.

python -m nightshift.serving.guard new-key --name shop --rate 200
python -m nightshift.serving.guard check keys.yaml
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from pydantic import ValidationError

from nightshift.config import ConfigError, load_as
from nightshift.serving.guard.keyring import MISSING
from nightshift.serving.guard.keys import ROLES, Key, KeyFile, hash_of, new_key


def main(argv: Sequence[str] | None = None) -> None:
    """Exit 1, with a line on standard error, for a file or a value that cannot be used."""
    args = _parser().parse_args(argv)
    try:
        print("\n".join(_made(args) if args.command == "new-key" else _checked(args.file)))
    except ValidationError as error:
        wrong = error.errors()[0]
        _fail(f"--{wrong['loc'][0] if wrong['loc'] else 'burst'}: {wrong['msg']}")
    except ConfigError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    print(f"guard: {message}", file=sys.stderr)
    sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nightshift.serving.guard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new-key", help="print a key, once, and its entry in the key file")
    new.add_argument("--name", required=True, help="of the program that will call")
    new.add_argument("--role", choices=ROLES, default="reader", help="reader")
    new.add_argument("--surface", action="append", default=[], help="that it may read; repeat it for more; none: all")
    new.add_argument("--rate", type=float, help="requests a second; none: no limit")
    new.add_argument("--burst", type=int, help="of them at once; none: a second's")
    new.add_argument("--days", type=int, help="after which it expires; none: never")
    check = commands.add_parser("check", help="read a key file as the service would, and list its keys")
    check.add_argument("file", type=Path)
    return parser


def _made(args: argparse.Namespace) -> list[str]:
    secret = new_key()
    asked: dict[str, Any] = {"name": args.name, "hash": hash_of(secret), "role": args.role}
    asked |= {"surfaces": args.surface} if args.surface else {}
    asked |= {name: value for name in ("rate", "burst") if (value := getattr(args, name)) is not None}
    if args.days is not None and args.days < 1:
        raise ConfigError(f"--days {args.days}: such a key has expired when it is made; 1 is the least")
    if args.days is not None:
        asked["expires"] = f"{dt.datetime.now(dt.UTC) + dt.timedelta(days=args.days):%Y-%m-%dT%H:%M:%SZ}"
    Key.model_validate(asked)
    line = yaml.safe_dump(asked, default_flow_style=True, sort_keys=False, width=10_000).strip()
    return [f"key (shown this once): {secret}", "under `keys:` of the key file:", f"  - {line}"]


def _checked(path: Path) -> list[str]:
    keys = load_as(KeyFile, path, MISSING).keys
    return [f"{len(keys)} keys", *map(_described, keys)]


def _described(key: Key) -> str:
    limit = f"{key.rate:g}/s" if key.rate else "no limit"
    until = "" if key.expires is None else f", {_tense(key.expires)} {key.expires:%Y-%m-%d %H:%M %Z}"
    return f"{key.name}: {key.role} of {', '.join(key.surfaces) or 'all surfaces'}, {limit}{until}"


def _tense(expires: dt.datetime) -> str:
    return "EXPIRED" if expires <= dt.datetime.now(dt.UTC) else "expires"


if __name__ == "__main__":
    main()
