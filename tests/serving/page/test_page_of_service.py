"""The page of a running service: a published list, what was bought before, and another run beside it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightshift.publishing.lists import load_lists
from nightshift.publishing.pointer import make_live
from nightshift.publishing.storage import open_storage
from tests.publishing.planted import ITEMS, NOW, day, publish_lists, write_lists, write_more
from tests.serving.page.browser import Browser, Keys, needs_browser, wait_until
from tests.serving.running import running, write_config

pytestmark = needs_browser

CUSTOMER = "17850"
BOUGHT = {CUSTOMER: [("22423", dt.date(2011, 11, 27), 3)]}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Two nights, of which the second is live, and the page of the service that serves them."""
    folder = tmp_path_factory.mktemp("page")
    address = ((folder / "published").as_uri(), None)
    storage = open_storage(*address)
    for number, mark in ((29, "yesterday"), (30, "tonight")):
        lists = load_lists(write_more(write_lists(folder / mark, mark), ["country:France"], BOUGHT))
        make_live(storage, "home", publish_lists(storage, day(number), "night", lists).run, NOW)
    with running(write_config(folder, address)) as url:
        browser = Browser(url)
        yield browser
        browser.driver.quit()


def test_a_customer_has_the_published_list_and_what_they_bought(browser: Browser, tmp_path: Path) -> None:
    browser.open()
    browser.press(CUSTOMER, Keys.ENTER)
    assert browser.items() == list(ITEMS)
    assert "item 22423 of tonight" in browser.text(".columns > section:first-child .list")
    wait_until(lambda: bool(browser.all(".history")), "what was bought")
    assert "item 22423 of tonight" in browser.text(".history")
    assert "27 Nov 2011" in browser.text(".history")
    assert browser.complaints() == []


def test_a_stranger_gets_their_countrys_list_and_is_told_so(browser: Browser) -> None:
    browser.open(user="nobody", segment="country:France")
    assert browser.items() == list(reversed(ITEMS))
    wait_until(lambda: "country:France" in browser.text("main"), "whose list it is")


def test_last_nights_list_lies_beside_tonights(browser: Browser) -> None:
    browser.open(user=CUSTOMER, compare="run:2011-11-29/night")
    beside = ".columns > section:nth-child(2)"
    wait_until(lambda: bool(browser.all(f"{beside} .list .item")), "the other list")
    titles = "".join(browser.texts(".columns .list"))
    assert "item 22423 of tonight" in titles
    assert "item 22423 of yesterday" in titles
    assert browser.complaints() == []
