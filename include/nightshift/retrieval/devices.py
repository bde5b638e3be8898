"""Where FAISS computes: how many threads it may use, and the GPU where this build of it has one."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

import faiss

log = logging.getLogger("nightshift.retrieval")


def set_threads(threads: int) -> None:
    """How many threads FAISS may use; 0: all cores that this process may use."""
    faiss.omp_set_num_threads(threads or len(os.sched_getaffinity(0)))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """For what comes out differently when threads race."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def gpus() -> int:
    """GPUs that this FAISS can use; a build for CPU has none."""
    return faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0


def on_gpu(index: faiss.Index) -> faiss.Index:
    """The index there, where there is one that can hold it; else the same index.

    Of an index in two stages the first goes there. A graph stays here: FAISS does not search HNSW on GPUs. So does what
    FAISS refuses, and a line in the log says why.
    """
    if not gpus() or isinstance(index, faiss.IndexHNSW):
        return index
    if isinstance(index, faiss.IndexRefine):
        return _with_first_stage(index, on_gpu(faiss.downcast_index(index.base_index)))
    options = faiss.GpuClonerOptions()
    options.useFloat16 = not isinstance(index, faiss.IndexFlat)  # of codes' lookup tables: beyond 48 bytes they must be
    try:
        moved = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index, options)
    except RuntimeError as error:
        log.warning("index: on the CPU, since FAISS refuses it on the GPU: %s", error)
        return index
    log.info("index: on the GPU")
    return moved


def on_cpu(index: faiss.Index) -> faiss.Index:
    """The index as files hold it."""
    if not gpus():
        return index
    if isinstance(index, faiss.IndexRefine):
        return _with_first_stage(index, on_cpu(faiss.downcast_index(index.base_index)))
    return faiss.index_gpu_to_cpu(index) if isinstance(index, faiss.GpuIndex | faiss.IndexPreTransform) else index


def _with_first_stage(index: faiss.IndexRefine, first: faiss.Index) -> faiss.IndexRefine:
    """Of copies: what an index owns ends with it."""
    return faiss.IndexRefine(first, faiss.clone_index(faiss.downcast_index(index.refine_index)))
