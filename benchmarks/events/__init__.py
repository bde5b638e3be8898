"""Seeded events of an imagined shop, at any size, each day made alone: `python -m benchmarks.events --help`.

`shop` is what is planted, `day` turns a day of it into rows, `files` delivers them as a company would, and `fill` puts
them into a lake directly.
"""

from benchmarks.events.shop import Drift, Flaws, Shop

__all__ = ["Drift", "Flaws", "Shop"]
