"""Arrow's columns from Python's values, without what `pyarrow.array` imports on the way: pandas, where there is one.

A lookup service would pay for that with 50 MiB a process. Layouts are of the Arrow columnar format, 1.5
(https://arrow.apache.org/docs/format/Columnar.html).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

import pyarrow as pa

NUMBERS = {pa.int32(): "i", pa.int64(): "q", pa.float64(): "d", pa.timestamp("us", tz="UTC"): "q"}


def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """The values as an array of this type; None is null.

    Args:
        kind: text, binary, bool, a number of 32 or 64 bits, a time in microseconds, or a list or struct of these. The
            values of a list are sequences, those of a struct tuples in the order of its fields.
    """
    if pa.types.is_struct(kind):
        fields = zip(*values, strict=True) if values else [()] * kind.num_fields
        arrays = [column(of, field.type) for of, field in zip(fields, kind, strict=True)]
        return pa.StructArray.from_arrays(arrays, fields=list(kind))
    if pa.types.is_list(kind):
        within = column(list(chain.from_iterable(values)), kind.value_type)
        return pa.Array.from_buffers(kind, len(values), [None, _ends(values)], children=[within])
    if None not in values:
        return pa.Array.from_buffers(kind, len(values), [None, *_buffers(values, kind)])
    valid = [one is not None for one in values]
    if not any(valid):
        return pa.nulls(len(values), kind)
    zero = "" if pa.types.is_string(kind) else b"" if pa.types.is_binary(kind) else 0
    filled = [zero if one is None else one for one in values]
    return pa.Array.from_buffers(kind, len(values), [_bits(valid), *_buffers(filled, kind)])


def _buffers(values: Sequence[Any], kind: pa.DataType) -> list[pa.Buffer]:
    if pa.types.is_string(kind):
        values, kind = list(map(str.encode, values)), pa.binary()
    if pa.types.is_binary(kind):
        return [_ends(values), pa.py_buffer(b"".join(values))]
    if pa.types.is_boolean(kind):
        return [_bits(values)]
    return [pa.py_buffer(array(NUMBERS[kind], values))]


def _ends(parts: Sequence[Any]) -> pa.Buffer:
    """Where each part ends, after a 0."""
    return pa.py_buffer(array("i", accumulate(map(len, parts), initial=0)))


def _bits(values: Sequence[Any]) -> pa.Buffer:
    """A bit a value, the first in the lowest."""
    digits = "".join("1" if one else "0" for one in reversed(values))
    return pa.py_buffer(int(digits or "0", 2).to_bytes((len(values) + 7) // 8, "little"))
