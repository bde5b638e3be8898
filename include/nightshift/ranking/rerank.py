"""From scored candidates to lists that keep the rules of the configuration.

The steps, in order; what an earlier one demands, no later one can undo:
    allowed     only what is sellable and not banned
    pinned      the pinned items that are allowed, first, in their order
    cap         at most `max_per_kind` of a kind; pinned items count, and are never dropped for it
    freshness   a boost for items first seen in the last `FRESH_DAYS` days
    diversity   maximal marginal relevance (Carbonell and Goldstein 1998, doi 10.1145/290941.291025): what is like the
                items already in the list loses; two of a kind are alike, others as far as their titles share words
    fill        a list still short is completed with what is popular, under the same rules
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from nightshift.config.settings import Lists
from nightshift.features.snapshot import Snapshot
from nightshift.models.attributes import bags
from nightshift.models.coded import Coded
from nightshift.models.recommender import COLUMNS, Recommender, popular

FRESH_DAYS = 28
CANDIDATES = 100  # scored items a user that there is to choose from
BLOCK = 256  # users at a time
WORD_BUCKETS = 256
MOST_FILLERS = 2000  # popular items that a short list is completed from
PINNED = "pinned"  # the source of an entry that a rule put there, and no model


@dataclass(frozen=True)
class Rules:
    """The configuration's rules, by item position of a snapshot."""

    coded: Coded
    settings: Lists

    @cached_property
    def allowed(self) -> np.ndarray:
        banned = np.isin(self.coded.item_ids.astype(str), sorted(self.settings.banned_items) or [""])
        return self.coded.sellable & ~banned

    @cached_property
    def pinned(self) -> np.ndarray:
        at = self.coded.items.get_indexer(np.array(list(dict.fromkeys(self.settings.pinned_items)), dtype=object))
        at = at[at >= 0]
        return at[self.allowed[at]][: self.settings.size]

    @cached_property
    def kind(self) -> np.ndarray:
        """A number for each item's kind; -1 for one without, which no cap holds for. The last is of no item."""
        items = self.coded.snapshot.items
        kind = pd.factorize(items["kind"])[0] if "kind" in items else np.full(len(items), -1)
        return np.append(kind, -1)

    @cached_property
    def boost(self) -> np.ndarray:
        return self.settings.freshness * (self.coded.item_column("days_since_first") < FRESH_DAYS)

    @cached_property
    def words(self) -> np.ndarray:
        """(items + 1, WORD_BUCKETS) float32, length 1: the titles' words, rare ones count more; the last of no item."""
        found = bags(self.coded.snapshot.items, ["title"], WORD_BUCKETS)
        rows = np.repeat(np.arange(len(found.lengths)), found.lengths)
        shape = (len(found.lengths) + 1, WORD_BUCKETS)
        words = sparse.csr_array((np.ones(len(rows)), (rows, found.words)), shape=shape).toarray()
        words = np.minimum(words, 1) * np.log((1 + len(words)) / (1 + np.minimum(words, 1).sum(axis=0)))
        return (words / np.maximum(np.linalg.norm(words, axis=1, keepdims=True), 1e-9)).astype(np.float32)

    @cached_property
    def fillers(self) -> np.ndarray:
        items = popular(self.coded).items
        return items[self.allowed[items]][:MOST_FILLERS]


@dataclass(frozen=True)
class Reranked:
    """A model whose lists keep the rules: what readers get, and what the rules cost can be measured on it."""

    model: Recommender
    settings: Lists
    candidates: int = CANDIDATES

    @property
    def kind(self) -> str:
        return self.model.kind

    @property
    def as_of(self) -> dt.date | None:
        return self.model.as_of

    def recommend(self, snapshot: Snapshot, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """See `Recommender`; the rules' order, not the score's."""
        found = self.model.recommend(snapshot, user_ids, max(self.candidates, k))
        return rerank(found, snapshot, self.settings.model_copy(update={"size": k}))

    def save(self, folder: Path) -> None:
        """Write the model; the rules are the configuration's."""
        self.model.save(folder)


def rerank(lists: pd.DataFrame, snapshot: Snapshot, settings: Lists) -> pd.DataFrame:
    """The lists to publish, `settings.size` long, or as long as the rules allow.

    Args:
        lists: candidates as `Recommender.recommend` returns them, several times as many a user as a list is to hold.

    Returns:
        `COLUMNS`, by user as in `lists`, and rank. `score` stays the model's; of an entry that a rule put there it is
        the least of the user's candidates, and its `source` is "pinned" or "trending".
    """
    coded = Coded(snapshot)
    rules = Rules(coded, settings)
    user, user_ids = pd.factorize(lists["user_id"])
    width = int(lists["rank"].max()) if len(lists) else 0
    items = np.full((len(user_ids), width), -1)
    scores = np.zeros((len(user_ids), width))
    at = user, lists["rank"].to_numpy() - 1
    items[at], scores[at] = coded.items.get_indexer(lists["item_id"]), lists["score"]
    blocks = range(0, len(user_ids), BLOCK)
    chosen = [pick(items[begin : begin + BLOCK], scores[begin : begin + BLOCK], rules) for begin in blocks]
    return _entries(lists, np.concatenate([np.empty((0, settings.size), dtype=int), *chosen]), user_ids, items, rules)


def pick(items: np.ndarray, scores: np.ndarray, rules: Rules) -> np.ndarray:
    """The list of each user.

    Args:
        items: (users, candidates) positions; -1: none.
        scores: of the candidates.

    Returns:
        (users, size) positions, -1 behind the end of a list that the rules leave short.
    """
    size, pinned = rules.settings.size, rules.pinned
    relevance = _relevance(np.where(items >= 0, scores, np.nan)) + rules.boost[items]
    allowed = (items >= 0) & rules.allowed[items] & ~np.isin(items, pinned)
    items = np.hstack([np.tile(pinned, (len(items), 1)), np.where(allowed, items, -1)])
    relevance = np.hstack([np.ones((len(items), len(pinned))), relevance])
    chosen = _greedy(items, relevance, np.full(len(items), len(pinned)), rules, rules.settings.diversity)
    short = np.flatnonzero((chosen < 0).any(axis=1))
    if len(short):
        kept = chosen[short]
        fillers = np.tile(rules.fillers, (len(short), 1))
        fillers[(fillers[:, :, None] == kept[:, None, :]).any(axis=2)] = -1
        order = np.broadcast_to(-np.arange(size + fillers.shape[1], dtype=float), (len(short), size + fillers.shape[1]))
        chosen[short] = _greedy(np.hstack([kept, fillers]), order, (kept >= 0).sum(axis=1), rules, diversity=0.0)
    return chosen


def _greedy(items: np.ndarray, relevance: np.ndarray, forced: np.ndarray, rules: Rules, diversity: float) -> np.ndarray:
    """Fill the lists of all users place by place, each with the best candidate left that the cap allows.

    Args:
        forced: so many of each user's candidates, from the left, take the first places, whatever their relevance.
    """
    users, size = np.arange(len(items)), rules.settings.size
    free, kind = items >= 0, rules.kind[items]
    of_kind, likeness = np.zeros(items.shape, dtype=np.int32), np.zeros(items.shape, dtype=np.float32)
    alike = _likeness(items, rules) if diversity else None
    chosen = np.full((len(items), size), -1)
    for place in range(size if items.shape[1] else 0):
        value = (1 - diversity) * relevance - diversity * likeness
        value = np.where(free & (of_kind < rules.settings.max_per_kind), value, -np.inf)
        best = np.where(place < forced, min(place, items.shape[1] - 1), value.argmax(axis=1))
        found = (place < forced) | (value[users, best] > -np.inf)
        chosen[found, place] = items[users, best][found]
        free[users[found], best[found]] = False
        taken = np.where(found, kind[users, best], -1)
        same = (kind == taken[:, None]) & (kind >= 0)
        of_kind += same
        if alike is not None:
            likeness = np.maximum(likeness, np.where(same, 1.0, alike[users, best]) * found[:, None])
    return chosen


def _likeness(items: np.ndarray, rules: Rules) -> np.ndarray:
    """(users, candidates, candidates): cosine of the titles' words."""
    words = rules.words[items]
    return np.matmul(words, words.transpose(0, 2, 1))


def _relevance(scores: np.ndarray) -> np.ndarray:
    """Scores (NaN: no candidate) of each user from 0, the least, to 1, the greatest."""
    least = np.where(np.isnan(scores), np.inf, scores).min(axis=1, initial=np.inf, keepdims=True)
    most = np.where(np.isnan(scores), -np.inf, scores).max(axis=1, initial=-np.inf, keepdims=True)
    spread = np.where(most > least, most - least, 1.0)
    return np.where(np.isnan(scores), 0.0, (scores - np.where(np.isfinite(least), least, 0.0)) / spread)


def _entries(
    lists: pd.DataFrame, chosen: np.ndarray, user_ids: pd.Index, items: np.ndarray, rules: Rules
) -> pd.DataFrame:
    """The lists as rows; score and source are those of the candidate, where there was one."""
    row, place = np.nonzero(chosen >= 0)
    item_ids = rules.coded.item_ids[chosen[row, place]]
    found = pd.DataFrame({"user_id": np.asarray(user_ids, dtype=object)[row], "item_id": item_ids})
    known = found.merge(lists[["user_id", "item_id", "score", "source"]], on=["user_id", "item_id"], how="left")
    least = lists.groupby("user_id", sort=False)["score"].min()
    by_rule = np.where(np.isin(chosen[row, place], rules.pinned), PINNED, "trending")
    known["score"] = known["score"].fillna(known["user_id"].map(least)).astype(np.float64)
    known["source"] = known["source"].where(known["source"].notna(), by_rule)
    return known.assign(rank=(place + 1).astype(np.int32))[COLUMNS]
