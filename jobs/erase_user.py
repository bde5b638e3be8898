"""Remove people from everything that nightshift keeps, prove it, and keep them from coming back.

    python -m jobs.erase_user --user 12347 --dry-run
    python -m jobs.erase_user --user 12347 --user 12348
    python -m jobs.erase_user --users-file ids.txt

Rewrites the lake's tables and removes their older versions, takes every published run's place with one without them,
cleans the nights' folders, MLflow's files and database, reports and logs; then looks for them in all of these. A row in
the table `erasures` says what was done, and names nobody. While a step of a night is at work it says which, and ends; a
step that begins meanwhile waits. It stops the warm Spark server. Run again, it ends what a killed one began.

What it cannot do:

- The source's own files must be cleaned where they lie; until then landing refuses these people's rows, as `erased`.
- A model's weights keep what it learned until it is trained anew.
- An MLflow server, a database, a Spark cluster elsewhere are not reached, nor what a killed Spark left in the
  temporary folder.
- Backups, and copies that others made of the published lists, are not reached.
- An id that is an item's too, or a number of up to four digits, is theirs in a column or under a key of users, and in
  a text that says so (`customer 28`). Anywhere else, and in the numbers of a model, it is only counted, as `alike`.
- Counts that their events were part of stay, without a name, in the features of nights before, until
  `python -m jobs.build_features` builds those again.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.command import set_up_logging
from nightshift.config import ConfigError, load
from nightshift.erasure.erase import Erasure, Place, erase, look
from nightshift.erasure.people import People
from nightshift.erasure.proof import Proof
from nightshift.publishing.storage import store_of
from nightshift.runs import GateError, StepError, home_of

STILL = "the source's files still hold them: have them erased there; weights of models trained before keep what they "
STILL += "learned until the next training: python -m jobs.train for the next run date, then the steps after it"


def erase_user(people: People, config: str | None = None, dry_run: bool = False) -> dict[str, Any]:
    """Erase, or only look. Returns a summary that names nobody.

    Raises:
        GateError: something of them is still there.
    """
    settings = load(config)
    home = home_of(settings)
    at = Place(settings, home, store_of(settings, home))
    if dry_run:
        return {"step": "erase_user", "dry_run": True, "people": len(people.ids), **told(look(at, people))}
    done = erase(at, people, dt.datetime.now(dt.UTC))
    if not done.proof.clean:
        places = ", ".join(f"{where} ({count})" for where, count in sorted(done.proof.found.items()))
        raise GateError(f"{done.request}: still there: {places}. Stop what writes there, and run this again.")
    return summary(done, len(people.ids), remote=settings.tracking.uri)


def summary(done: Erasure, people: int, remote: str | None) -> dict[str, Any]:
    still = [STILL] + ([f"the MLflow server at {remote} was not looked at"] if remote else [])
    return {
        "step": "erase_user",
        "request": done.request,
        "people": people,
        "removed": dict(sorted(done.removed.items())),
        "without_older_versions": sorted(done.forgotten),
        "run_dates": [day.isoformat() for day in done.run_dates],
        "still_to_do": still,
        **told(done.proof),
    }


def told(proof: Proof) -> dict[str, Any]:
    return {"found": dict(sorted(proof.found.items())), "alike": dict(proof.alike), "looked_at": proof.looked_at}


def main(argv: Sequence[str] | None = None) -> None:
    """The last line on standard output is the summary as one JSON object; what fails is one line, and exit 1 or 3."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.erase_user", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--user", action="append", default=[], metavar="ID", help="whom to erase; may be repeated")
    parser.add_argument("--users-file", type=Path, help="a file with an id a line")
    parser.add_argument("--dry-run", action="store_true", help="say where they are, and change nothing")
    parser.add_argument("--config", help="the configuration file (NIGHTSHIFT_CONFIG, else nightshift.yaml)")
    args = parser.parse_args(argv)
    set_up_logging()
    try:
        lines = args.users_file.read_text(encoding="utf-8").splitlines() if args.users_file else []
        people = People.of([*args.user, *filter(None, map(str.strip, lines))])
        print(json.dumps(erase_user(people, args.config, args.dry_run), sort_keys=True))
    except (ConfigError, StepError, ValueError, OSError) as error:
        print(f"erase_user: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))


if __name__ == "__main__":
    main()
