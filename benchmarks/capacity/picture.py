"""The plan as a picture: machines by requests a second, and what the loss of a zone does to the latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.capacity.simulation import Outcome

INK, SOFT, COLOURS = "#191c33", "#565c7a", ("#5054c8", "#d9822b", "#1f9d7a", "#b8508f")


def draw(machines: Mapping[str, Sequence[tuple[float, int]]], outcomes: Mapping[str, Outcome], file: Path) -> None:
    """Write a PNG.

    Args:
        machines: by the number of users, in words: requests a second, and machines for them.
        outcomes: of the scenarios to show, second by second.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), dpi=110)
    for colour, (name, points) in zip(COLOURS, machines.items(), strict=False):
        rates, counts = zip(*points, strict=True)
        left.step(rates, counts, where="post", label=name, color=colour, linewidth=2)
    left.set(xscale="log", yscale="log", xlabel="requests a second", ylabel="machines", title="What it takes")
    for colour, (name, outcome) in zip(COLOURS, outcomes.items(), strict=False):
        times, values = _by_time(outcome)
        right.plot(times, values, label=name, color=colour, linewidth=1.8)
    right.set(yscale="log", xlabel="seconds", ylabel="ms", title="The slowest hundredth, as things happen at 2 s")
    for axes in (left, right):
        axes.grid(True, which="major", color="#e1e4f0")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=SOFT)
        axes.title.set_color(INK)
        axes.legend(frameon=False, fontsize=9)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Software": None})
    plt.close(figure)


def _by_time(outcome: Outcome, step: float = 0.1) -> tuple[list[float], list[float]]:
    """The slowest hundredth by when requests came, in milliseconds, up to the client's deadline."""
    times, values = [], []
    for begin in np.arange(0, outcome.seconds - step / 2, step):
        took = outcome.took[(outcome.at >= begin) & (outcome.at < begin + step)]
        if len(took):
            times.append(float(begin))
            values.append(1000 * min(float(np.quantile(took, 0.99, method="higher")), 0.5))
    return times, values
