"""Two processes that share the steps of a fit end with one model: that of one process with the batch of both.

They are told of each other as `torchrun` tells them, whose own start would take longer than the test.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from nightshift.models.fitting import fit
from tests import shop
from tests.models.fit_apart import SMALL

ROOT = Path(__file__).parents[2]
PIPES: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def test_two_processes_learn_what_one_with_twice_the_batch_does(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.models.fit_apart", str(tmp_path / "model"), str(tmp_path / "fit"), "2"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [
        subprocess.Popen(command, cwd=ROOT, env=os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank}, **PIPES)
        for rank in ("0", "1")
    ]
    (said, _), (nothing, _) = told = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0], told
    first, second = ((tmp_path / f"model-{rank}/weights.safetensors").read_bytes() for rank in (0, 1))
    assert first == second
    assert said.count("checkpoint at step 10\n") == 2  # of the first fit and of its refresh
    assert not nothing  # the second process writes none

    twice = {**SMALL, "epochs": 2, "batch_baskets": 64}
    alone, _ = fit(shop.snapshots()[0], shop.interactions(), shop.settings(two_tower=twice))
    together = load_file(tmp_path / "model-0/weights.safetensors")
    about = json.loads((tmp_path / "model-0/model.json").read_text())
    assert about["processes"] == 2
    np.testing.assert_allclose(
        [v for _, v in about["validation"]], [v for _, v in alone.about["validation"]], atol=1e-5
    )
    for name, value in alone.towers.state_dict().items():
        np.testing.assert_allclose(together[f"towers.{name}"], value.numpy(), atol=1e-5, err_msg=name)
