"""The data contracts, kept as Great Expectations suites in `suites/`, and the gate that runs them."""

from nightshift.contracts.gate import Check, check

__all__ = ["Check", "check"]
