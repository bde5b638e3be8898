from typing import Any

import pandas as pd
import pytest

from nightshift.evaluation.compare import Case, compare, compare_all
from nightshift.evaluation.labels import labels
from nightshift.evaluation.rules_cost import rule_steps, rules_cost
from nightshift.models.baselines import Repeat
from nightshift.ranking.rerank import Reranked
from tests import shop
from tests.ranking.shelves import lists

VIEW = shop.snapshots()[1]
TRUTH = labels(shop.interactions(), shop.TEST_CUTOFF, shop.RUN_DATE, VIEW)
RULES = lists(
    {"rule": "already_bought", "mode": "drop"},
    {"rule": "pinned", "items": ["RIBBON00", "RIBBON01"]},
    {"rule": "cap", "by": "kind", "most": 9},
)


def cost_of(truth: pd.DataFrame) -> list[dict[str, Any]]:
    [found] = compare_all([Case(rule_steps(Repeat(), RULES), truth, 10, character=False)], VIEW)
    return rules_cost(found.values, RULES)


def test_a_step_is_measured_with_all_before_it_and_the_last_is_what_readers_get():
    steps = cost_of(TRUTH)
    assert [step["rule"] for step in steps] == [
        "scores", "already_bought: mode drop, factor 1.0", "pinned: 2 items", "cap: by kind, most 9",
    ]  # fmt: skip
    ready = {"scores": Repeat(), "readers": Reranked(Repeat(), RULES)}
    found = compare(ready, VIEW, TRUTH, 10).metrics
    assert steps[0]["ndcg"] == pytest.approx(found["scores"]["ndcg"])
    assert steps[-1]["ndcg"] == pytest.approx(found["readers"]["ndcg"])
    costs = [step["cost"] for step in steps]
    assert costs[0] == 0
    assert sum(costs) == pytest.approx(steps[0]["ndcg"] - steps[-1]["ndcg"])
    assert costs[1] > 0.1  # half of what they buy they have bought before
    assert costs[1] > 3 * steps[1]["error"] > 0


def test_over_nobody_nothing_is_measured():
    assert cost_of(TRUTH.iloc[:0]) == []
