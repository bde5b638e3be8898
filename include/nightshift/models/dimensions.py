"""How long an embedding's vectors may be."""

STEP = 32
"""Dimensions: an index codes vectors of whole steps in even parts."""


def that_fit(numbers: int, items: int) -> int:
    """As many whole steps for each item as so many numbers are in all; 0 where there is no room for one."""
    return numbers // max(items, 1) // STEP * STEP
