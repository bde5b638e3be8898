"""Experiments as a configuration declares them, in few words."""

from __future__ import annotations

from typing import Any

from nightshift.config.settings import Experiments


def experiment(name: str, low: float = 0.0, high: float = 0.5, *others: str, **values: Any) -> dict[str, Any]:
    """An experiment over a slot, of `control` and the other variants."""
    variants = [{"name": name} for name in ("control", *(others or ("treatment",)))]
    return {"name": name, "slot": [low, high], "variants": variants} | values


def layer(name: str, lane: int, *experiments: dict[str, Any], holdout: float = 0.0) -> dict[str, Any]:
    return {"name": name, "lane": lane, "holdout": holdout, "experiments": list(experiments)}


def declared(*layers: dict[str, Any], **values: Any) -> Experiments:
    return Experiments.model_validate({"layers": list(layers), **values})
