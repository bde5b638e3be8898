"""Two processes that share the steps of a fit end with one model: that of one process with the batch of both."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from nightshift.models.fitting import fit
from tests import shop
from tests.models.fit_apart import SMALL

ROOT = Path(__file__).parents[2]


def test_two_processes_learn_what_one_with_twice_the_batch_does(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "tests.models.fit_apart", str(tmp_path / "model"), str(tmp_path / "fit")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = ((tmp_path / f"model-{rank}/weights.safetensors").read_bytes() for rank in (0, 1))
    assert first == second
    assert "checkpoint at step 10\n" in done.stdout
    assert done.stdout.count("checkpoint at step 10\n") == 2  # of the first fit and of its refresh, by one process

    twice = {**SMALL, "batch_baskets": 64}
    alone, _ = fit(shop.snapshots()[0], shop.interactions(), shop.settings(two_tower=twice))
    together = load_file(tmp_path / "model-0/weights.safetensors")
    about = json.loads((tmp_path / "model-0/model.json").read_text())
    assert about["processes"] == 2
    np.testing.assert_allclose(
        [v for _, v in about["validation"]], [v for _, v in alone.about["validation"]], atol=1e-3
    )
    for name, value in alone.towers.state_dict().items():
        np.testing.assert_allclose(together[f"towers.{name}"], value.numpy(), atol=2e-3, err_msg=name)
