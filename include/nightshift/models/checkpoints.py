"""A fit's progress in files that hold no code, so that one that was killed goes on where it was.

    step-00000200/    towers, optimizer and (once there is a best) best, each .safetensors; checkpoint.json

A checkpoint appears whole or not at all, and the ones before it go. It says which fit it is of; of another (an event,
a setting or the code has changed) it is not used. So is one that cannot be read: a fit from the start gives the same.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from nightshift.models.towers import Towers
from nightshift.models.weights import read_weights

log = logging.getLogger("nightshift.models")

Curve = list[tuple[int, float]]
Weights = dict[str, torch.Tensor]


@dataclass
class Progress:
    """How far a fit has come.

    Attributes:
        steps: done.
        curve: step and training loss.
        validation: step and validation figure, the higher the better.
        best: the weights where that was highest; None without a validation.
    """

    steps: int = 0
    curve: Curve = field(default_factory=list)
    validation: Curve = field(default_factory=list)
    best: Weights | None = None


class Checkpoints:
    """Of one fit.

    Args:
        folder: of them alone.
        of: what tells this fit from any other.
        every: steps from one to the next.
        writes: whether this process does; only one may.
    """

    def __init__(self, folder: Path, of: str, every: int, writes: bool) -> None:
        self.folder, self.of, self.every, self.writes = folder, of, every, writes

    def due(self, steps: int) -> bool:
        """Whether there should be one after so many steps."""
        return steps % self.every == 0

    def keep(self, progress: Progress, towers: Towers, optimizer: torch.optim.Optimizer) -> None:
        """Write one, unless it is there already."""
        final = self.folder / f"step-{progress.steps:08}"
        if not self.writes or final.exists():
            return
        partial = final.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(_copied(towers.state_dict()), partial / "towers.safetensors")
        save_file(_flat(optimizer), partial / "optimizer.safetensors")
        if progress.best is not None:
            save_file(progress.best, partial / "best.safetensors")
        about = {"of": self.of, "steps": progress.steps, "curve": progress.curve, "validation": progress.validation}
        (partial / "checkpoint.json").write_text(json.dumps(about) + "\n", encoding="utf-8")
        partial.rename(final)
        for other in self.folder.iterdir():
            if other != final:
                shutil.rmtree(other)
        log.info("two_tower: checkpoint at step %d", progress.steps)

    def restore(self, towers: Towers, optimizer: torch.optim.Optimizer) -> Progress:
        """Go on from the newest, if it is of this fit; else from the start."""
        for folder in sorted(self.folder.glob("step-????????"), reverse=True):
            try:
                about = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
                if about["of"] != self.of:
                    log.info("two_tower: %s is of another fit, and is not used", folder)
                    continue
                weights = read_weights(folder / "towers.safetensors")
                state = read_weights(folder / "optimizer.safetensors")
                best = read_weights(folder / "best.safetensors") if (folder / "best.safetensors").exists() else None
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                log.warning("two_tower: %s cannot be read, and is not used: %s", folder, error)
                continue
            towers.load_state_dict(weights)
            optimizer.load_state_dict({**optimizer.state_dict(), "state": _nested(state)})
            curve, validation = ([(step, value) for step, value in about[name]] for name in ("curve", "validation"))
            log.info("two_tower: going on from step %d of %s", about["steps"], folder)
            return Progress(about["steps"], curve, validation, best)
        if self.writes:
            shutil.rmtree(self.folder, ignore_errors=True)
        return Progress()


def _copied(weights: Weights) -> Weights:
    return {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}


def _flat(optimizer: torch.optim.Optimizer) -> Weights:
    """The state of each parameter, by the parameter's number and the name of the state."""
    state = optimizer.state_dict()["state"]
    return _copied({f"{number}.{name}": value for number, values in state.items() for name, value in values.items()})


def _nested(flat: Weights) -> dict[int, Weights]:
    state: dict[int, Weights] = {}
    for key, value in flat.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    return state


def best_of(validation: Curve) -> int:
    """Which validation was the best: the first of equals."""
    return max(range(len(validation)), key=lambda place: validation[place][1])
