"""Benchmarks: a generator of realistic events of any size, and one command a claim. See docs/performance.md."""
