"""The suites as their files have them, and what a night makes of them: parameters put in, learned bounds worked out.

A file in `suites/` is a Great Expectations suite. Beyond GX's own form, an expectation's `meta` says `severity` (stop
or warn), `why` it is expected and what to `do` when it is not met; `meta.learned` says how a bound
`{"$LEARNED": "low"}` or `{"$LEARNED": "high"}` is learned (see `Learning`). The suite's `meta.columns` are SQL
expressions over the rows, as columns for the expectations; `$name` in them is a parameter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nightshift.contracts.learned import Learning

SUITES = Path(__file__).parent / "suites"


@dataclass(frozen=True)
class Expectation:
    """One expectation, in GX's words, and ours about it."""

    type: str
    kwargs: Mapping[str, Any]
    severity: str = "stop"  # or "warn"
    why: str = ""
    do: str = ""
    learning: Learning | None = None
    note: str = ""  # what is to be known of its bounds: learned from what, or why not applied
    problem: str = ""  # why it cannot be evaluated; then it has failed

    @property
    def subject(self) -> str:
        """What it is about: the column or columns, else the table."""
        pair = [self.kwargs[key] for key in ("column_A", "column_B") if key in self.kwargs]
        return str(self.kwargs.get("column") or " and ".join(map(str, self.kwargs.get("column_list", pair))) or "table")

    @property
    def words(self) -> str:
        """As a person says it: price: column values to be between."""
        return f"{self.subject}: {self.type.removeprefix('expect_').replace('_', ' ')}"

    @property
    def figure(self) -> str:
        """The name of what is measured, by which its history is found."""
        return self.learning.figure if self.learning else f"{self.subject}.{self.type.removeprefix('expect_')}"

    @property
    def bounded(self) -> bool:
        """Whether there is a bound to hold a figure against."""
        return any(self.kwargs.get(bound) is not None for bound in ("min_value", "max_value"))

    @property
    def allowed(self) -> str:
        """The range or the set that it must lie in."""
        bounds = [self.kwargs.get("min_value"), self.kwargs.get("max_value")]
        if any(bound is not None for bound in bounds):
            low, high = (
                "…" if bound is None else f"{bound:.6g}" if isinstance(bound, float) else str(bound) for bound in bounds
            )
            return f"{low} to {high}"
        if "value_set" in self.kwargs:
            return str(self.kwargs["value_set"])
        return "anything, for now" if self.learning else "none that breaks it"

    def with_parameters(self, parameters: Mapping[str, Any]) -> Expectation:
        """With every `{"$PARAMETER": name}` replaced; one that was not given is a problem."""
        kwargs = dict(self.kwargs)
        for key, value in self.kwargs.items():
            if isinstance(value, Mapping) and "$PARAMETER" in value:
                name = value["$PARAMETER"]
                if name not in parameters:
                    return replace(self, problem=f"the parameter {name!r} was not given")
                kwargs[key] = parameters[name]
        return replace(self, kwargs=kwargs)

    def with_bounds(self, low: float | None, high: float | None, note: str) -> Expectation:
        """With every `{"$LEARNED": "low"}` and `"high"` replaced."""
        learned = {"low": low, "high": high}
        kwargs = {
            key: learned[value["$LEARNED"]] if isinstance(value, Mapping) and "$LEARNED" in value else value
            for key, value in self.kwargs.items()
        }
        return replace(self, kwargs=kwargs, note=note)


@dataclass(frozen=True)
class Suite:
    """The contract of one kind of rows."""

    name: str
    expectations: tuple[Expectation, ...]
    columns: Mapping[str, str] = field(default_factory=dict)  # name -> SQL over the rows


def load_suite(name: str) -> Suite:
    """A suite as its file has it.

    Raises:
        FileNotFoundError: there is none of that name.
    """
    suite = json.loads((SUITES / f"{name}.json").read_text(encoding="utf-8"))
    return Suite(name, tuple(map(_expectation, suite["expectations"])), suite.get("meta", {}).get("columns", {}))


def _expectation(entry: Mapping[str, Any]) -> Expectation:
    meta = entry.get("meta", {})
    learning = Learning(**meta["learned"]) if "learned" in meta else None
    told = {key: str(meta[key]) for key in ("severity", "why", "do") if key in meta}
    return Expectation(entry["type"], entry["kwargs"], learning=learning, **told)
