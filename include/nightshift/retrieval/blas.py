"""FAISS's matrix products: with kernels that fit the processor, and divided so that their scores stay in its cache.

FAISS's wheel brings an OpenBLAS that knows processors by their model numbers. On one that is younger than itself it
takes kernels for SSE3, several times slower, whose last bits depend on how many queries there are.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

log = logging.getLogger("nightshift.retrieval")

KERNELS = {
    "SkylakeX": {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"},
    "Haswell": {"avx2", "fma"},
}
"""OpenBLAS's names, the fastest first, and the instructions that they need, as Linux calls them."""

BLOCK = 512  # queries, and items, whose scores are made and looked through at a time
FEWEST = 2048  # queries times dimension for which a product is made; fewer are scored one by one


def kernels(cpuinfo: str) -> str | None:
    """The fastest kernels for a processor that is described like this in /proc/cpuinfo; None: OpenBLAS has to guess."""
    flags = next((set(line.split()) for line in cpuinfo.splitlines() if line.startswith("flags")), set[str]())
    return next((name for name, needed in KERNELS.items() if needed <= flags), None)


def load_faiss() -> None:
    """Import FAISS, which reads then how its kernels are called. Other libraries choose theirs by themselves.

    Where somebody has imported FAISS before, it is too late for that, and a line in the log says so.
    """
    described = Path("/proc/cpuinfo")
    fastest = kernels(described.read_text(encoding="utf-8")) if described.exists() else None
    name_them = fastest is not None and "OPENBLAS_CORETYPE" not in os.environ
    if name_them and "faiss" in sys.modules:
        log.warning("faiss was imported before nightshift.retrieval: import it after, or its products may be slow")
    if name_them:
        os.environ["OPENBLAS_CORETYPE"] = str(fastest)
    import faiss

    if name_them:
        del os.environ["OPENBLAS_CORETYPE"]
    faiss.cvar.distance_compute_blas_threshold = FEWEST
    faiss.cvar.distance_compute_blas_query_bs = faiss.cvar.distance_compute_blas_database_bs = BLOCK
    faiss.cvar.distance_compute_min_k_reservoir = 1  # found with a buffer, which is quicker than a heap
