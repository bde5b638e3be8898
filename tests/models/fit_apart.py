"""A small fit in a process of its own, alone or among several; says each checkpoint that it has kept.

python -m tests.models.fit_apart MODEL FIT EPOCHS
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from nightshift.models import processes
from nightshift.models.fitting import fit
from tests import shop

SMALL = {"epochs": 6, "refresh_epochs": 2, "checkpoint_steps": 10, "validation_days": 14, "random_negatives": 8}


def main(model: str, folder: str, epochs: str) -> None:
    logging.getLogger("nightshift.models").setLevel(logging.INFO)
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(lambda record: "checkpoint at" in record.msg)
    logging.getLogger("nightshift.models").addHandler(handler)
    with processes.joined() as rank:
        found, _ = fit(
            shop.snapshots()[0],
            shop.interactions(),
            shop.settings(two_tower={**SMALL, "epochs": int(epochs)}),
            folder=Path(folder),
        )
        found.save(Path(f"{model}-{rank}" if processes.count() > 1 else model))


if __name__ == "__main__":
    main(*sys.argv[1:])
