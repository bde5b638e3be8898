"""Answers as the server takes them, status, headers, bytes: with tags, as gzip, safe for browsers."""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Sequence
from hashlib import blake2b

from nightshift.serving.seams import Headers

Pairs = Sequence[tuple[str, str]]
Answer = tuple[int, list[tuple[str, str]], bytes]

SAFE: Pairs = (("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"))
JSON, ENCODING = "application/json", "accept-encoding"
PAYS = 0.9  # of the bytes that must be left, at most, for gzip to be worth it
FASTEST, GZIP_FORMAT = 1, 31
HEAD = 2048  # bytes of an answer that hold its stamp
STAMPED = re.compile(rb'"run_date":"([^"]*)","run_id":"([^"]*)".*?"variant":"([^"]*)"', re.DOTALL)


def plain_headers(kind: str, cache: str, more: Pairs = ()) -> list[tuple[str, str]]:
    return [("content-type", kind), ("cache-control", cache), *SAFE, *more]


UNTAGGED = plain_headers(JSON, "no-store")  # of what will be better in a moment


@functools.lru_cache(maxsize=256)
def accepts_gzip(accept: str) -> bool:
    """Whether an Accept-Encoding header asks for gzip (RFC 9110, 12.5.3)."""
    for part in accept.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def packed(body: bytes) -> bytes | None:
    """The body as gzip, where that is worth it."""
    compressor = zlib.compressobj(FASTEST, wbits=GZIP_FORMAT)
    found = compressor.compress(body) + compressor.flush()
    return found if len(found) <= PAYS * len(body) else None


class Tagged:
    """The headers of answers that are the same for as long as their tag is: plain, as gzip, and unchanged (304).

    Args:
        tag: of the plain answer; unique for what it says, whatever the address.
        vary: the request headers that the answer depends on.
    """

    __slots__ = ("gzip_tag", "packed", "plain", "tag", "unchanged")

    def __init__(self, kind: str, cache: str, tag: str, more: Pairs = (), vary: str = ENCODING) -> None:
        self.tag, self.gzip_tag = f'"{tag}"', f'"{tag}-gzip"'
        varies = ("vary", vary)
        self.plain = plain_headers(kind, cache, (("etag", self.tag), varies, *more))
        self.packed = plain_headers(kind, cache, (("etag", self.gzip_tag), varies, ("content-encoding", "gzip"), *more))
        self.unchanged = {
            tag: [("cache-control", cache), ("etag", tag), varies, *SAFE] for tag in (self.tag, self.gzip_tag)
        }

    def if_unchanged(self, wanted: str) -> Answer | None:
        """304, where an If-None-Match header names one of the tags (RFC 9110, 13.1.2)."""
        for part in wanted.split(","):
            tag = part.strip().removeprefix("W/")
            if tag in self.unchanged:
                return 304, self.unchanged[tag], b""
            if tag == "*":
                return 304, self.unchanged[self.tag], b""
        return None

    def answer(self, body: bytes, headers: Headers, gzip_from: int) -> Answer:
        """200 with this body, as gzip where that is asked for, the body is longer than `gzip_from`, and it pays."""
        if 0 < gzip_from < len(body):
            accept = headers.get("accept-encoding")
            if accept is not None and accepts_gzip(accept) and (smaller := packed(body)):
                return 200, self.packed, smaller
        return 200, self.plain, body


def run_of(pairs: Pairs, body: bytes) -> dict[str, str]:
    """The run and the variant that an answer says it is of, as far as it does: for traces."""
    head = (
        zlib.decompressobj(GZIP_FORMAT).decompress(body, HEAD) if ("content-encoding", "gzip") in pairs else body[:HEAD]
    )
    found = STAMPED.search(head)
    return {"run": f"{found[1].decode()}/{found[2].decode()}", "variant": found[3].decode()} if found else {}


def tag_of(*parts: bytes) -> str:
    """A tag for what these bytes say."""
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(b"%d " % len(part) + part)
    return digest.hexdigest()
