"""Columns are what `pyarrow.array` makes of the same values, and nothing heavy is imported for them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.experiments.columns import column

PART = pa.struct([("experiment", pa.string()), ("variant", pa.string()), ("propensity", pa.float64())])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = [
    (pa.string(), st.none() | TEXT),
    (pa.binary(), st.none() | st.binary(max_size=12)),
    (pa.bool_(), st.booleans()),
    (pa.int32(), st.none() | st.integers(-(2**31), 2**31 - 1)),
    (pa.float64(), st.none() | st.floats(allow_nan=False)),
    (pa.timestamp("us", tz="UTC"), st.integers(0, 2**50)),
    (pa.list_(pa.string()), st.lists(TEXT, max_size=3)),
]


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=[str(kind) for kind, _ in VALUES])
def test_a_column_is_the_array_of_its_values(kind: pa.DataType, value: Any) -> None:
    @given(st.lists(value, max_size=20))
    def holds(values: list[Any]) -> None:
        found = column(values, kind)
        found.validate(full=True)
        assert found.equals(pa.array(values, kind))

    holds()


@given(st.lists(st.lists(st.tuples(TEXT, TEXT, st.none() | st.floats(0, 1)), max_size=3), max_size=10))
def test_lists_of_structs_are_too(values: list[list[tuple[str, str, float | None]]]) -> None:
    found = column(values, pa.list_(PART))
    found.validate(full=True)
    named = [[dict(zip(("experiment", "variant", "propensity"), one, strict=True)) for one in of] for of in values]
    assert found.equals(pa.array(named, pa.list_(PART)))


def test_pandas_is_not_imported() -> None:
    code = (
        "import sys, pyarrow as pa; from nightshift.experiments.columns import column;"
        "column(['a', None], pa.string()); print('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
