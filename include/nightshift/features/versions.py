"""The versions of the definitions: one that changes gets a new one, and a model names those it has learnt from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from nightshift.features.definitions import Feature

RECORD = Path(__file__).parent / "versions.json"


class Recorded(TypedDict):
    version: int
    digest: str


def recorded() -> dict[str, Recorded]:
    """The versions on record, by `<entity>.<name>`; none before the first."""
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}


def to_text(features: Mapping[str, Feature], before: Mapping[str, Recorded]) -> str:
    """The record for these definitions, as the file has it. What is declared no more stays on record.

    Raises:
        ValueError: a definition changed and its version did not go up.
    """
    for name, feature in features.items():
        old = before.get(name)
        if old and old["digest"] != feature.digest and feature.version <= old["version"]:
            raise ValueError(
                f"feature {name} computes something else than its version {old['version']}: raise its version"
            )
    now = {name: Recorded(version=feature.version, digest=feature.digest) for name, feature in features.items()}
    return json.dumps({**before, **now}, indent=1, sort_keys=True) + "\n"


def pinned(features: Mapping[str, Feature]) -> dict[str, str]:
    """What a model keeps of the definitions it learns from: name -> version and digest."""
    return {name: f"{feature.version} {feature.digest}" for name, feature in features.items()}


def changed_since(pins: Mapping[str, str], features: Mapping[str, Feature]) -> list[str]:
    """The pinned features that are something else now, in words; empty where a model may be used."""
    now = pinned(features)
    return [
        f"{name} was version {was.split()[0]} and is {'gone' if name not in now else 'version ' + now[name].split()[0]}"
        for name, was in sorted(pins.items())
        if now.get(name) != was
    ]
