"""The page of a running service: a published list, what was bought, and another run, or a variant's, beside it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from selenium.webdriver.support.ui import Select

from nightshift.publishing.lists import load_lists
from nightshift.publishing.pointer import make_live
from nightshift.publishing.storage import open_storage
from nightshift.serving.guard.keys import hash_of, new_key
from tests.experiments.declared import experiment, layer
from tests.publishing.planted import ITEMS, NOW, day, publish, publish_lists, publish_live, write_lists, write_more
from tests.serving.page.browser import Browser, Keys, needs_browser, wait_until
from tests.serving.running import running, write_config

pytestmark = needs_browser

CUSTOMER = "17850"
KEYS = {role: new_key() for role in ("reader", "tester")}
TREATED = "variant:ranking=treatment"
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


@pytest.fixture(scope="module")
def experimenting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The page of a service that asks for keys, and in whose experiment the customer has the control's lists."""
    folder = tmp_path_factory.mktemp("experiment")
    address = ((folder / "published").as_uri(), None)
    storage = open_storage(*address)
    publish_live(storage, day(30), "night", "the champion")
    make_live(storage, "home", publish(storage, day(30), "challenger-7", "the challenger").run, NOW, "challenger")
    keys = [{"name": role, "hash": hash_of(key), "role": role} for role, key in KEYS.items()]
    (folder / "keys.yaml").write_text(yaml.safe_dump({"keys": keys}), encoding="utf-8")
    config = write_config(folder, address, guard={"keys": "keys.yaml"})
    variants = [{"name": "control"}, {"name": "treatment", "channel": "challenger"}]
    declared = {
        "channels": {"challenger": "challenger"},
        "layers": [layer("lists", 1, experiment("ranking", 0, 1, variants=variants))],
    }
    values = yaml.safe_load(config.read_text(encoding="utf-8")) | {"experiments": declared}
    config.write_text(yaml.safe_dump(values), encoding="utf-8")
    with running(config) as url:
        browser = Browser(url)
        yield browser
        browser.driver.quit()


def use_key(browser: Browser, role: str) -> None:
    """Open the customer's page in a tab that has no key yet, and give it one."""
    browser.driver.switch_to.new_window("tab")
    browser.open(user=CUSTOMER)
    wait_until(lambda: browser.one("#key-form").is_displayed(), "the question for a key")
    browser.one("#key").send_keys(KEYS[role], Keys.ENTER)
    assert browser.items() == list(ITEMS)
    wait_until(lambda: bool(browser.all(f"#compare option[value='{TREATED}']")), "the experiment's variants")


def test_a_tester_sees_the_run_of_the_variant_that_they_choose(experimenting: Browser) -> None:
    browser = experimenting
    use_key(browser, "tester")
    assert browser.text(".facts") == "Run of 30 Nov 2011 · two stage 7 · home · night"
    Select(browser.one("#compare")).select_by_visible_text("ranking: treatment")
    wait_until(lambda: len(browser.all(".columns .list")) == 2, "the variant's list")
    assert browser.texts(".columns h2")[:2] == ["Served now", "ranking: treatment"]
    assert browser.texts(".facts") == [
        "Run of 30 Nov 2011 · two stage 7 · home · night",
        "Run of 30 Nov 2011 · two stage 7 · variant treatment · home · challenger-7",
    ]
    titles = browser.texts(".columns .list")
    assert ["of the challenger" in title for title in titles] == [False, True]
    Select(browser.one("#compare")).select_by_visible_text("ranking: control")
    wait_until(lambda: browser.texts(".columns h2")[1:2] == ["ranking: control"], "the control's list")
    assert [facts.rpartition(" · ")[2] for facts in browser.texts(".facts")] == ["night", "night"]
    assert browser.complaints() == []


def test_who_is_no_tester_is_told_that_a_variant_is_not_theirs_to_choose(experimenting: Browser) -> None:
    browser = experimenting
    use_key(browser, "reader")
    Select(browser.one("#compare")).select_by_value(TREATED)
    wait_until(lambda: bool(browser.all(".note.bad")), "why there is no other list")
    assert "for callers with the role tester" in browser.text(".note.bad")
    assert browser.texts(".facts") == ["Run of 30 Nov 2011 · two stage 7 · home · night"]
