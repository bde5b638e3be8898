from typing import Any

from nightshift.registry.card import model_card

FIRST_FIT = "a refresh of the champion's, version 5, as of 2011-11-01"
DAYS = {"ranker": "2011-11-02", "test": "2011-11-16", "serving": "2011-11-30"}


def sliced(*means: float) -> list[dict[str, Any]]:
    names = ("1 basket", "2 to 4")
    return [
        {"by": "history", "slice": name, "users": users, "mean": mean, "low": None if users == 1 else 0.0, "high": 0.5}
        for name, users, mean in zip(names, (1, 300), means, strict=True)
    ]


def trained(**changed: Any) -> dict[str, Any]:
    figures = {"two_stage": {"ndcg": 0.3721, "recall": 0.388, "map": None}, "repeat": {"ndcg": 0.3, "recall": 0.33}}
    calibration = {"days": 14, "entries": 1000, "users": 10, "rate": 0.05, "ece": 0.0123}
    found = {"metrics": figures, "metrics_new": {"two_stage": {"ndcg": 0.11}}, "calibration": calibration}
    found["slices"] = {"two_stage": sliced(0.2, 0.4), "repeat": sliced(0.3, 0.3)}
    return {
        **found,
        "params": {"seed": 1, "ranker.objectives": ("lambdarank", "binary")},
        "tables": {"events": 7},
        "users": 4321,
        "items": 98,
        "first_fit": FIRST_FIT,
        **changed,
    }


def test_a_card_tells_data_figures_slices_and_limits():
    card = model_card("shop", trained(), DAYS, "ndcg", 20, "0.1.0+abc")
    for told in (
        "# shop: the two-stage model of 2011-11-30",
        "gradient-boosted trees (lambdarank, binary)",
        "4,321 users and 98 items",
        f"The first two-tower fit, as of 2011-11-02, is {FIRST_FIT}.",
        "| two_stage | 0.3721 | 0.3880 |",
        "| history | 2 to 4 | 300 | 0.4000 | 0.0000 to 0.5000 |",
        "within 14 days",
        "0.0123",
        "Worse than repeat for: history 1 basket.",
        "Fewer than 30 users of the test, so that little can be told: history 1 basket.",
        "0.1.0+abc",
    ):
        assert told in card, told
    again = model_card("shop", trained(tables={"events": 8}), DAYS, "ndcg", 20, "0.1.0+abc")
    assert again == card, "rows that were written again are another version of their table, and make the same model"


def test_where_scores_mean_nothing_the_card_says_so():
    assert "no more than the order" in model_card("shop", trained(calibration=None), DAYS, "ndcg", 20, "x")
