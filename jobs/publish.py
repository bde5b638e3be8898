"""Publish the night's lists, and make them live: shards, manifest, pointer.

    python -m jobs.publish --run-date 2011-11-30

Publishing again changes nothing; after a kill it goes on where it was. An older date than the live one is published
without going live (a backfill), and so is a run that was rolled back. What fails leaves readers with what they saw
before, and says so in one line. See docs/store.md.
"""

from __future__ import annotations

import datetime as dt
import logging
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from jobs import command
from nightshift.lake import Lake, LakeError
from nightshift.publishing.lists import hashes, load_lists
from nightshift.publishing.manifest import Model, config_hash
from nightshift.publishing.pointer import make_live
from nightshift.publishing.prune import prune_if_possible
from nightshift.publishing.publish import Origin, publish_run
from nightshift.publishing.storage import store_of
from nightshift.runs import Night, StepError, code_version

log = logging.getLogger("nightshift.publish")

WORK, DAY = "publish-", 86_400  # seconds
READS_TABLES = ("ingest", "validate_events", "build_features", "train")  # a later one's version of a table counts


def publish(night: Night) -> dict[str, Any]:
    """Publish what `infer` left and `validate_lists` passed; say what is live afterwards."""
    settings = night.settings.store
    storage = store_of(night.settings, night.home)
    _lists_were_validated(night)
    lists, origin = load_lists(night.folder / "lists"), _origin(night)
    now = dt.datetime.now(dt.UTC)
    _sweep(night.folder)
    with tempfile.TemporaryDirectory(prefix=WORK, dir=night.folder) as work:
        manifest = publish_run(
            storage,
            settings.surface,
            night.run_date,
            night.run_id,
            lists,
            origin,
            shards=settings.shards,
            item_shards=settings.item_shards,
            now=now,
            work=Path(work),
        )
    move = make_live(storage, settings.surface, manifest.run, now, night.channel)
    log.log(logging.INFO if move.moved else logging.WARNING, "publish: %s", move.why)
    pruned = prune_if_possible(storage, settings.surface, settings.keep_runs, dt.datetime.now(dt.UTC))
    return {
        "surface": settings.surface,
        "channel": night.channel,
        "run": str(manifest.run),
        "store": storage.address,
        "endpoint": settings.endpoint,
        "content_hash": manifest.content_hash,
        "folder": f"{storage.address}/{manifest.folder}",
        "model": manifest.model.model_dump(),
        **manifest.counts,
        "bytes": sum(file.bytes for file in manifest.files.values()),
        "moved": move.moved,
        "live": str(move.live),
        "previous": str(move.previous) if move.previous else None,
        "why": move.why,
        "put_away": pruned.put_away,
        "pruned": pruned.removed,
        "not_pruned": pruned.why_not,
    }


def _sweep(folder: Path) -> None:
    """Remove what a publisher that was killed had built. One that began within a day may be at work."""
    for work in folder.glob(f"{WORK}*"):
        if time.time() - work.stat().st_mtime > DAY:
            shutil.rmtree(work, ignore_errors=True)


def _lists_were_validated(night: Night) -> None:
    """What was written after its validation was not validated."""
    folder = night.folder / "lists"
    passed = night.read_json("validate_lists").get("sha256")
    if not passed:
        raise StepError(f"validate_lists has left no hashes of what it passed in {folder}: {_way_on(night)}")
    changed = [name for name, sha256 in hashes(folder).items() if passed.get(name) != sha256]
    if changed:
        raise StepError(f"{folder}: {', '.join(changed)} has changed since it was validated: {_way_on(night)}")


def _way_on(night: Night) -> str:
    """How lists get validated: by that step, or, where it could not read the features any more, by the whole night."""
    lake = Lake(night.home / "lake")
    try:
        for table, version in night.read_json("build_features")["tables"].items():
            if lake.exists(table):
                lake.open(table, version)
    except LakeError as error:
        return str(error)
    return f"run `python -m jobs.validate_lists --run-date {night.run_date}` first"


def _origin(night: Night) -> Origin:
    """What made the lists: the model that `infer` says, which must be the one that the verdict names and promotes."""
    tables: dict[str, int] = {}
    for step in READS_TABLES:
        tables |= night.read_json(step).get("tables", {})
    model, named = _model(night.read_json("infer")["model"]), _model(_verdict(night)["served"])
    if model != named:
        raise StepError(
            f"the lists were made with {_told(model)}, and the verdict names {_told(named)}: "
            f"run `python -m jobs.infer --run-date {night.run_date}` first, then validate_lists"
        )
    return Origin(model, tables, code_version(), config_hash(night.settings))


def _verdict(night: Night) -> dict[str, Any]:
    try:
        verdict: dict[str, Any] = night.read_json("verdict")
    except FileNotFoundError:
        command = f"python -m jobs.evaluate --run-date {night.run_date}"
        raise StepError(f"no verdict names the model behind the lists: run `{command}` first") from None
    return verdict


def _model(served: dict[str, Any]) -> Model:
    return Model(name=served["name"], version=str(served["version"]), kind=served["kind"])


def _told(model: Model) -> str:
    return f"{model.kind} version {model.version} of {model.name}"


if __name__ == "__main__":
    command.run(publish, __doc__)
