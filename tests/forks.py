"""Processes of a test's own that are there at once: forked from one that has imported what the steps of a night do."""

import multiprocessing

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.step_imports"])
