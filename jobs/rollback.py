"""Make the run live that was live before. Again: the one before that.

    python -m jobs.rollback
    python -m jobs.rollback --to 2011-11-29
    python -m jobs.rollback --surface home --to 2011-11-29/by-hand
    python -m jobs.rollback --channel challenger

Only the pointer moves. A run that was named with --to may also be a newer one: so a rollback is taken back.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from collections.abc import Sequence
from typing import Any

from nightshift.config import ConfigError, load
from nightshift.config.settings import CURRENT
from nightshift.publishing.rollback import roll_back
from nightshift.publishing.storage import store_of
from nightshift.runs import StepError, home_of
from nightshift.runs.lock import at_work


def rollback(
    config: str | None = None, surface: str | None = None, to: str | None = None, channel: str = CURRENT
) -> dict[str, Any]:
    """Move the pointer back, and say what is live now."""
    settings = load(config)
    surface = surface or settings.store.surface
    with at_work(home_of(settings), "rollback"):
        move = roll_back(store_of(settings), surface, to, dt.datetime.now(dt.UTC), channel)
    return {
        "step": "rollback",
        "surface": surface,
        "channel": channel,
        "live": str(move.live),
        "run_date": move.live.run_date.isoformat(),
        "run_id": move.live.run_id,
        "content_hash": move.live.content_hash,
        "previous": str(move.previous),
        "why": move.why,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """The last line on standard output is the summary as one JSON object; what fails is one line, and exit 1."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.rollback", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--surface", help="whose pointer to move (store.surface)")
    parser.add_argument("--channel", default=CURRENT, help="the pointer of an experiment's variant (current)")
    parser.add_argument("--to", help="a run id, a run date, or date/id (the run that was live before)")
    parser.add_argument("--config", help="the configuration file (NIGHTSHIFT_CONFIG, else nightshift.yaml)")
    args = parser.parse_args(argv)
    try:
        print(json.dumps(rollback(args.config, args.surface, args.to, args.channel), sort_keys=True))
    except (ConfigError, StepError) as error:
        print(f"rollback: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))


if __name__ == "__main__":
    main()
