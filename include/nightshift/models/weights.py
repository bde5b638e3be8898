"""Weights from a file, to compute with."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file by name, each in memory of its own.

    In the file they lie end to end, so that most begin anywhere; which of its ways the processor sums a product by
    depends on that, and with it the last bit. What torch allocates begins at a multiple of 64 bytes, as it did in the
    process that fitted the weights.

    Raises:
        FileNotFoundError: there is no such file.
        SafetensorError: it is none.
    """
    return {name: value.clone() for name, value in load_file(file).items()}
