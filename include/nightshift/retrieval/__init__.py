"""Nearest items to a vector, fast. Import what you need from its module."""

import nightshift.models  # noqa: F401 - says how threads wait, before FAISS is loaded
from nightshift.retrieval.blas import load_faiss

load_faiss()
