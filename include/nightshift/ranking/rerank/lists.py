"""Candidates in, lists out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nightshift.config.settings import Lists
from nightshift.features.snapshot import Snapshot
from nightshift.models.coded import Coded
from nightshift.models.recommender import COLUMNS, Around
from nightshift.ranking.rerank.diversity import worth
from nightshift.ranking.rerank.exact import settled
from nightshift.ranking.rerank.greedy import Slate, fill
from nightshift.ranking.rerank.reserve import keeping, lacking, members, packed, within
from nightshift.ranking.rerank.rules import Rules

CANDIDATES = 100  # scored items a user that there is to choose from
BLOCK = 256  # users at a time
PINNED, EXPOSURE, TRENDING = "pinned", "exposure", "trending"
"""The sources of entries that a rule put there, and no model."""


@dataclass(frozen=True)
class Reranked(Around):
    """A model whose lists keep the rules, which are the configuration's: what readers get."""

    settings: Lists
    candidates: int = CANDIDATES

    def recommend(self, snapshot: Snapshot, user_ids: Sequence[str], k: int) -> pd.DataFrame:
        """See `Recommender`; the rules' order, not the score's."""
        found = self.model.recommend(snapshot, user_ids, max(self.candidates, k))
        return rerank(found, snapshot, self.settings.model_copy(update={"size": k}))


def rerank(lists: pd.DataFrame, snapshot: Snapshot, settings: Lists) -> pd.DataFrame:
    """The lists to publish, `settings.size` long, or as long as the rules allow.

    Args:
        lists: candidates as `Recommender.recommend` returns them, several times as many a user as a list is to hold.

    Returns:
        `COLUMNS`, by user as in `lists`, and rank. `score` stays the model's; of an entry that a rule put there it is
        the least of the user's candidates, and its `source` is "pinned", "exposure" or "trending".
    """
    coded = Coded(snapshot)
    rules = Rules(coded, settings)
    user, user_ids = pd.factorize(lists["user_id"])
    users = coded.user_positions(user_ids)
    width = int(lists["rank"].max()) if len(lists) else 0
    items = np.full((len(user_ids), width), -1)
    scores = np.zeros((len(user_ids), width))
    at = user, lists["rank"].to_numpy() - 1
    items[at], scores[at] = coded.items.get_indexer(lists["item_id"]), lists["score"]
    blocks = [slice(begin, begin + BLOCK) for begin in range(0, len(user_ids), BLOCK)]
    chosen = [pick(users[block], items[block], scores[block], rules) for block in blocks]
    return _entries(lists, np.concatenate([np.empty((0, settings.size), dtype=int), *chosen]), user_ids, rules)


def pick(users: np.ndarray, items: np.ndarray, scores: np.ndarray, rules: Rules) -> np.ndarray:
    """The list of each user.

    Args:
        users: (users) positions; -1: not known.
        items: (users, candidates) positions; -1: none.
        scores: of the candidates.

    Returns:
        (users, size) positions, -1 behind the end of a list that the rules leave short.
    """
    slate = _slate(users, items, scores, rules)
    chosen = _lists(slate, users, rules)
    if rules.groups:
        rows = np.flatnonzero(lacking(chosen, rules))
        part = slate.of(rows)
        chosen[rows] = _lists(keeping(part, members(part, users[rows], rules), rules), users[rows], rules)
    rows = np.flatnonzero(lacking(chosen, rules) | (chosen < 0).any(axis=1))
    which, sets = settled(chosen[rows], slate.of(rows), users[rows], rules)
    rows = rows[which]
    chosen[rows] = _lists(keeping(slate.of(rows), sets, rules), users[rows], rules)
    return chosen


def _slate(users: np.ndarray, items: np.ndarray, scores: np.ndarray, rules: Rules) -> Slate:
    """The pinned items before the candidates; what is not allowed is none."""
    pinned = np.tile(rules.pinned, (len(items), 1))
    pinned = packed(np.where(rules.allowed_to(users, pinned), pinned, -1))[:, : rules.size]
    relevance = _relevance(np.where(items >= 0, scores, np.nan)) + rules.boost[items]
    allowed = rules.allowed_to(users, items) & ~np.isin(items, rules.pinned)
    return Slate(
        np.hstack([pinned, np.where(allowed, items, -1)]),
        np.hstack([np.ones(pinned.shape), relevance]),
        (pinned >= 0).sum(axis=1),
    )


def _lists(slate: Slate, users: np.ndarray, rules: Rules) -> np.ndarray:
    """The lists of a slate; those that are short completed with what is popular."""
    chosen = fill(slate, rules, worth(rules, slate.items))
    short = np.flatnonzero((chosen < 0).any(axis=1))
    if len(short):
        kept = chosen[short]
        fillers = np.tile(rules.fillers, (len(short), 1))
        fillers = np.where(rules.allowed_to(users[short], fillers) & ~within(fillers, kept, rules), fillers, -1)
        items = np.hstack([kept, fillers])
        order = np.broadcast_to(-np.arange(items.shape[1], dtype=float), items.shape)
        chosen[short] = fill(Slate(items, order, (kept >= 0).sum(axis=1)), rules)
    return chosen


def _relevance(scores: np.ndarray) -> np.ndarray:
    """Scores (NaN: no candidate) of each user from 0, the least, to 1, the greatest."""
    least = np.where(np.isnan(scores), np.inf, scores).min(axis=1, initial=np.inf, keepdims=True)
    most = np.where(np.isnan(scores), -np.inf, scores).max(axis=1, initial=-np.inf, keepdims=True)
    spread = np.where(most > least, most - least, 1.0)
    return np.where(np.isnan(scores), 0.0, (scores - np.where(np.isfinite(least), least, 0.0)) / spread)


def _entries(lists: pd.DataFrame, chosen: np.ndarray, user_ids: pd.Index, rules: Rules) -> pd.DataFrame:
    """The lists as rows; score and source are those of the candidate, where there was one."""
    row, place = np.nonzero(chosen >= 0)
    item = chosen[row, place]
    item_ids = rules.coded.item_ids[item]
    found = pd.DataFrame({"user_id": np.asarray(user_ids, dtype=object)[row], "item_id": item_ids})
    known = found.merge(lists[["user_id", "item_id", "score", "source"]], on=["user_id", "item_id"], how="left")
    least = lists.groupby("user_id", sort=False)["score"].min()
    grouped = np.any([group.member[item] for group in rules.groups], axis=0) if rules.groups else False
    by_rule = np.where(np.isin(item, rules.pinned), PINNED, np.where(grouped, EXPOSURE, TRENDING))
    known["score"] = known["score"].fillna(known["user_id"].map(least)).astype(np.float64)
    known["source"] = known["source"].where(known["source"].notna(), by_rule)
    return known.assign(rank=(place + 1).astype(np.int32))[COLUMNS]
