"""The gate that an index has to pass before lists are made with it: how much of what there is it finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nightshift.config import Settings
from nightshift.retrieval.index import ItemIndex, index_for
from nightshift.retrieval.recall import NEAREST, Truth, split_queries
from nightshift.runs import GateError

if TYPE_CHECKING:
    from nightshift.models.coded import Coded
    from nightshift.models.nearest import VectorModel


def gated_index(
    source: str, model: VectorModel, coded: Coded, settings: Settings, of_items: bool
) -> tuple[ItemIndex, dict[str, Any]]:
    """An index of a model's vectors over what the snapshot can sell, and its figures.

    Recall@100 against exact search is measured with other users than the index was tuned with.

    Args:
        source: what the model is called.
        of_items: items like an item are looked for as well: recall is measured with items, too.

    Returns:
        the index; and kind, effort, items, items_known, dimension, recall (the lowest), queries (how many users), and
        recall_items where that is measured.

    Raises:
        GateError: there is nothing to find, nobody to find it for, or it finds less than `index.min_recall`.
    """
    index, (ids, vectors), places = (
        index_for(model, coded, settings, of_items),
        model.item_vectors(),
        model.places(coded),
    )
    _, users = split_queries(len(coded.users))
    if not len(index) or not len(users):
        raise GateError(
            f"of {len(ids)} items that {source} knows {len(index)} can be sold tonight, to {len(users)} users: the "
            "index would find nothing. Look at lists.sellable, and at whether the events of the last days are there; "
            "then run build_features and train again"
        )
    among = vectors[places[coded.items.get_indexer(index.item_ids)]]
    truth = Truth.of(model.vectors_at(coded, users, places), among)
    figures: dict[str, Any] = {"recall": _gated(index, truth, source, "users", settings), "queries": len(truth.queries)}
    if of_items:
        known = places[places >= 0]
        _, items = split_queries(len(known))
        figures["recall_items"] = _gated(index, Truth.of(vectors[known[items]], among), source, "items", settings)
        figures["recall"] = min(figures["recall"], figures["recall_items"])
    about = {"kind": index.kind, "effort": index.effort, "items": len(index), "items_known": len(ids)}
    return index, {**about, "dimension": vectors.shape[1], **figures}


def _gated(index: ItemIndex, truth: Truth, source: str, asking: str, settings: Settings) -> float:
    """The recall for queries that the index was not tuned with."""
    recall, least = round(truth.recall(index.search(truth.queries, truth.k)[0]), 6), settings.index.min_recall
    if recall < least:
        raise GateError(
            f"the {index.kind} index of {source} finds {recall:.4f} of the {NEAREST} true neighbours of {asking}, "
            f"{least} are asked for: set index.kind to flat, or lower index.min_recall"
        )
    return recall
