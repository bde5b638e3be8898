"""A fit that stops early, is interrupted, or is done with half the precision."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nightshift.models import loop, stopping
from nightshift.models.fitting import fit
from nightshift.models.two_tower import TwoTower
from tests import shop
from tests.models.fit_apart import SMALL

ROOT = Path(__file__).parents[2]


def fitted(folder: Path | None = None, **changed: Any) -> TwoTower:
    return fit(shop.snapshots()[0], shop.interactions(), shop.settings(two_tower={**SMALL, **changed}), folder=folder)[
        0
    ]


def weights(model: TwoTower) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in model.towers.state_dict().items()}


@pytest.fixture(scope="module")
def uninterrupted() -> TwoTower:
    return fitted()


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("steps", [3, 25, 55, 90])
def test_a_fit_that_was_interrupted_anywhere_ends_the_same(
    steps: int, uninterrupted: TwoTower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, taken = loop._step, []

    def step(*arguments: Any) -> float:
        taken.append(arguments[3])
        if len(taken) == steps:
            raise Interrupted
        return take(*arguments)

    monkeypatch.setattr(loop, "_step", step)
    with pytest.raises(Interrupted):
        fitted(tmp_path)
    again = fitted(tmp_path)
    assert weights(again) == weights(uninterrupted)
    assert again.about == uninterrupted.about
    assert taken[steps] == taken[steps - 1] // 10 * 10  # it went on from a checkpoint


def test_a_fit_that_was_killed_goes_on_and_ends_the_same(uninterrupted: TwoTower, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.models.fit_apart", str(tmp_path / "model"), str(tmp_path / "fit")]
    command.append(str(SMALL["epochs"]))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [line for line, _ in zip(child.stdout, range(2), strict=False)]  # it has kept two checkpoints
        child.send_signal(signal.SIGKILL)
    assert (child.returncode, len(said)) == (-signal.SIGKILL, 2), said
    assert not (tmp_path / "model").exists()
    assert list((tmp_path / "fit/first").glob("step-*"))
    assert weights(fitted(tmp_path / "fit")) == weights(uninterrupted)


def test_a_checkpoint_of_another_fit_or_that_cannot_be_read_is_not_used(
    uninterrupted: TwoTower, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="nightshift.models")
    fitted(tmp_path, temperature=0.2)
    assert weights(fitted(tmp_path)) == weights(uninterrupted)
    assert "is of another fit, and is not used" in caplog.text
    for file in tmp_path.rglob("towers.safetensors"):
        file.write_bytes(file.read_bytes()[:1000])
    assert weights(fitted(tmp_path)) == weights(uninterrupted)
    assert "cannot be read, and is not used" in caplog.text


@pytest.mark.parametrize("other", [{"evaluation": {"k": 1}}, {"features": {"sequence_length": 3}}])
def test_a_checkpoint_of_a_fit_that_was_judged_or_read_otherwise_is_not_used(
    other: dict[str, Any], uninterrupted: TwoTower, tmp_path: Path
) -> None:
    settings = shop.settings(two_tower=SMALL, **other)
    fit(shop.snapshots()[0], shop.interactions(), settings, folder=tmp_path)
    again = fitted(tmp_path)
    assert again.about == uninterrupted.about
    assert weights(again) == weights(uninterrupted)


def test_the_best_epoch_is_kept_and_patience_ends_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    figures, seen = iter([0.1, 0.3, 0.2, 0.3, 0.9]), []

    def validation(self: stopping.Validation, towers: Any) -> float:
        seen.append(towers.item_id.weight.detach().clone())
        return next(figures)

    monkeypatch.setattr(stopping.Validation, "__call__", validation)
    model = fitted(refresh_rate=1e-30, patience=2)
    assert [figure for _, figure in model.about["validation"]] == [0.1, 0.3, 0.2, 0.3]
    assert model.about["best_step"] == model.about["validation"][1][0]
    torch.testing.assert_close(model.towers.item_id.weight, seen[1], rtol=0, atol=1e-7)


def test_the_days_a_fit_is_judged_by_are_learnt_at_its_end_only(monkeypatch: pytest.MonkeyPatch) -> None:
    view, taken = shop.snapshots()[0], []
    take = loop._step

    def step(model: Any, make: Any, optimizer: Any, number: int, which: np.ndarray, accumulate: int) -> float:
        taken.append((number, make.baskets.day[which].max()))
        return take(model, make, optimizer, number, which, accumulate)

    monkeypatch.setattr(loop, "_step", step)
    fitted()
    refresh = max(place for place, (number, _) in enumerate(taken) if number == 0)
    last = (view.as_of - view.as_of.replace(1970, 1, 1)).days
    assert max(day for _, day in taken[:refresh]) == last - SMALL["validation_days"]
    assert max(day for _, day in taken[refresh:]) == last


def test_too_few_baskets_to_judge_by_are_learnt_from_all_the_while() -> None:
    model = fitted(validation_days=1, epochs=1)
    assert (model.about["validation"], model.about["best_step"]) == ([], None)


def test_half_precision_learns_the_same_within_its_digits(uninterrupted: TwoTower) -> None:
    half = fitted(precision="bfloat16")
    assert weights(half) != weights(uninterrupted)
    near = (half.item_vectors()[1] * uninterrupted.item_vectors()[1]).sum(axis=1)
    assert near.mean() > 0.97
