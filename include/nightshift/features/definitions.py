"""Every feature, declared once. Training, batch inference, lookup and reports know a feature by its name here.

A definition compiles into an expression over the measures of a state (see `measures`): the nightly increments, a
rebuild from all events and point-in-time joins compute it from the same words.
To add a feature, add an entry, run `python -m scripts.document_features`, and add what you expect of it to
tests/features/test_definitions.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Literal

from nightshift.config import Settings
from nightshift.features.measures import ALIVE, EVENTS, PAIRS, PARTS, WEIGHT_PARTS, Kept, kept_by
from nightshift.lake import Table
from nightshift.runs import StepError

Entity = Literal["user", "item", "user_item"]
Aggregation = Literal["count", "baskets", "sum", "mean", "days_since_last", "days_since_first", "expression"]

KEYS: dict[Entity, tuple[str, ...]] = {"user": ("user_id",), "item": ("item_id",), "user_item": ("user_id", "item_id")}


@dataclass(frozen=True)
class Feature:
    """One column of a feature table.

    Attributes:
        aggregation: over the entity's positive events (of a type with weight above 0), or `expression`.
        of: the column that is summed or averaged; of an `expression`, Spark SQL over measures and `as_of`.
        window: days, up to and with the day as of which it is; None: all days.
        default: what stands for it where there is no row: a new user, an item never bought by this user.
        owner: who is asked when it looks wrong.
        version: goes up when the definition changes; a model names the versions it was trained with.
    """

    name: str
    entity: Entity
    type: Literal["bigint", "double"]
    aggregation: Aggregation
    description: str
    of: str = ""
    window: int | None = None
    default: float | None = 0
    owner: str = "recommendations"
    version: int = 1

    def __post_init__(self) -> None:
        kept = self.kept  # which refuses what is no measure
        if self.entity == "user_item" and any(one.window for one in kept):
            raise ValueError(
                f"feature {self.name!r}: a pair is kept as of the day it was last touched, so without windows"
            )

    @property
    def expression(self) -> str:
        """Spark SQL over the measures and `as_of`, the day that the feature is as of."""
        within = f"_{self.window}d" if self.window else ""
        return {
            "count": f"events{within}",
            "baskets": f"baskets{within}",
            "sum": f"{self.of}_sum{within} / {PARTS}",
            "mean": f"{self.of}_sum{within} / {PARTS} / {self.of}_count{within}",
            "days_since_last": "date_diff(as_of, last_day)",
            "days_since_first": "date_diff(as_of, first_day)",
            "expression": self.of,
        }[self.aggregation]

    @property
    def kept(self) -> frozenset[Kept]:
        return kept_by(self.expression)

    @property
    def source(self) -> str:
        """What it is computed from: events, or the pairs that were computed from them."""
        return "pairs" if any(kept.of_pairs for kept in self.kept) else "events"

    @property
    def digest(self) -> str:
        """Identity of what it computes; a description or an owner may change without it."""
        measures = {kept.name for kept in self.kept}
        if self.source == "pairs":
            measures |= {"events", "net", "baskets"}  # of which pairs are judged
        said = sorted(astuple(EVENTS[name]) for name in measures if name in EVENTS)
        pairs = [ALIVE, *sorted(PAIRS[name] for name in measures if name in PAIRS)] if self.source == "pairs" else []
        words = [self.expression, self.type, self.default, said, pairs]
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:12]


def user_features(settings: Settings) -> list[Feature]:
    return [
        *_counts("user", settings.features.windows_days, "a user's"),
        *_span("user"),
        Feature("baskets_all", "user", "bigint", "baskets", "baskets so far"),
        _mean_price("user"),
        Feature("mean_basket_items", "user", "double", "expression", "mean events a basket", "events / baskets"),
        Feature("items_all", "user", "bigint", "expression", "different items so far", "pairs"),
        Feature(
            "repeat_share", "user", "double", "expression", "share of the user's items bought in two baskets or more",
            "coalesce(repeated_pairs / nullif(pairs, 0), 0)",
        ),
    ]  # fmt: skip


def item_features(settings: Settings) -> list[Feature]:
    return [
        *_counts("item", settings.features.windows_days, "an item's"),
        *_span("item"),
        _mean_price("item"),
        Feature(
            "trend", "item", "double", "expression", "events a day in the last week over those in the last four",
            "(events_7d / 7) / ((events_28d + 1) / 28)",
        ),
        Feature("users_all", "item", "bigint", "expression", "different users so far", "pairs"),
        Feature(
            "repeat_rate", "item", "double", "expression", "share of the item's users with two baskets or more",
            "coalesce(repeated_pairs / nullif(pairs, 0), 0)",
        ),
    ]  # fmt: skip


def _counts(entity: Entity, windows: Sequence[int], whose: str) -> list[Feature]:
    return [
        Feature(f"events_{days}d", entity, "bigint", "count", f"{whose} events in {_last(days)}", window=days)
        for days in windows
    ] + [Feature("events_all", entity, "bigint", "count", f"{whose} events so far")]


def _last(days: int) -> str:
    return "the last day" if days == 1 else f"the last {days} days"


def _span(entity: Entity) -> list[Feature]:
    return [
        Feature("days_since_last", entity, "bigint", "days_since_last", "days since the last event", default=None),
        Feature("days_since_first", entity, "bigint", "days_since_first", "days since the first event", default=None),
    ]


def _mean_price(entity: Entity) -> Feature:
    return Feature(
        "mean_price",
        entity,
        "double",
        "mean",
        f"mean price of a unit over the {entity}'s events",
        "price",
        default=None,
    )


USER_ITEM = [
    Feature("events", "user_item", "bigint", "count", "events of the user on the item"),
    Feature("baskets", "user_item", "bigint", "baskets", "baskets of the user with the item"),
    Feature("quantity", "user_item", "double", "sum", "units bought", "quantity"),
    *_span("user_item"),
    Feature(
        "mean_gap_days", "user_item", "double", "expression",
        "mean days between the user's baskets with the item; none after one basket",
        "date_diff(last_day, first_day) / nullif(baskets - 1, 0)", default=None,
    ),
    Feature(
        "affinity", "user_item", "double", "expression", "the weights of all events, cancellations included",
        f"net / {WEIGHT_PARTS}",
    ),
]  # fmt: skip


def all_features(settings: Settings) -> dict[str, Feature]:
    """Every feature by `<entity>.<name>`."""
    declared = [*user_features(settings), *item_features(settings), *USER_ITEM]
    return {f"{feature.entity}.{feature.name}": feature for feature in declared}


def kept_of(features: Sequence[Feature]) -> list[Kept]:
    """The columns of the state behind some features, in a fixed order."""
    always = (
        {Kept("events"), Kept("net"), Kept("baskets")}
        if features and features[0].entity == "user_item"
        else {Kept("events")}
    )
    return sorted(always.union(*(feature.kept for feature in features)), key=lambda kept: (kept.name, kept.window or 0))


def definitions_digest(settings: Settings) -> str:
    """Identity of all that shapes the feature tables besides the events."""
    features = {name: feature.digest for name, feature in all_features(settings).items()}
    source = [
        list(settings.source.item_attributes),
        list(settings.source.user_attributes),
        settings.source.first_day.isoformat(),  # from which the age of baskets is counted
    ]
    shaping = settings.features.model_dump(mode="json", exclude={"layers"})
    words = [features, shaping, settings.lists.sellable, source, STATE_REVISION]
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:16]


STATE_REVISION = 1
"""Goes up when `increments` computes something else from the same definitions: older states are not built upon."""


def feature_tables(settings: Settings) -> dict[str, Table]:
    """The feature tables' schemas, by name.

    Raises:
        StepError: an attribute of the source has a feature's name.
    """
    source = settings.source
    user, item = {"user_id": "string"}, {"item_id": "string"}
    tables = [
        Table("user_features", user | _entity_columns(user_features(settings), source.user_attributes)),
        Table(
            "item_features", item | _entity_columns(item_features(settings), source.item_attributes, sellable="boolean")
        ),
        Table("user_item_features", user | item | _state_columns(USER_ITEM)),
        Table("user_sequences", user | {"items": "array<string>", "days": "array<date>", "moments": "array<bigint>"}),
        Table("item_pair_counts", {"a": "bigint", "b": "bigint", "baskets": "bigint", "weight": "double"}),
        Table("cooccurrence", item | {"neighbour_id": "string", "baskets": "bigint", "score": "double"}),
    ]
    return {table.name: table for table in tables}


LAYERED = ("user_item_features", "user_sequences", "item_pair_counts")
"""Tables whose partition holds only what a night changed, upon the partition it is based on: see `lineage`."""


def _entity_columns(
    features: Sequence[Feature], attributes: Sequence[str] | dict[str, str], **rest: str
) -> dict[str, str]:
    """Features and attributes for readers, and in one struct what the next night adds to.

    Raises:
        StepError: an attribute would be taken for a feature.
    """
    kept = _state_columns(features)
    taken = {name.lower() for name in [*(feature.name for feature in features), *kept, *rest, "state"]}
    for name in attributes:
        if name.lower() in taken:
            raise StepError(
                f"attribute {name!r} under source in the configuration is a feature's name, or of what features follow "
                "from: give it another"
            )
    said = {f"{name}_at": "bigint" for name in attributes}  # microseconds: when an attribute was last said
    state = ",".join(f"{name}:{kind}" for name, kind in (kept | said).items())
    named = {feature.name: feature.type for feature in features}
    return {**named, **dict.fromkeys(attributes, "string"), **rest, "state": f"struct<{state}>"}


def _state_columns(features: Sequence[Feature]) -> dict[str, str]:
    return {kept.column: kept.measure.type for kept in kept_of(features)}
