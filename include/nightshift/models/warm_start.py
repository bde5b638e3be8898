"""Which model of nights before a first fit may go on from, and why another may not.

Fits that go on from each other are a chain. It begins anew after `two_tower.restart_days`, and wherever its end is not
what the same nights would come to now: so a night that is run again finds the start it had, or none.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Any

import numpy as np
import pandas as pd

from nightshift.config import Settings
from nightshift.models.attributes import bags
from nightshift.models.baskets import STEPS, steps
from nightshift.models.towers import USER_BUCKETS
from nightshift.models.two_tower import TwoTower

SHAPE_NO_WEIGHT = {"checkpoint_steps", "memory", "restart_days"}
"""Settings of the two-tower model that may differ."""


def misfit(start: TwoTower, as_of: dt.date, lineage: str, settings: Settings) -> str | None:
    """Why a first fit may not go on from a model; None where it may.

    Args:
        as_of: the last day that the fit may know.
        lineage: of the features as of the model's own day, as they would be built now: see `features.lineage`.
        settings: of the fit.
    """
    about = start.about
    if start.as_of > as_of:
        return f"it has learnt from days up to {start.as_of}, and the first fit may know {as_of}"
    days, begun = settings.two_tower.restart_days, dt.date.fromisoformat(about["begun"])
    if (as_of - begun).days >= days:
        return f"it goes back to a fit as of {begun}, and two_tower.restart_days is {days}"
    if changed := _changed(about, settings):
        return f"it was fitted with other settings: {', '.join(changed)}"
    if about["encoding"] != encoding(settings.two_tower.title_buckets):
        return "it reads words or ages in another way than this code"
    if about["lineage"] != lineage:
        return f"events up to {start.as_of} have been corrected or erased since, or features are defined otherwise"
    return None


def encoding(title_buckets: int) -> str:
    """A digest of how words and ages are read: weights that were learnt with another mean other things."""
    probe = pd.DataFrame({"title": ["Mug, RED no. 5", "crème brûlée-SET"], "kind": ["5/a", None]})
    found = [bags(probe, ["title", "kind"], buckets) for buckets in (title_buckets, USER_BUCKETS)]
    read = {
        "words": [[bag.words.tolist(), bag.starts.tolist()] for bag in found],
        "ages": steps(np.arange(2 ** (STEPS // 2))).tolist(),
    }
    return hashlib.sha256(json.dumps(read).encode()).hexdigest()[:12]


def _changed(about: dict[str, Any], settings: Settings) -> list[str]:
    """The settings that were others, in words."""
    now = settings.two_tower.model_dump(mode="json", exclude=SHAPE_NO_WEIGHT)
    was = {name: value for name, value in about["settings"].items() if name not in SHAPE_NO_WEIGHT}
    both = [(f"two_tower.{name}", was.get(name), now.get(name)) for name in sorted(was.keys() | now.keys())]
    both.append(("evaluation.k", about.get("judged_at"), settings.evaluation.k))  # what a first fit is stopped by
    both.append(("seed", about["seed"], settings.seed))
    return [f"{name} was {before}, is {after}" for name, before, after in both if before != after]
