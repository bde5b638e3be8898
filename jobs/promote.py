"""Carry out the night's verdict: write down who is champion from this night on, and move the alias in the registry.

    python -m jobs.promote --run-date 2011-11-30
    python -m jobs.promote --run-date 2011-11-30 --version 7     by hand, whatever the verdict was

An old date that is run again changes its own record only: the alias follows the newest promotion. Nothing that is
published changes; the next night infers with the champion.
"""

from __future__ import annotations

from typing import Any

from jobs import command
from nightshift.registry import record_promotion
from nightshift.registry.tracking import Tracking
from nightshift.runs import Night


def promote(night: Night, version: str | None = None) -> dict[str, Any]:
    """Promote by the verdict that `jobs.evaluate` left, or the registered `version`."""
    tracking, gain = Tracking(night), None
    if version:
        champion, accepted, by, reason = tracking.version(version), True, "hand", "promoted by hand"
    else:
        verdict = night.read_json("verdict")
        champion, accepted, by = tracking.version(str(verdict["served"]["version"])), bool(verdict["accepted"]), "night"
        reason = "; ".join(verdict["reasons"])
        gain = verdict["gains"].get("champion", {}).get("mean")
    newest = record_promotion(night, champion, accepted, reason, by, gain)
    if newest:
        tracking.set_champion(champion)
    return {
        "champion": {"name": champion.name, "version": champion.version, "kind": champion.kind},
        "accepted": accepted,
        "alias_moved": newest,
    }


if __name__ == "__main__":
    command.run(promote, __doc__, {"version": "promote this registered version instead, whatever the verdict was"})
