"""An index as files: FAISS's own, which is mapped into memory, and the ids beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from nightshift.retrieval.devices import on_cpu, on_gpu
from nightshift.retrieval.index import ItemIndex


def save_index(index: ItemIndex, folder: Path, info: dict[str, Any]) -> None:
    """Write `items.faiss` and `items.json`: the ids by row, what else an `ItemIndex` has, and `info`."""
    folder.mkdir(parents=True, exist_ok=True)
    faiss.write_index(on_cpu(index.index), str(folder / "items.faiss"))
    about = {"kind": index.kind, "dimension": index.index.d, "effort": index.effort}
    text = json.dumps({**about, "item_ids": index.item_ids.tolist(), **info}, indent=1, sort_keys=True)
    (folder / "items.json").write_text(text + "\n", encoding="utf-8")


def load_index(folder: Path) -> ItemIndex:
    """Read what `save_index` wrote. Processes that have loaded the same file share its pages, and none can change them.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the two files do not belong together.
    """
    for name in ("items.json", "items.faiss"):
        if not (folder / name).exists():
            raise FileNotFoundError(f"{folder / name} is missing: run `python -m jobs.build_index` first")
    about = json.loads((folder / "items.json").read_text(encoding="utf-8"))
    index = faiss.read_index(str(folder / "items.faiss"), faiss.IO_FLAG_MMAP_IFC)
    ids, dimension = np.array(about["item_ids"], dtype=object), about["dimension"]
    if index.ntotal != len(ids) or index.d != dimension:
        raise ValueError(
            f"{folder}: items.json is of {len(ids)} items of dimension {dimension}, "
            f"items.faiss holds {index.ntotal} of {index.d}; build the index again"
        )
    return ItemIndex(on_gpu(index), ids, about["kind"], about["effort"])
