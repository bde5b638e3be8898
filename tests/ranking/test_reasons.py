import pandas as pd
import pytest
from pydantic import ValidationError

from nightshift.config.settings import Reasons
from nightshift.ranking.reasons import with_reasons
from tests import shop

ENGLISH = Reasons()
ROWS = [("u", "a", 0, "1"), ("u", "a", 5, "2"), ("u", "b", 9, "3"), ("u", "c", 8, "4"), ("u", "d", 4, "5")]
ROWS += [(other, item, 3, other) for other in ("v", "w") for item in ("b", "e")]
VIEW = shop.snapshot(shop.events(ROWS), shop.FIRST.replace(day=10))
VIEW.items["title"] = VIEW.items["item_id"].map({"a": "ANCHOR", "b": "BELL", "c": "CANDLE", "d": "DRUM", "e": None})


def reason(item: str, source: str, user: str = "u", words: Reasons = ENGLISH) -> str:
    lists = pd.DataFrame({"user_id": [user], "item_id": [item], "source": [source]})
    return with_reasons(lists, VIEW, words)["reason"].iloc[0]


def test_a_repeated_purchase_tells_how_often_and_when():
    assert reason("a", "repeat") == "You bought this 2 times, last 4 days ago"
    assert reason("b", "repeat") == "You bought this today"
    assert reason("c", "repeat") == "You bought this yesterday"
    assert reason("d", "repeat") == "You bought this 5 days ago"


def test_bought_together_names_the_other_item():
    assert reason("e", "cooccurrence") == "Often bought with BELL"


def test_an_item_without_a_title_is_not_named():
    assert reason("b", "cooccurrence", user="v") == "Often bought with your recent purchases"


def test_other_sources_have_a_sentence_each():
    assert reason("a", "trending") == "Popular this month"
    assert reason("a", "two_tower") == "Matches your recent purchases"
    assert reason("a", "pinned")


def test_what_is_not_known_has_a_reason_too():
    assert reason("a", "repeat", user="nobody") == "You bought this before"
    assert reason("e", "cooccurrence", user="nobody") == "Often bought with your recent purchases"


def test_the_popular_list_has_no_user():
    assert with_reasons(pd.DataFrame({"item_id": ["a"], "source": ["trending"]}), VIEW, ENGLISH)["reason"].tolist() == [
        "Popular this month"
    ]


def test_a_shop_says_it_in_its_own_words():
    words = Reasons(
        repeat="{ago} gesehen", repeat_often="{times}-mal gesehen, zuletzt {ago}", days_ago="vor {days} Tagen",
        yesterday="gestern", cooccurrence="Wer {title} sah, sah auch das", trending="Beliebt {{gerade}}",
    )  # fmt: skip
    assert reason("a", "repeat", words=words) == "2-mal gesehen, zuletzt vor 4 Tagen"
    assert reason("c", "repeat", words=words) == "gestern gesehen"
    assert reason("e", "cooccurrence", words=words) == "Wer BELL sah, sah auch das"
    assert reason("b", "repeat", words=words) == "today gesehen", "what is not said otherwise"
    assert reason("a", "trending", words=words) == "Beliebt {gerade}"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"repeat": "{when}"}, r"'\{when\}': what can be put in is \{ago\}"),
        ({"repeat_often": "{ago"}, r"can be put in is \{ago\} and \{times\}"),
        ({"trending": "{title}"}, "can be put in is nothing"),
        ({"repeat": "{ago.year}"}, r"can be put in is \{ago\}"),
        ({"repeat": "{}"}, r"can be put in is \{ago\}"),
    ],
)
def test_words_with_a_place_for_what_is_not_known_are_refused(words, told):
    with pytest.raises(ValidationError, match=told):
        Reasons(**words)
