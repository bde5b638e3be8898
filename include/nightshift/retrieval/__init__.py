"""Nearest items to a vector, fast."""
