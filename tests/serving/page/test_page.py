"""The page in a real browser: what a person types, presses and sees; on a phone, without a mouse, and with bad data."""

from __future__ import annotations

import base64
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.serving.page.browser import Browser, Keys, needs_browser, wait_until
from tests.serving.page.recorded_service import BEFORE, EVIL, LIVE, RECORDED, RecordedService

pytestmark = needs_browser

IMAGES = os.environ.get("NIGHTSHIFT_WRITE_IMAGES")  # a folder for pictures of the page
CUSTOMER = "13991"
OWN = [entry["item_id"] for entry in RECORDED["lists"][LIVE][CUSTOMER]]
TITLES = {entry["item_id"]: entry["title"] for entry in RECORDED["lists"][LIVE][CUSTOMER]}


@pytest.fixture(scope="module")
def recorded() -> Iterator[RecordedService]:
    service = RecordedService()
    yield service
    service.close()


@pytest.fixture(scope="module")
def session(recorded: RecordedService) -> Iterator[Browser]:
    browser = Browser(recorded.url)
    yield browser
    browser.driver.quit()


@pytest.fixture
def service(recorded: RecordedService) -> RecordedService:
    recorded.reset()
    return recorded


@pytest.fixture
def browser(session: Browser, service: RecordedService) -> Iterator[Browser]:
    """The session, as if new; nothing may be left on its console."""
    session.size(1280, 900)
    session.scheme("light")
    session.open()
    session.run("sessionStorage.clear()")
    session.complaints()
    yield session
    assert session.complaints() == []


def test_a_person_types_a_customer_presses_enter_and_sees_the_list(browser: Browser) -> None:
    assert browser.text("h2") == "Whose list?"
    wait_until(lambda: "Serving the live run" in browser.text("#status"), "the status")
    assert "of 30 Nov 2011" in browser.text("#status")
    browser.press(CUSTOMER, Keys.ENTER)
    assert browser.items() == OWN
    first = browser.all(".list .item")[0].text.splitlines()
    entry = RECORDED["lists"][LIVE][CUSTOMER][0]
    name = f"{entry['title']}{entry['item_id']}"
    assert first == ["Place", "1", name, entry["reason"], "score", f"{entry['score']:.3g}"]
    assert browser.text(".facts") == "Run of 30 Nov 2011 · two stage 5 · home · scheduled__2011-12-01"
    assert sum(int(text.rsplit(" ", 1)[1]) for text in browser.texts(".legend li")) == len(OWN)
    bought, (latest, *_) = browser.texts(".history li"), RECORDED["history"][CUSTOMER]
    assert len(bought) == len(RECORDED["history"][CUSTOMER])
    assert bought[0] == f"{latest['title']}\n27 Nov 2011\n{latest['times']} times"
    again = {item for item in OWN if item in {entry["item_id"] for entry in RECORDED["history"][CUSTOMER]}}
    assert len(browser.all(".list .tag")) == len(again) > 0
    assert browser.address() == f"/#user={CUSTOMER}"
    assert browser.driver.title == f"{CUSTOMER} · nightshift"


def test_k_and_segment_are_asked_for_and_the_customer_is_in_no_query(
    browser: Browser, service: RecordedService
) -> None:
    browser.open(user=CUSTOMER, k="3", segment="country:United Kingdom")
    assert browser.items() == OWN[:3]
    assert f"/v1/users/{CUSTOMER}/recommendations?k=3&segment=country%3AUnited+Kingdom" in service.asked
    assert not [address for address in service.asked if CUSTOMER in address and not address.startswith("/v1/users/")]


def test_an_unknown_customer_gets_a_list_and_is_told_whose(browser: Browser) -> None:
    browser.one(".nothing button").send_keys(Keys.ENTER)
    assert browser.items() == [entry["item_id"] for entry in RECORDED["popular"]]
    assert browser.focused().get_attribute("id") == "answer"
    assert browser.text(".note.warn") == (
        "Not this customer's own list. The run of 2011-11-30 does not know this user; these items are popular."
    )
    assert browser.text(".history p") == "The run holds no purchases of this customer."


def test_two_runs_side_by_side_say_what_moved_and_what_is_new(browser: Browser) -> None:
    browser.open(user=CUSTOMER)
    browser.items()
    wait_until(lambda: len(browser.all("#compare option")) == 4, "what it can be compared with")
    options = browser.all("#compare option")
    assert [option.text for option in options] == [
        "nothing",
        "29 Nov 2011 · scheduled__2011-11-30",
        "ranking: control",
        "ranking: challenger",
    ]
    options[1].click()
    before, after = ".columns > section:nth-child(1)", ".columns > section:nth-child(2)"
    other = [entry["item_id"] for entry in RECORDED["lists"][BEFORE][CUSTOMER]]
    wait_until(lambda: bool(browser.all(after + " .list .item")), "the other list")
    assert (browser.items(before), browser.items(after)) == (other, OWN), "the earlier run comes first"
    assert browser.address() == "/#" + urlencode({"user": CUSTOMER, "compare": f"run:{BEFORE}"})

    fresh = [item for item in OWN if item not in other]
    assert 0 < len(fresh) < len(OWN), "the recorded runs differ"
    said = dict(zip(OWN, browser.texts(after + " .move > :first-child"), strict=True))
    assert said == {item: move(other.index(item) - at) if item in other else "new" for at, item in enumerate(OWN)}
    went = dict(zip(other, browser.texts(before + " .move > :first-child"), strict=True))
    assert went == {item: f"→ {OWN.index(item) + 1}" if item in OWN else "gone" for item in other}
    assert browser.texts(".sums dd")[:2] == [f"{len(OWN) - len(fresh)} of {len(OWN)}", str(len(fresh))]


def move(by: int) -> str:
    return "=" if by == 0 else f"▲ {by}" if by > 0 else f"▼ {-by}"


def test_a_variant_is_asked_for_as_a_tester_does(browser: Browser) -> None:
    browser.open(user=CUSTOMER, compare="variant:ranking=challenger")
    browser.items(".columns > section:nth-child(2)")
    assert "variant challenger" in browser.texts(".facts")[1]
    assert browser.one("#compare").get_attribute("value") == "variant:ranking=challenger"


def test_a_comparison_that_is_refused_leaves_the_list(browser: Browser) -> None:
    browser.open(user=CUSTOMER, compare="run:2011-01-01/gone")
    assert browser.items() == OWN
    assert browser.text(".note.bad") == "There is nothing to compare with. There is no run 2011-01-01/gone."


def test_a_click_shows_similar_items_to_go_on_from_and_the_address_keeps_the_place(browser: Browser) -> None:
    item = next(item for item in OWN if RECORDED["similar"].get(item, {}).get("items"))
    browser.open(user=CUSTOMER)
    browser.items()
    browser.one(f'[data-item="{item}"]').click()
    assert browser.text(".like h3") == f"Like {TITLES[item]}"
    similar = RECORDED["similar"][item]["items"]
    assert [text.splitlines()[0] for text in browser.texts(".like li")] == [entry["title"] for entry in similar]
    assert browser.address().endswith(f"&item={item}")
    browser.all(".like li button")[0].click()
    wait_until(lambda: browser.text(".like h3") == f"Like {similar[0]['title']}", "items like that one")
    browser.one(".like > .plain").click()
    wait_until(lambda: browser.text(".like h3") == f"Like {TITLES[item]}", "those before")
    browser.driver.refresh()
    assert browser.text(".like h3") == f"Like {TITLES[item]}"


def test_back_shows_what_was_there_before(browser: Browser) -> None:
    browser.press(CUSTOMER, Keys.ENTER)
    browser.items()
    browser.press("17850", Keys.ENTER)
    wait_until(lambda: "17850" in browser.driver.title and "List of 17850" in browser.texts("h2"), "the next list")
    browser.driver.back()
    wait_until(lambda: f"List of {CUSTOMER}" in browser.texts("h2"), "the list before")
    assert browser.one("#user").get_attribute("value") == CUSTOMER
    browser.driver.back()
    wait_until(lambda: "Whose list?" in browser.texts("h2"), "the beginning")


def test_the_keyboard_alone_does_it_all_in_the_order_that_is_seen(browser: Browser) -> None:
    browser.run("document.activeElement.blur()")
    order = []
    for _ in range(6):
        browser.press(Keys.TAB)
        order.append(browser.focused().get_attribute("id") or browser.focused().text)
    assert order == ["skip", "user", "segment", "k", "compare", "Show list"]
    browser.press("/")
    assert browser.focused().get_attribute("id") == "user"
    browser.press(CUSTOMER, Keys.TAB, Keys.TAB, "5", Keys.ENTER)
    assert browser.items() == OWN[:5]
    browser.run("document.querySelector('.skip').focus()")
    browser.press(Keys.ENTER, Keys.TAB)
    assert browser.focused().get_attribute("data-item") == OWN[0]
    assert browser.address() == f"/#user={CUSTOMER}&k=5"
    browser.press(Keys.TAB, Keys.ENTER)
    assert browser.one(".like").is_displayed()
    assert browser.focused().get_attribute("aria-expanded") == "true"
    browser.press(Keys.TAB, Keys.ENTER)
    wait_until(lambda: len(browser.all(".like > .plain")) == 1, "items like the similar one")
    assert browser.run("return document.querySelector('.like').contains(document.activeElement)")
    browser.press(Keys.ESCAPE)
    assert browser.all(".like") == []
    assert browser.focused().get_attribute("data-item") == OWN[1]
    assert browser.focused().get_attribute("aria-expanded") == "false"


def test_what_can_be_used_has_a_name_and_what_happens_is_said(browser: Browser, service: RecordedService) -> None:
    service.surfaces = ["home", "email"]
    browser.open(user=CUSTOMER, compare=f"run:{BEFORE}", item=OWN[0])
    browser.items()
    browser.one(".like")
    wait_until(lambda: browser.one("#surface").is_displayed(), "the surfaces")
    for element in browser.all("button, input, select, a, section, [role=region]"):
        if element.is_displayed():
            assert element.accessible_name, element.get_attribute("outerHTML")[:200]
    assert browser.one("#said").get_attribute("role") == "status"
    levels = [int(heading.tag_name[1]) for heading in browser.all("h1, h2, h3")]
    assert levels[0] == 1
    assert all(then - first <= 1 for first, then in itertools.pairwise(levels))


CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast_enough(browser: Browser, scheme: str) -> None:
    """4.5 to 1: WCAG 2.2, 1.4.3."""
    browser.scheme(scheme)
    browser.open(user=CUSTOMER, compare=f"run:{BEFORE}", item=OWN[0])
    browser.items()
    browser.one(".like")
    found = browser.run(CONTRAST)
    assert len(found) > 100
    assert [text for ratio, text in found if ratio < 4.5] == []


WIDER = """
return [...document.querySelectorAll("main *")]
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".hidden"))
  .map((e) => e.outerHTML.slice(0, 80));
"""


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
@pytest.mark.parametrize("compared", [False, True], ids=["a list", "two lists"])
def test_nothing_is_wider_than_the_screen(browser: Browser, width: int, compared: bool) -> None:
    browser.size(width, 740)
    browser.open(user=CUSTOMER, item=OWN[0], **({"compare": f"run:{BEFORE}"} if compared else {}))
    browser.items()
    browser.one(".like")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run(WIDER) == []


def test_names_of_any_length_fit_on_a_phone(browser: Browser) -> None:
    browser.size(360, 740)
    browser.open(user="x" * 400)
    browser.items()
    assert browser.run("return document.documentElement.scrollWidth") <= 360


def test_whatever_the_store_and_the_address_hold_is_shown_as_text_and_never_run(browser: Browser) -> None:
    browser.open(user=EVIL, item=EVIL)
    assert browser.items() == [EVIL]
    assert EVIL in browser.text(".like h3")
    assert browser.text(".list .name") == EVIL + EVIL
    assert EVIL in browser.text(".history li")
    browser.open(user="<b>", compare=f"run:{EVIL}")
    browser.items()
    assert EVIL in browser.text(".note.warn")
    assert browser.all("main img, main script, main b") == []
    assert "hacked" not in browser.driver.title


def test_a_key_is_asked_for_kept_in_the_tab_and_not_in_the_address(browser: Browser, service: RecordedService) -> None:
    service.key = "nsk_secret"
    browser.open(user=CUSTOMER)
    wait_until(lambda: browser.one("#key-form").is_displayed(), "the question for a key")
    assert "A key is needed" in browser.text(".nothing")
    browser.one("#key").send_keys("nsk_secret", Keys.ENTER)
    assert browser.items() == OWN
    assert not browser.one("#key-form").is_displayed()
    assert "secret" not in browser.address() + "".join(service.asked)
    browser.driver.refresh()
    assert browser.items() == OWN


def test_before_the_first_night_it_says_so_and_asks_again_when_told_to(
    browser: Browser, service: RecordedService
) -> None:
    service.down = 503
    browser.open(user=CUSTOMER)
    wait_until(lambda: "There is nothing to show yet" in browser.texts("h2"), "what is wrong")
    assert "nothing is published for home. Run a night." in browser.text(".nothing p")
    service.down = 0
    browser.one(".nothing button").click()
    assert browser.items() == OWN


def test_a_run_that_will_never_be_read_is_not_said_to_come(browser: Browser, service: RecordedService) -> None:
    service.down = 409
    browser.open(user=CUSTOMER)
    wait_until(lambda: "This run cannot be read" in browser.texts("h2"), "what is wrong")


def test_while_it_waits_it_shows_so_and_the_last_question_wins(browser: Browser, service: RecordedService) -> None:
    service.go_on.clear()
    browser.press(CUSTOMER, Keys.ENTER)
    assert browser.one("#answer").get_attribute("aria-busy") == "true"
    assert len(browser.all(".skeleton")) > 5
    browser.press("17850", Keys.ENTER)
    service.go_on.set()
    wait_until(lambda: "List of 17850" in browser.texts("h2"), "the list asked for last")
    assert browser.all(".skeleton") == []
    assert browser.one("#answer").get_attribute("aria-busy") is None


def test_a_service_that_goes_away_is_said_to_be_away(browser: Browser, service: RecordedService) -> None:
    browser.open(user=CUSTOMER)
    browser.items()
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.command("Network.enable")
    browser.command("Network.emulateNetworkConditions", offline=True, **offline)
    try:
        browser.one("#ask .primary").click()
        wait_until(lambda: "The service cannot be reached." in browser.texts(".nothing p"), "the error")
    finally:
        browser.command("Network.emulateNetworkConditions", offline=False, **offline)
    assert all("ERR_INTERNET_DISCONNECTED" in message for message in browser.complaints())


def test_who_looks_while_another_run_goes_live_is_offered_its_list(browser: Browser, service: RecordedService) -> None:
    service.live = BEFORE
    browser.open(user=CUSTOMER)
    browser.items()
    service.live = LIVE
    browser.run("window.dispatchEvent(new Event('focus'))")
    wait_until(lambda: bool(browser.all("#newer")), "the note")
    assert browser.text("#newer span") == "Another run is live now, of 30 Nov 2011."
    browser.one("#newer button").click()
    wait_until(lambda: browser.all("#newer") == [] and "30 Nov 2011" in "".join(browser.texts(".facts")), "its list")


def test_an_empty_question_is_not_asked(browser: Browser, service: RecordedService) -> None:
    browser.press("   ", Keys.ENTER)
    assert "wrong" in browser.one("#user").get_attribute("class")
    assert browser.focused().get_attribute("id") == "user"
    assert not [address for address in service.asked if address.startswith("/v1/users")]


@pytest.mark.parametrize(
    ("name", "size", "scheme", "shown"),
    [
        ("lookup-page", (1200, 1000), "light", {"user": CUSTOMER, "item": OWN[2]}),
        ("lookup-page-compared", (1200, 1000), "dark", {"user": CUSTOMER, "compare": f"run:{BEFORE}"}),
        ("lookup-page-phone", (360, 1100), "light", {"user": CUSTOMER, "item": OWN[0]}),
    ],
)
def test_pictures_of_the_page_can_be_made(
    browser: Browser, name: str, size: tuple[int, int], scheme: str, shown: dict[str, str]
) -> None:
    """NIGHTSHIFT_WRITE_IMAGES=docs/images keeps them."""
    browser.size(*size)
    browser.scheme(scheme)
    browser.command("Emulation.setScrollbarsHidden", hidden=True)
    browser.open(**shown)
    browser.items()
    if "item" in shown:
        browser.one(".like")
    browser.run("document.activeElement.blur(); scrollTo(0, 0)")
    picture = base64.b64decode(browser.command("Page.captureScreenshot", format="png")["data"])
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000
    if IMAGES:
        Path(IMAGES, f"{name}.png").write_bytes(picture)
