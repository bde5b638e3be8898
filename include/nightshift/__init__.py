"""nightshift: recommendations made overnight, read in a millisecond by day."""

__version__ = "0.1.0"
