"""Text that was written in one encoding and read in another, or with bytes that are no text: how it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

_FOLLOWS = "".join(bytes([byte]).decode("cp1252", "ignore") for byte in range(0x80, 0xC0))
_FOLLOWS = f"[\u0080-\u00bf{_FOLLOWS}]"  # what the second byte of a UTF-8 character is in Latin-1 and in Windows' own

GARBLED = f"\\x00|\ufffd|[ÂÃ]{_FOLLOWS}|â€|(?:[ÐÑ]{_FOLLOWS}){{2}}"
"""A regular expression, for Java, RE2 and Python alike: NUL, which fixed-width strings lose at their end, so that two
ids would be one; the replacement character, which stands where bytes were no UTF-8; or UTF-8 read as Latin-1 or
Windows-1252, of Western text ('CafÃ©', 'Itâ€™s') and of Cyrillic ('ÐœÐ¸')."""


def garbled(column: Column) -> Column:
    """Whether a text shows an encoding slip, or holds NUL."""
    from pyspark.sql import functions as F

    return F.coalesce(column.rlike(GARBLED), F.lit(False))
