"""Which columns of a table can name a person, however nested, and a table without the people they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nightshift.erasure.people import People

USER = re.compile(r"(^|_)users?(_ids?)?$")  # user, users, user_id, user_ids, similar_user_id
OF_ITEMS = frozenset({"item_id", "items", "neighbour_id", "similar_id", "title", "kind", "event_id"})


def names_users(name: str) -> bool:
    return USER.search(name) is not None


def has_users(schema: pa.Schema) -> bool:
    """Whether a column, or a part of one, is named as users are and holds text."""
    return any(True for field in schema for name, kind in _leaves(field) if names_users(name) and _is_text(kind))


def texts(schema: pa.Schema) -> list[str]:
    """The columns of plain text that could hold anything: neither users' nor items' names."""
    return [
        field.name
        for field in schema
        if _is_text(field.type) and not names_users(field.name) and field.name not in OF_ITEMS
    ]


def without_people(table: pa.Table, people: People) -> pa.Table:
    """Without the rows of these people, and without the elements of lists that are theirs.

    Columns that name users are looked at, and in tables without any such column, texts: there the person's name goes,
    and the row stays.
    """
    for number, field in enumerate(table.schema):
        if pa.types.is_list(field.type) and any(names_users(name) for name, _ in _leaves(field)):
            cleaned = [_without_elements(value, field, people) for value in table[field.name].to_pylist()]
            table = table.set_column(number, field, pa.array(cleaned, field.type))
    gone = rows_of(table, people)
    table = table.filter(pc.invert(gone)) if pc.any(gone).as_py() else table
    if not has_users(table.schema):
        for name in texts(table.schema):
            found = pc.unique(table[name].combine_chunks()).to_pylist()
            if any(text and people.occur_in(text) for text in found):
                scrubbed = [text and people.scrub_text(text) for text in table[name].to_pylist()]
                place = table.schema.get_field_index(name)
                table = table.set_column(
                    place, table.schema.field(name), pa.array(scrubbed, table.schema.field(name).type)
                )
    return table


def rows_of(table: pa.Table, people: People) -> pa.ChunkedArray:
    """For each row whether a column outside lists, or a part of a struct, says that it is of one of these people."""
    wanted = pa.array(sorted(people.ids), pa.string())
    gone = pa.chunked_array([pa.array([False] * table.num_rows)])
    for field in table.schema:
        for column in _user_columns(field, table[field.name]):
            gone = pc.or_(gone, pc.fill_null(pc.is_in(column.cast(pa.string()), value_set=wanted), False))
    return gone


def occurrences(table: pa.Table, people: People) -> int:
    """How often these people are in columns that name users, lists included; else as words in texts."""
    found = int(pc.sum(rows_of(table, people).cast(pa.int64())).as_py() or 0)
    for field in table.schema:
        if pa.types.is_list(field.type) and any(names_users(name) for name, _ in _leaves(field)):
            found += sum(str(value) in people.ids for value in _flat(table[field.name].to_pylist()))
    for name in [] if has_users(table.schema) else texts(table.schema):
        found += sum(people.occur_in(text) for text in pc.unique(table[name].combine_chunks()).to_pylist() if text)
    return found


def _user_columns(field: pa.Field, column: pa.ChunkedArray) -> Iterator[pa.ChunkedArray]:
    if pa.types.is_struct(field.type):
        for part in field.type:
            yield from _user_columns(part, pc.struct_field(column, part.name))
    elif names_users(field.name) and _is_text(field.type):
        yield column


def _without_elements(value: Any, field: pa.Field, people: People) -> Any:
    """A list without the elements that are these people, or structs that are about them."""
    if value is None:
        return None
    named = names_users(field.name)
    return [element for element in value if not _is_about(element, named, people)]


def _is_about(element: Any, named: bool, people: People) -> bool:
    if isinstance(element, dict):
        return any(_is_about(part, names_users(name), people) for name, part in element.items())
    return bool(named and str(element) in people.ids)


def _leaves(field: pa.Field) -> Iterator[tuple[str, pa.DataType]]:
    if pa.types.is_struct(field.type):
        for part in field.type:
            yield from _leaves(part)
    elif pa.types.is_list(field.type):
        element = pa.field(field.name, field.type.value_type)
        yield from _leaves(element)
    else:
        yield field.name, field.type


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _flat(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _flat(part)
    else:
        yield value


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def scrubbed(value: Any, people: People) -> Any:
    """A JSON value without these people: elements and keys of their names go, words in texts are `[erased]`."""
    if isinstance(value, str):
        return people.scrub_text(value)
    if isinstance(value, list):
        return [scrubbed(part, people) for part in value if not (isinstance(part, str) and part in people.ids)]
    if isinstance(value, dict):
        return {people.scrub_text(k): scrubbed(part, people) for k, part in value.items() if k not in people.ids}
    return value
