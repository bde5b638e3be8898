"""Which columns of a table can name a person, however nested, and a table without the people they name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from nightshift.erasure.people import People
from nightshift.erasure.texts import OF_ITEMS, Count, cleaned_text, counted_text, names_users

ITEMS = ("item_id", "neighbour_id", "similar_id")


def has_users(schema: pa.Schema) -> bool:
    """Whether a column, or a part of one, is named as users are and holds text."""
    return any(names_users(name) and _is_text(kind) for field in schema for name, kind in _leaves(field))


def texts(schema: pa.Schema) -> list[str]:
    """The columns of plain text that could hold anything: neither users' nor items' names."""
    return [
        field.name
        for field in schema
        if _is_text(field.type) and not names_users(field.name) and field.name not in OF_ITEMS
    ]


def is_of_items(schema: pa.Schema) -> bool:
    """Whether its rows are about items: what looks like a person in their attributes is a year, a size, a number."""
    return not has_users(schema) and any(name in schema.names for name in ITEMS)


def telling(schema: pa.Schema) -> list[str]:
    """The columns in which a person can be: those of users, and where there are none, of texts."""
    users = [field.name for field in schema if has_users(pa.schema([field]))]
    return users or texts(schema)


def without_people(table: pa.Table, people: People) -> pa.Table:
    """Without the rows of these people, and without the elements of lists that are theirs.

    Columns that name users are looked at, and in tables that know neither users nor items, texts: there the person's
    name goes, and the row stays.
    """
    for number, field in enumerate(table.schema):
        if _is_list_of_users(field):
            cleaned = [_without_elements(value, field, people) for value in table[field.name].to_pylist()]
            table = table.set_column(number, field, pa.array(cleaned, field.type))
    gone = rows_of(table, people)
    table = table.filter(pc.invert(gone)) if pc.any(gone).as_py() else table
    if not has_users(table.schema) and not is_of_items(table.schema):
        for name in texts(table.schema):
            found = pc.unique(table[name].combine_chunks()).to_pylist()
            if any(text and counted_text(text, people).found for text in found):
                place = table.schema.get_field_index(name)
                scrubbed = [text and cleaned_text(text, people) for text in table[name].to_pylist()]
                field = table.schema.field(name)
                table = table.set_column(place, field, pa.array(scrubbed, field.type))
    return table


def rows_of(table: pa.Table, people: People) -> pa.ChunkedArray:
    """For each row whether a column outside lists, or a part of a struct, says that it is of one of these people."""
    wanted = pa.array(sorted(people.ids), pa.string())
    gone = pa.chunked_array([pa.array([False] * table.num_rows)])
    for field in table.schema:
        for column in _user_columns(field, table[field.name]):
            gone = pc.or_(gone, pc.fill_null(pc.is_in(column.cast(pa.string()), value_set=wanted), False))
    return gone


def occurrences(table: pa.Table, people: People, of_items: bool = False) -> Count:
    """How often these people are in columns that name users, lists included; else in texts.

    Args:
        of_items: whether the whole table is, of which these are some columns.
    """
    found = int(pc.sum(rows_of(table, people).cast(pa.int64())).as_py() or 0)
    for field in table.schema:
        if _is_list_of_users(field):
            named = names_users(field.name)
            lists = table[field.name].to_pylist()
            found += sum(_is_about(element, named, people) for value in lists for element in value or [])
    count = Count(found)
    for name in [] if has_users(table.schema) else texts(table.schema):
        values = filter(None, pc.unique(table[name].combine_chunks()).to_pylist())
        some = sum((counted_text(text, people) for text in values), Count())
        count += Count(alike=sum(some)) if of_items else some
    return count


def _is_list_of_users(field: pa.Field) -> bool:
    return pa.types.is_list(field.type) and any(names_users(name) for name, _ in _leaves(field))


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
    if isinstance(element, list):
        return any(_is_about(part, named, people) for part in element)
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


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
