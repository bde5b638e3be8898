"""Ask for a variant: `X-Nightshift-Override: ranker-v7=challenger`. The service lets testers do so, and nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nightshift.config.settings import Experiments


class OverrideError(ValueError):
    """The override names no variant that there is."""


@dataclass(frozen=True)
class Override:
    """Experiment -> the variant to get, whoever the user is."""

    variants: Mapping[str, str]


def parse_override(settings: Experiments, text: str) -> Override:
    """Read `experiment=variant`, or several with commas between.

    Raises:
        OverrideError: it cannot be read, names what is not declared, or two experiments of one layer.
    """
    wanted: dict[str, str] = {}
    layers: dict[str, str] = {}
    for part in text.split(","):
        name, equals, variant = (word.strip() for word in part.partition("="))
        if not equals:
            raise OverrideError(f"{part[:100]!r} is not like experiment=variant")
        layer, known = _declared(settings, name)
        if variant not in known:
            raise OverrideError(f"experiment {name!r} has no variant {variant[:100]!r}; it has {', '.join(known)}")
        if layer in layers:
            raise OverrideError(f"{layers[layer]!r} and {name!r} are of one layer, {layer!r}: choose one of them")
        layers[layer], wanted[name] = name, variant
    return Override(wanted)


def _declared(settings: Experiments, name: str) -> tuple[str, list[str]]:
    """The experiment's layer and variants."""
    for layer in settings.layers:
        for experiment in layer.experiments:
            if experiment.name == name:
                return layer.name, [variant.name for variant in experiment.variants]
    names = ", ".join(one.name for layer in settings.layers for one in layer.experiments) or "none"
    raise OverrideError(f"there is no experiment {name[:100]!r}; there are {names}")
