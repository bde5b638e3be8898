"""Read a page as a strict reader would: every element closed, every id once, nothing fetched from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "path", "use", "rect", "circle"}  # SVG's are written closed, as <path/>

WORDS = {"title", "aria-label"}


class Page(HTMLParser):
    """A parsed page.

    Attributes:
        text: all that is shown, the space between words made one.
        ids, links: of its elements; `links` are href and src.
        headings: the text of each h2.
        tags: how often each element occurs.
        images: what is read aloud of each svg that is not hidden from readers.
        addresses: wherever something could be fetched from: attributes and style sheets.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.headings: list[str] = []
        self.images: list[str | None] = []
        self.tags: dict[str, int] = {}
        self.parts: list[str] = []
        self.addresses: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"
        self.text = " ".join(" ".join(self.parts).split())

    def handle_starttag(self, tag, attrs):
        self._seen(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self._seen(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data):
        if "style" in self.open:
            self.addresses.append(data)
            return
        if self.open and self.open[-1] == "h2":
            self.headings.append(data.strip())
        self.parts.append(data)

    def _seen(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        named = dict(attrs)
        if "id" in named:
            self.ids.append(named["id"])
        self.addresses += [value or "" for name, value in attrs if name not in WORDS]
        self.links += [value for name, value in attrs if name in ("href", "src", "xlink:href") and value]
        if tag == "svg" and named.get("aria-hidden") != "true":
            self.images.append(named.get("aria-label") if named.get("role") == "img" else None)


def check(html: str) -> Page:
    """Parse a page and hold it to what every page of ours keeps."""
    page = Page(html)
    assert html.startswith("<!doctype html>\n<html lang=")
    assert len(page.ids) == len(set(page.ids))
    assert all(page.images), "a picture without words"
    fetched = [text for text in page.addresses if re.search(r"\w+:/|//\w|@import|url\((?!#)", text)]
    assert not fetched
    assert all(link.startswith(("#", "../", "data:,")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert "script" not in page.tags
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html
    return page
