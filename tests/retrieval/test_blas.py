"""Which kernels FAISS's matrix products have. Seen in processes of their own: a library is loaded once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nightshift.retrieval.blas import kernels

AVX512 = "avx512f avx512dq avx512cd avx512bw avx512vl"
LOADED = """
import json, os, nightshift.retrieval, threadpoolctl
found = [library["architecture"] for library in threadpoolctl.threadpool_info() if "faiss" in library["filepath"]
         and library["internal_api"] == "openblas"]
print(json.dumps([found, os.environ.get("OPENBLAS_CORETYPE")]))
"""


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (f"flags\t\t: fpu sse4_2 avx avx2 fma {AVX512}", "SkylakeX"),
        (f"flags : fma avx2 {AVX512.replace('avx512vl', '')}", "Haswell"),
        ("flags : avx2 sse4_2", None),
        ("Features : fp asimd sve", None),
        ("", None),
    ],
)
def test_kernels_are_those_that_the_processor_has_the_instructions_for(flags, expected):
    assert kernels(f"processor : 0\nmodel : 207\n{flags}\n\nprocessor : 1\n") == expected


def loaded(**environment: str) -> list[object]:
    found: list[object] = json.loads(run(LOADED, **environment).stdout)
    return found


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    unset = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    return subprocess.run(
        [sys.executable, "-c", code], env=unset | environment, capture_output=True, check=True, text=True
    )


def test_faiss_is_loaded_with_them_and_nothing_else_is() -> None:
    fastest = kernels(Path("/proc/cpuinfo").read_text())
    if not fastest:
        pytest.skip("OpenBLAS chooses by itself on this processor")
    assert loaded() == [[fastest], None]


def test_kernels_that_are_asked_for_by_name_are_taken() -> None:
    if not kernels(Path("/proc/cpuinfo").read_text()):
        pytest.skip("OpenBLAS chooses by itself on this processor")
    assert loaded(OPENBLAS_CORETYPE="Nehalem") == [["Nehalem"], "Nehalem"]


def test_it_is_said_where_faiss_was_there_before() -> None:
    if not kernels(Path("/proc/cpuinfo").read_text()):
        pytest.skip("OpenBLAS chooses by itself on this processor")
    assert "import it after" in run("import faiss, nightshift.retrieval").stderr
    assert not run("import nightshift.retrieval, faiss").stderr
