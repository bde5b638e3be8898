"""The data contracts, kept as Great Expectations suites in `suites/`, and the gate that runs them."""

from nightshift.contracts.figures import Rows
from nightshift.contracts.gate import Checks, check
from nightshift.contracts.results import Check

__all__ = ["Check", "Checks", "Rows", "check"]
