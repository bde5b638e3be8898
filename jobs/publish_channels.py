"""Make the lists of experiments' channels over a night's features, and publish each to its channel.

    python -m jobs.publish_channels --run-date 2011-11-30
    python -m jobs.publish_channels --run-date 2011-11-30 --channel challenger --model-version 7

For each of experiments.channels, or for the one that is named: infer with the registered version of the model (or
with `challenger`, the night's own new model, also where the night has refused it), validate the lists, publish them,
and move the channel's pointer. What readers of `current` read stays as it is. The night must have been evaluated.

What a channel leaves is in the folder of the night under channels/<name>; again, it goes on where it was. One that
fails does not keep the others from their turn.

    python -m jobs.publish_channels --remove challenger

takes the pointer of a channel that is declared no more, so that its runs may be pruned.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jobs import command
from jobs.infer import infer
from jobs.publish import publish
from jobs.validate_lists import validate_lists
from nightshift.config import ConfigError, Settings, load
from nightshift.config.settings import CURRENT, check_version
from nightshift.publishing.layout import pointer_key
from nightshift.publishing.pointer import channels_of
from nightshift.publishing.storage import store_of
from nightshift.registry.tracking import Registered, Tracking
from nightshift.runs import GateError, Night, StepError, open_night
from nightshift.runs.dates import parse_run_date
from nightshift.runs.night import safe_run_id

log = logging.getLogger("nightshift.channels")

CHALLENGER = "challenger"  # the version that means the night's own new model


def publish_channels(night: Night, channels: Mapping[str, str]) -> dict[str, Any]:
    """Publish to each channel the lists of its model version.

    Raises:
        GateError: no list of a channel passed its gate; StepError: something else failed, and trying again may help.
            The others are published.
    """
    done: dict[str, Any] = {}
    failed: dict[str, Exception] = {}
    for name, version in channels.items():
        try:
            done[name] = publish_channel(night, name, version)
        except (StepError, FileNotFoundError) as error:
            log.error("channel %s: %s", name, error)
            failed[name] = error
    if failed:
        told = "; ".join(f"channel {name}: {error}" for name, error in failed.items())
        raise (GateError if all(isinstance(error, GateError) for error in failed.values()) else StepError)(told)
    return {"step": "publish_channels", "run_date": night.run_date.isoformat(), "channels": done}


def publish_channel(night: Night, name: str, version: str) -> dict[str, Any]:
    """Infer, validate and publish for one channel."""
    night.read_json("verdict")  # what a night that is still at work has not left
    served = model_of(night, version)
    channel = replace(night, channel=name, run_id=safe_run_id(f"{night.run_id}-{name}"))
    folder = str(served.folder.relative_to(night.home))
    told = {"name": served.name, "version": served.version, "kind": served.kind, "folder": folder}
    channel.write_json("verdict", {"served": told, "accepted": False, "reasons": [f"for channel {name}"]})
    for step in (infer, validate_lists):
        command.execute(step, channel, time.monotonic())
    return command.execute(publish, channel, time.monotonic())


def model_of(night: Night, version: str) -> Registered:
    """The registered version; of `challenger`, that of the night's own new model, which is registered here.

    Raises:
        FileNotFoundError: there is no such version, or the night has trained no model.
    """
    tracking = Tracking(night)
    if version != CHALLENGER:
        return tracking.version(version)
    trained = night.read_json("train")
    if not trained["trained"]:
        raise FileNotFoundError(f"the night of {night.run_date} has no new model: there was nothing to learn from")
    return tracking.register("two_stage", night.folder / "model", trained["mlflow_run"])


def remove_channel(settings: Settings, name: str) -> dict[str, Any]:
    """Take a channel's pointer away.

    Raises:
        StepError: it is declared, or has none.
    """
    storage, surface = store_of(settings), settings.store.surface
    if name in settings.experiments.channels:
        raise StepError(f"channel {name!r} is in experiments.channels: take it out there first")
    if name not in channels_of(storage, surface):
        raise StepError(f"surface {surface} has no channel {name!r}; it has {', '.join(channels_of(storage, surface))}")
    storage.delete(pointer_key(surface, name))
    return {"step": "publish_channels", "removed": name}


def chosen(settings: Settings, channel: str | None, version: str | None) -> dict[str, str]:
    """Channel -> model version: as declared, or the one that is asked for.

    Raises:
        StepError: it is not declared, and no version is given.
    """
    known = dict(settings.experiments.channels)
    if channel is None:
        return known
    if version is None and channel not in known:
        names = ", ".join(known) or "none"
        raise StepError(f"{channel!r} is not in experiments.channels ({names}): declare it, or give --model-version")
    return {channel: version or known[channel]}


def main(argv: Sequence[str] | None = None) -> None:
    """The last line on standard output is the summary as one JSON object; what fails is one line, and exit 1 or 3."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.publish_channels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run-date", type=parse_run_date, help="the night whose features are used: 2011-11-30")
    parser.add_argument("--run-id", default="by-hand", help="what the runs are called, each with its channel (by-hand)")
    parser.add_argument("--channel", type=_channel, help="this one alone (all of experiments.channels)")
    parser.add_argument("--model-version", type=_version, help="whose lists --channel gets (as it is declared)")
    parser.add_argument("--remove", type=_channel, metavar="CHANNEL", help="take a channel's pointer away")
    parser.add_argument("--config", help="the configuration file (NIGHTSHIFT_CONFIG, else nightshift.yaml)")
    args = parser.parse_args(argv)
    if bool(args.run_date) == bool(args.remove):
        parser.error("give either --run-date or --remove")
    if args.model_version and not args.channel:
        parser.error("--model-version says whose lists one channel gets: name it with --channel")
    command.set_up_logging()
    try:
        settings = load(args.config)
        if args.remove:
            done = remove_channel(settings, args.remove)
        else:
            channels = chosen(settings, args.channel, args.model_version)
            done = publish_channels(open_night(settings, args.run_date, args.run_id), channels)
        print(json.dumps(done, sort_keys=True))
    except (ConfigError, StepError, FileNotFoundError) as error:
        print(f"publish_channels: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))


def _channel(text: str) -> str:
    if text == CURRENT or not re.fullmatch("[a-z0-9_-]{1,64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no channel beside {CURRENT}: a-z, 0-9, _ and -, like challenger")
    return text


def _version(text: str) -> str:
    try:
        return check_version(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    main()
