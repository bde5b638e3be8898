"""Every setting there is, with its default and its meaning. The sample's values are in `nightshift.yaml`.

Settings that hold SQL (`Sql`) are Spark SQL expressions; `source.*` ones see the source's own columns
by their own names.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, model_validator

from nightshift.config.sql import check_source_sql, check_sql, check_type

Sql = Annotated[str, AfterValidator(check_sql)]
SourceSql = Annotated[Sql, AfterValidator(check_source_sql)]
SqlType = Annotated[str, AfterValidator(check_type)]
Share = Annotated[float, Field(ge=0, le=1)]
Objectives = Annotated[tuple[Literal["lambdarank", "rank_xendcg", "binary"], ...], Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]

EVENT_FIELDS = frozenset(
    {"run_date", "event_id", "user_id", "item_id", "event_type", "weight"}
    | {"event_time", "event_date", "quantity", "price", "basket_id"}
)

CURRENT = "current"  # the channel of the live run: what readers read who are in no experiment


class MisfitError(ValueError):
    """A value that does not fit the others of its section; `key` leads to it from there."""

    def __init__(self, message: str, *key: str | int) -> None:
        super().__init__(message)
        self.key = key


class Section(BaseModel):
    """A part of the file: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(Section):
    """How a source row becomes an event, one expression a field."""

    user: SourceSql  # the id of who acted, as text; an event without one is quarantined
    item: SourceSql  # the id of what was acted on, as text
    time: SourceSql  # an instant; without a zone it is of `source.timezone`: docs/contracts.md, Times
    quantity: SourceSql = "1"  # of the item, in one event
    price: SourceSql | None = None  # of one unit
    basket: SourceSql | None = None  # what was bought together; default: a user's business day


class EventType(Section):
    """Events are of the first type whose `when` holds; a row that fits none goes to quarantine."""

    name: str  # what such events are called in the lake
    when: SourceSql  # the condition, over the source's own columns
    weight: float  # in affinity; above 0: it was got (what is learnt, foretold, told as bought); below: taken back


class Evolution(Section):
    """What to do with a file that is not as those before it; docs/contracts.md has every case."""

    unused_columns: tuple[str, ...] = ()  # that files have and nothing here reads: these are not new
    new_columns: Literal["accept", "stop"] = "accept"  # columns that nothing here names; accepted ones are pointed out
    missing_attributes: Literal["accept", "stop"] = "accept"  # a column that attributes alone read
    wrong_day: Literal["stop", "accept"] = "stop"  # most rows are of one other day; accept a file that catches up


class Source(Section):
    """Where the events lie and what they mean."""

    address: str  # of a day's file, with {run_date} or {run_date:%Y/%m/%d}; relative to the configuration file
    format: Literal["csv", "parquet", "jsonl"]  # of the files; compressed ones (.gz) are read as they are
    delimiter: str = ","  # between the fields of a csv file
    timezone: str = "UTC"  # of the business day, and of times that name no zone
    first_day: dt.date  # the first business day; the first night loads from here
    last_day: dt.date | None = None  # of a source that has ended: nothing is scheduled after it
    when_missing: Literal["empty", "stop"] = "stop"  # a day without a file or rows: closed, or an error
    types: dict[str, SqlType] = {}  # of the columns that are not text; a value of another type is refused
    columns: Columns
    event_types: list[EventType] = Field(min_length=1)
    contract: dict[str, SourceSql] = {}  # name of a rule: what must hold, else quarantine under that name
    item_attributes: dict[str, SourceSql] = {}  # `title` is shown to people; `kind` groups variants of one product
    user_attributes: dict[str, SourceSql] = {}  # name: expression; like `country`
    evolution: Evolution = Evolution()

    @model_validator(mode="after")
    def _address_names_a_day(self) -> Source:
        if "{run_date" not in self.address:
            raise MisfitError(f"{self.address!r} lacks {{run_date}}: one file is read a day", "address")
        try:
            self.address.format(run_date=self.first_day)
        except (KeyError, IndexError, ValueError) as error:
            raise MisfitError(f"{self.address!r} has a placeholder other than {{run_date}}", "address") from error
        return self

    @model_validator(mode="after")
    def _days_are_of_a_zone_and_in_order(self) -> Source:
        try:
            ZoneInfo(self.timezone)
        except Exception as error:
            raise MisfitError(f"{self.timezone!r} is not known, try Europe/London or UTC", "timezone") from error
        if self.last_day and self.last_day < self.first_day:
            raise MisfitError(f"{self.last_day} is before the first day, {self.first_day}", "last_day")
        return self

    @model_validator(mode="after")
    def _attributes_have_names_of_their_own(self) -> Source:
        for name in self.item_attributes.keys() & self.user_attributes.keys():
            message = f"attribute {name!r} is of items and of users: give one of them another name"
            raise MisfitError(message, "user_attributes", name)
        for of in ("item_attributes", "user_attributes"):
            for name in EVENT_FIELDS & getattr(self, of).keys():
                raise MisfitError(f"attribute {name!r} is an event's own field: give it another name", of, name)
        return self


class Engine(Section):
    """Which Spark computes."""

    kind: Literal["local", "connect", "submit"] = "local"  # its own server, a Connect server, or spark-submit's
    master: str = "local[*]"  # for local and submit
    remote: str | None = None  # for connect: sc://host:port
    memory: str = "2g"  # of the driver, as Spark writes it; for local
    java_options: str = ""  # of the local server
    shuffle_partitions: PositiveInt = 4  # near the number of cores
    conf: dict[str, str] = {}  # further Spark settings, by their own names

    @model_validator(mode="after")
    def _connect_has_an_address(self) -> Engine:
        if self.kind == "connect" and not self.remote:
            raise MisfitError("connect needs engine.remote too, like sc://host:15002", "kind")
        return self


class Lake(Section):
    """What `maintenance` keeps of the tables."""

    retention_days: PositiveInt = 90  # a table's version stays readable so long; a night's features and lists are kept
    compact_files: PositiveInt = 1  # small files of a run date that may stay apart; more are merged


class Features(Section):
    windows_days: tuple[PositiveInt, ...] = (1, 7, 28, 90)  # lengths of the windows that events are counted over
    sequence_length: PositiveInt = 50  # recent items kept a user
    neighbours: PositiveInt = 50  # co-occurring items kept an item
    cooccurrence_days: PositiveInt = 180  # baskets older than this do not count
    layers: PositiveInt = 7  # nights whose changes may lie upon each other before maintenance merges them
    half_life_days: int = Field(default=90, ge=7)  # so often a basket's weight in co-occurrence halves, at once
    largest_basket: PositiveInt = 100  # one with more items says little of any two, and costs their square

    @model_validator(mode="after")
    def _sums_of_weights_are_exact(self) -> Features:
        if self.cooccurrence_days > 30 * self.half_life_days:
            raise MisfitError(
                f"{self.cooccurrence_days} is more than 30 half-lives of {self.half_life_days} days: such old baskets "
                "weigh nothing, so take fewer days or a longer half-life",
                "cooccurrence_days",
            )
        return self


class Evaluation(Section):
    """The temporal split and what the gate demands."""

    test_days: PositiveInt = 14  # the last days up to the run date; the ranker learns from as many before them
    k: PositiveInt = 20  # places of a list that the metrics look at
    metric: Literal["ndcg", "recall", "map", "mrr", "hit_rate"] = "ndcg"  # which decides, at k
    min_gain: float = -0.01  # over the champion: the least its gain may be, with what promotions before lost, is more
    confidence: float = Field(default=0.95, gt=0, lt=1)  # of the gains' intervals, by whose lower ends the gate judges
    min_users: PositiveInt = 50  # fewer test users than this, and no challenger is judged


class TwoTower(Section):
    dimension: PositiveInt = 128  # of the embeddings, at most: those of all items take 256 MiB
    epochs: PositiveInt = 8  # of the first fit, for the earliest cut-off, at most
    refresh_epochs: PositiveInt = 2  # for the later cut-offs, from the model before
    validation_days: int = Field(default=3, ge=0)  # up to the earliest cut-off, to end the first fit by; 0: all epochs
    restart_days: int = Field(
        default=14, ge=0
    )  # that nights' first fits go on from the champion's, then anew; 0: never
    patience: PositiveInt = 4  # epochs that may pass without a better validation before the first fit ends
    batch_baskets: PositiveInt = 128  # baskets in a batch, of each process
    accumulate: PositiveInt = 1  # batches in a training step: as one so much larger, in the memory of one
    random_negatives: int = Field(default=512, ge=0)  # items from the whole catalogue beside those of a step
    learning_rate: float = Field(default=5e-3, gt=0)  # falls to 0 over the steps
    refresh_rate: float = Field(default=0.4, gt=0)  # share of the learning rate that a refresh starts with
    temperature: float = Field(default=0.1, gt=0)  # of the softmax; lower is sharper
    half_life_days: float = Field(default=90.0, gt=0)  # a basket this much older is half as likely in an epoch
    context_items: PositiveInt = 50  # recent items the user tower reads; at most features.sequence_length
    history_half_life_days: float = Field(default=180.0, gt=0)  # so, in the mean of all a user bought
    title_buckets: PositiveInt = 8192  # hash buckets for title words and item attributes
    checkpoint_steps: PositiveInt = 500  # from one checkpoint to the next; a night that was killed goes on from it
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # of training; auto: bfloat16 on a GPU
    compile: Literal["auto", "on", "off"] = "auto"  # torch.compile; auto: on a GPU
    tf32: bool = True  # on a GPU, round the factors of what is float32 to TF32
    memory: str = Field(default="1GB", pattern=r"^\d+ ?[KMGT]i?B$")  # to sort events by user; beyond it, on disk


class GraphFilter(Section):
    """See nightshift.models.graph_filter.Shape; where the defaults are from: docs/quality.md."""

    dimension: PositiveInt = 1536  # at most: one for each 4 items, 1 GiB of them in all, and those alone that count
    half_life_days: float = Field(default=60.0, gt=0)  # a purchase this much older counts half as much
    user_degree: float = Field(default=0.3, ge=0, le=1)  # how much less an item tells of users who have many
    item_degree: float = Field(default=0.45, ge=0, le=1)  # and of items that many have
    history: float = Field(default=0.2, ge=0, le=1)  # how much less frequent items count in a user's history
    popularity: float = Field(default=0.4, ge=0, le=1)  # how much more readily they are shown
    slope: float = Field(default=0.15, ge=-1, le=2)  # how much more the strong directions count; 0: all alike
    noise: float = Field(default=0.3, ge=0, le=2)  # how much of what chance would give is taken off
    sharpening: float = Field(default=0.4, ge=0, le=1)  # how much of the strongest is taken back


class Ranker(Section):
    objectives: Objectives = ("lambdarank", "rank_xendcg", "binary")  # trees each; their scores are added
    trees: PositiveInt = 100  # boosting rounds, of each
    leaves: PositiveInt = 15  # of a tree, at most
    learning_rate: float = Field(default=0.12, gt=0)  # of the boosting
    min_leaf: PositiveInt = 100  # candidates in a leaf, at least
    l2: float = Field(default=10.0, ge=0)  # regularisation of the leaves' values
    feature_share: float = Field(default=0.7, gt=0, le=1)  # of the features, that a tree may use
    user_share: float = Field(default=0.8, gt=0, le=1)  # of the users, that a tree is grown on
    max_users: PositiveInt = 20_000  # that it learns from; of more who came back, so many at random
    networks: int = Field(default=3, ge=0)  # small networks whose scores are added to the trees'; 0: none


class Tuning(Section):
    """The search for better settings of the models: docs/tuning.md."""

    minutes: float = Field(default=30, gt=0)  # that a search may take, unless its command says otherwise
    min_gain: float = 0.0  # of a winner: the lower end of its gain's interval must be more than this
    max_users: PositiveInt = 20_000  # that trials are validated on; of more, those that a hash chooses
    use_winner: bool = True  # nights train with what a search has found, until their gate refuses it


class Index(Section):
    """Kinds, and the figures behind these numbers: docs/performance.md, Searching the index."""

    kind: Literal["auto", "flat", "hnsw", "ivf_pq"] = "auto"  # auto: by the number of items; flat is exact
    exact_up_to: PositiveInt = 150_000  # items; of more, auto takes hnsw
    graph_up_to: PositiveInt = 500_000  # items; of more, auto takes ivf_pq: a graph is built by one thread
    fallback_up_to: PositiveInt = 1_000_000  # items; a kind that misses target_recall gives way to flat up to so many
    target_recall: Share = 0.98  # recall@100 that the search is made thorough enough for, by some users and items
    min_recall: Share = 0.95  # recall@100 against exact search for other users and items, gated

    @model_validator(mode="after")
    def _aims_at_what_is_asked_for(self) -> Index:
        if self.target_recall < self.min_recall:
            raise MisfitError(f"{self.target_recall} is below min_recall, {self.min_recall}: raise it", "target_recall")
        return self


class Candidates(Section):
    """How many candidates each source may bring for a user; 0: the source is switched off."""

    two_tower: int = Field(default=80, ge=0)  # nearest by the two-tower model's embedding
    graph_filter: int = Field(default=80, ge=0)  # nearest by the graph filter's
    cooccurrence: int = Field(default=50, ge=0)  # bought together with what the user bought
    repeat: int = Field(default=100, ge=0)  # bought by the user before
    trending: int = Field(default=40, ge=0)  # popular of late


class Inference(Section):
    """How the users' lists are made."""

    block_users: PositiveInt = 10_000  # that go through together: memory is bounded by it, not by how many there are
    processes: int = Field(
        default=0, ge=0
    )  # at once, a block each; of several each holds the model, and has one thread; 0: one a core, or one on a GPU


class Banned(Section):
    """Items that are in no list at all, that of similar items included."""

    rule: Literal["banned"]  # which rule it is
    items: frozenset[str]  # their ids


class AlreadyBought(Section):
    """Whether a user is offered what they have: always (keep), never (drop), or again once it is due (wait)."""

    rule: Literal["already_bought"]  # which rule it is
    mode: Literal["keep", "drop", "wait"] = "keep"  # wait: from `factor` gaps after the last purchase on
    factor: float = Field(default=1.0, gt=0)  # of the user's mean gap between purchases, else the item's typical one


class Pinned(Section):
    """Items that come first in every list, where the user may be offered them; they count for the caps."""

    rule: Literal["pinned"]  # which rule it is
    items: tuple[str, ...]  # their ids, in the order of their places


class Cap(Section):
    """At most so many items of one value of an attribute; an item without a value has no cap."""

    rule: Literal["cap"]  # which rule it is
    by: str  # an item attribute: kind, supplier, brand
    most: PositiveInt  # items of one value in a list; pinned ones alone may be more


class Exposure(Section):
    """At least so many items of a group, as far as there are such and the caps leave room."""

    rule: Literal["exposure"]  # which rule it is
    where: Sql  # over the item features and attributes: which items are of the group
    least: PositiveInt  # of them in every list


class Freshness(Section):
    """A boost for new items."""

    rule: Literal["freshness"]  # which rule it is
    days: PositiveInt = 28  # an item first seen so many days ago is no longer new
    boost: Share = 0.02  # on a scale where a user's best candidate has 1 and the last 0


class Diversity(Section):
    """What is like the items above it in the list loses: by kind, and by the words of its title."""

    rule: Literal["diversity"]  # which rule it is
    method: Literal["mmr", "dpp"] = "mmr"  # maximal marginal relevance, or a determinantal point process
    weight: Share = 0.1  # 0: by score alone; 1: by difference alone


Rule = Annotated[Banned | AlreadyBought | Pinned | Cap | Exposure | Freshness | Diversity, Field(discriminator="rule")]
Kind = TypeVar("Kind", bound=Section)

PRECEDENCE = ("banned", "already_bought", "pinned", "cap", "exposure", "freshness", "diversity")


class Reasons(Section):
    """Why an entry is in a list, in the words of the shop, whatever its language and whatever is got there."""

    trending: str = "Popular this month"  # of the popular list, and of segments' lists
    repeat: str = "You bought this {ago}"  # ago: when last
    repeat_often: str = "You bought this {times} times, last {ago}"  # times: in how many baskets
    repeat_before: str = "You bought this before"  # where neither is known
    today: str = "today"  # what `ago` is on the run date
    yesterday: str = "yesterday"  # on the day before
    days_ago: str = "{days} days ago"  # before that
    cooccurrence: str = "Often bought with {title}"  # title: of the recent item that speaks loudest for this one
    cooccurrence_untitled: str = "Often bought with your recent purchases"  # where that has none
    two_tower: str = "Matches your recent purchases"  # by the two-tower model
    graph_filter: str = "Chosen by customers who buy what you buy"  # by the graph filter
    pinned: str = "Selected for you by the shop"  # by the rule of this name
    exposure: str = "Selected for you by the shop"  # by the rule of this name

    @model_validator(mode="after")
    def _what_is_put_in_is_known(self) -> Reasons:
        for name, field in type(self).model_fields.items():
            known = set(re.findall(r"{(\w+)}", field.default))
            try:
                getattr(self, name).format_map(dict.fromkeys(known, ""))
            except (KeyError, ValueError, IndexError, AttributeError) as error:
                listed = " and ".join(f"{{{one}}}" for one in sorted(known)) or "nothing"
                raise MisfitError(
                    f"{getattr(self, name)!r}: what can be put in is {listed} ({error!r})", name
                ) from None
        return self


class Lists(Section):
    size: PositiveInt = 20  # items in a user's list
    similar: PositiveInt = 20  # items in an item's list of similar ones
    sellable: Sql = "days_since_last <= 60"  # over the item features: what may be in a list
    rules: list[Rule] = [
        Cap(rule="cap", by="kind", most=3),
        Freshness(rule="freshness"),
        Diversity(rule="diversity"),
    ]  # in order of precedence: docs/reranking.md; default: a cap of 3 by kind, freshness, diversity
    segment_users: PositiveInt = 20  # that a value of a user's attribute, like a country, must have to get its own list
    segment_values: int = Field(default=100, ge=0)  # an attribute with more makes no segments; 0: none does
    histories: int = Field(default=20, ge=0)  # items a user bought, the latest, that are published to look at; 0: none
    reasons: Reasons = Reasons()  # the words for why an entry is in a list
    min_coverage: Share = 0.05  # of the sellable items, in at least one list
    overlap: tuple[Share, Share] = (0.1, 1.0)  # bounds on the mean overlap with the lists published before

    @model_validator(mode="after")
    def _rules_are_in_the_order_of_precedence(self) -> Lists:
        for at, (first, then) in enumerate(pairwise(rule.rule for rule in self.rules), 1):
            if PRECEDENCE.index(first) > PRECEDENCE.index(then):
                order = ", ".join(PRECEDENCE)
                raise MisfitError(f"{then} goes before {first}; the order is {order}", "rules", at)
            if first == then and then in ("already_bought", "diversity"):
                raise MisfitError(f"{then} is here twice: remove one of them", "rules", at)
        return self

    @model_validator(mode="after")
    def _a_group_fits_into_a_list(self) -> Lists:
        for at, rule in enumerate(self.rules):
            if isinstance(rule, Exposure) and rule.least > self.size:
                message = f"{rule.least} items of a group do not fit into a list of {self.size}"
                raise MisfitError(message, "rules", at, "least")
        return self

    @model_validator(mode="after")
    def _overlap_can_be_met(self) -> Lists:
        if self.overlap[0] > self.overlap[1]:
            raise MisfitError(f"no share is at least {self.overlap[0]} and at most {self.overlap[1]}", "overlap")
        return self

    def of(self, kind: type[Kind]) -> list[Kind]:
        """The rules of a kind, in their order."""
        return [rule for rule in self.rules if isinstance(rule, kind)]

    @property
    def banned(self) -> frozenset[str]:
        """The ids of what is banned, by whichever rule."""
        return frozenset(item for rule in self.of(Banned) for item in rule.items)

    @property
    def pinned(self) -> tuple[str, ...]:
        """The ids of what is pinned, each once."""
        return tuple(dict.fromkeys(item for rule in self.of(Pinned) for item in rule.items))


class Store(Section):
    """Where lists are published."""

    address: str | None = None  # file:///... or s3://bucket/prefix; default: published/ in NIGHTSHIFT_HOME
    endpoint: str | None = None  # of an S3-compatible server
    surface: Name = "home"  # where lists are shown
    shards: int = Field(default=16, ge=1, le=256)  # files that the users' lists are spread over, by a hash of the user
    item_shards: int = Field(default=4, ge=1, le=256)  # and those of the items' records
    keep_runs: PositiveInt = 30  # the latest published; live, leased ones and those to go back to stay besides
    deadline_seconds: float = Field(default=60, gt=0, le=86400)  # for a request to S3 to succeed, all tries together
    transfers: PositiveInt = 4  # files on their way to or from S3 at once, with up to 8 MiB in memory each

    @model_validator(mode="after")
    def _address_is_one_we_can_write_to(self) -> Store:
        if self.address and not re.match(r"file:///|s3://[a-z0-9]", self.address):
            raise MisfitError(f"{self.address!r} is neither file:///... nor s3://bucket/prefix", "address")
        if self.endpoint and not (self.address or "").startswith("s3://"):
            message = f"{self.endpoint!r} is an S3 server's, so store.address must be s3://bucket/prefix"
            raise MisfitError(message, "endpoint")
        return self


class Guard(Section):
    """Who may read, and how often: docs/access.md."""

    keys: str | None = None  # file of API keys, relative to this file; none: no key is asked for
    rate: float = Field(default=0, ge=0)  # requests a second of one client address without a key; 0: no limit
    burst: PositiveInt = 100  # of them that may come at once
    addresses: PositiveInt = 65_536  # client addresses whose rates are remembered, at least
    proxies: int = Field(default=0, ge=0)  # in front of the service, that each add to X-Forwarded-For

    @model_validator(mode="after")
    def _rates_of_addresses_are_for_who_needs_no_key(self) -> Guard:
        if self.keys and self.rate:
            raise MisfitError("is of who needs no key: with `keys`, give each key its rate in the key file", "rate")
        return self


class AccessLog(Section):
    """A JSON line a request, without personal data: docs/access.md."""

    path: str | None = None  # relative to NIGHTSHIFT_HOME, or - for standard output; none: no log
    max_bytes: PositiveInt = 104_857_600  # of a file, before the next is begun
    keep: int = Field(default=5, ge=0)  # files that were full
    waiting: PositiveInt = 65_536  # lines not written yet; more are dropped and counted


class Tracing(Section):
    """OpenTelemetry's spans of requests: docs/observability.md."""

    endpoint: str | None = None  # that takes OTLP over HTTP, like http://collector:4318/v1/traces; none: no traces
    sample: Share = 0.01  # of the requests whose caller is not traced; those of one that is always are

    @model_validator(mode="after")
    def _endpoint_is_an_address(self) -> Tracing:
        if self.endpoint and not re.match(r"https?://[^/]", self.endpoint):
            raise MisfitError(f"{self.endpoint!r} is not like http://collector:4318/v1/traces", "endpoint")
        return self


class Serving(Section):
    """The lookup service: docs/lookup.md."""

    host: str = "127.0.0.1"  # to listen on; 0.0.0.0 for all addresses
    port: int = Field(default=8090, ge=1, le=65535)  # to listen on
    workers: PositiveInt = 1  # processes that share the port: as many as cores
    surfaces: tuple[Name, ...] = ()  # that are served, the first by default; none: store.surface
    poll_seconds: float = Field(default=1.0, gt=0, le=86400)  # how often the pointers are looked at
    store_seconds: float = Field(default=5.0, gt=0, le=86400)  # within which the store must answer a look
    stale_seconds: float = Field(default=60.0, ge=0)  # that the store may be unreadable before answers are called stale
    lazy_shards: bool = False  # serve a run before all of its shards are here: a shard comes when a user of it asks
    hold_memory: bool = False  # keep workers, and the shards that they serve, in memory: docs/lookup.md
    max_batch: PositiveInt = 1000  # users in one request
    histories: bool = True  # answer what a user bought; where keys are asked for, to testers only: docs/access.md
    max_age_seconds: int = Field(default=60, ge=0)  # that a reader may keep an answer without asking again
    gzip_from: int = Field(default=1024, ge=0)  # bytes from which an answer is packed for who asks; 0: never
    past_runs: bool = True  # whether lists of runs that are not live can be asked for: the page compares them
    admin_port: int | None = Field(default=None, ge=1, le=65535)  # on loopback, for who operates it; none: closed
    guard: Guard = Guard()
    access_log: AccessLog = AccessLog()
    tracing: Tracing = Tracing()


CONTROL = "control"  # the variant that the others are compared with
GLOBAL = "global"  # what the holdout from all layers is called in an exposure


def check_version(value: object) -> str:
    """A version of the registered model, or `challenger`.

    Raises:
        ValueError: it is neither.
    """
    if value != "challenger" and not re.fullmatch("[1-9][0-9]*", str(value)):
        raise ValueError(f"{value!r} is neither a version of the registered model, like 7, nor 'challenger'")
    return str(value)


ModelVersion = Annotated[str, BeforeValidator(check_version)]


class Variant(Section):
    """What some of an experiment's users get."""

    name: Name  # one is called `control`: the others are compared with it
    weight: float = Field(default=1.0, gt=0)  # its part of the experiment's users, beside the other variants'
    channel: Name = "current"  # whose run they read: the live one, or one of experiments.channels


class Experiment(Section):
    """Some of a layer's users, at random, and always the same; each has one of the variants for good."""

    name: Name  # kept while it runs: under another name every user draws a variant anew
    slot: tuple[Share, Share]  # of its layer's users, from where to where: [0, 0.4] is the first 40 %; kept, too
    ramp: Share = 1.0  # of the slot's users, how many take part: raising it adds users and moves none
    surfaces: list[Name] = []  # where it runs; none: everywhere
    variants: list[Variant] = Field(min_length=2)  # kept, too, with their weights
    metrics: list[Literal["conversion", "value", "value_per_basket", "bought_per_list"]] = Field(
        default=["conversion", "value"], min_length=1
    )  # that it is judged by, all together: docs/experiments.md
    event_types: list[str] = []  # of the events that count in them; none: all
    horizon_days: PositiveInt = 7  # from a user's first exposure, in which events count; then the user is complete
    before_days: PositiveInt = 28  # before it, whose purchases say what to expect of the user (CUPED)
    planned_users: PositiveInt = 10_000  # complete ones at which the result is the sharpest; chosen beforehand

    @property
    def decides(self) -> bool:
        """Whether it decides which channel a request reads."""
        return any(variant.channel != CURRENT for variant in self.variants)

    def meets(self, other: Experiment) -> bool:
        """Whether both run on some surface."""
        return not self.surfaces or not other.surfaces or bool({*self.surfaces} & {*other.surfaces})

    @model_validator(mode="after")
    def _slot_is_from_low_to_high(self) -> Experiment:
        if self.slot[0] >= self.slot[1]:
            raise MisfitError(f"{list(self.slot)} is empty: it goes from low to high, like [0, 0.4]", "slot")
        return self

    @model_validator(mode="after")
    def _variants_can_be_told_apart(self) -> Experiment:
        names = [variant.name for variant in self.variants]
        if (at := _repeated(names)) is not None:
            raise MisfitError(f"variant {names[at]!r} is here twice", "variants", at, "name")
        if CONTROL not in names:
            message = f"none of {', '.join(names)} is called {CONTROL!r}: the one that the others are compared with"
            raise MisfitError(message, "variants")
        return self


class Layer(Section):
    """Experiments that share users out among them: nobody is in two of them. Layers know nothing of each other."""

    name: Name  # of it, in reports
    lane: int = Field(ge=1, le=15)  # the part of a user's hash that decides here; no other layer's, and kept
    holdout: Share = 0.0  # the last of its users, who are in none of its experiments
    experiments: list[Experiment] = []

    @model_validator(mode="after")
    def _slots_lie_apart(self) -> Layer:
        ends = 1 - self.holdout
        taken = sorted(enumerate(self.experiments), key=lambda found: found[1].slot)
        for (_, one), (at, other) in pairwise(taken):
            if other.slot[0] < one.slot[1]:
                message = f"{list(other.slot)} overlaps {list(one.slot)}, which is {one.name}'s"
                raise MisfitError(message, "experiments", at, "slot")
        if taken and taken[-1][1].slot[1] > ends + 1e-9:
            at, last = taken[-1]
            message = f"{list(last.slot)} reaches into the holdout, the last {self.holdout}: end it at {ends:g}"
            raise MisfitError(message, "experiments", at, "slot")
        return self


class ExposureFiles(Section):
    """What the lookup service writes down of the lists that it has shown."""

    of: Literal["enrolled", "everyone", "nobody"] = "enrolled"  # users; enrolled: in, or kept out of, an experiment
    flush_seconds: float = Field(default=10, gt=0, le=86400)  # between two files: a kill loses so long, and one file
    max_rows: PositiveInt = 20_000  # in memory, a process: a kill loses so many at most, and what is more is dropped
    keep_days: PositiveInt = 7  # that files are kept for after their rows are in the lake


class Experiments(Section):
    """Who sees what, and what came of it: docs/experiments.md."""

    salt: str = "nightshift"  # of the users' hash; another one draws everything anew, so choose it once
    holdout: Share = 0.0  # of all users, who are in no experiment of any layer
    channels: dict[Name, ModelVersion] = {}  # name: whose lists it gets each night; challenger: the night's new model's
    layers: list[Layer] = []
    exposures: ExposureFiles = ExposureFiles()
    confidence: float = Field(default=0.95, gt=0.5, lt=1)  # of the intervals, and by which a variant is called better
    min_users: PositiveInt = 200  # complete ones in every variant, before a result is looked at

    def find(self, name: str) -> Experiment | None:
        """The experiment of this name."""
        return next((one for _, one in self.placed() if one.name == name), None)

    @model_validator(mode="after")
    def _channels_are_beside_current(self) -> Experiments:
        if CURRENT in self.channels:
            raise MisfitError(f"{CURRENT!r} is what a night publishes: give it another name", "channels", CURRENT)
        return self

    @model_validator(mode="after")
    def _layers_can_be_told_apart(self) -> Experiments:
        for key in ("name", "lane"):
            values = [getattr(layer, key) for layer in self.layers]
            if (at := _repeated(values)) is not None:
                other = self.layers[values.index(values[at])].name
                raise MisfitError(f"{values[at]!r} is the {key} of layer {other!r} already", "layers", at, key)
        for at, layer in enumerate(self.layers):
            if layer.name == GLOBAL:
                raise MisfitError(f"{GLOBAL!r} is the holdout from all layers: take another name", "layers", at, "name")
        return self

    @model_validator(mode="after")
    def _variants_read_channels_there_are(self) -> Experiments:
        for key, one in self.placed():
            for at, variant in enumerate(one.variants):
                if variant.channel not in {CURRENT, *self.channels}:
                    known = ", ".join([CURRENT, *self.channels])
                    message = f"{variant.channel!r} is not in experiments.channels; known are {known}"
                    raise MisfitError(message, *key, "variants", at, "channel")
        return self

    @model_validator(mode="after")
    def _experiments_fit_together(self) -> Experiments:
        before: list[tuple[int, Experiment]] = []  # with the numbers of their layers
        for key, one in self.placed():
            layer = int(key[1])
            for number, other in before:
                if one.name == other.name:
                    message = f"{one.name!r} is in layer {self.layers[number].name!r} already"
                    raise MisfitError(message, *key, "name")
                if number != layer and one.decides and other.decides and one.meets(other):
                    message = f"{other.name!r}, of another layer, decides on the channel of the same surface"
                    raise MisfitError(f"{message}: put both in one layer, or on surfaces of their own", *key)
            before.append((layer, one))
        return self

    def placed(self) -> Iterator[tuple[tuple[str | int, ...], Experiment]]:
        """Every experiment, with the key that leads to it."""
        for at, layer in enumerate(self.layers):
            for number, one in enumerate(layer.experiments):
                yield ("layers", at, "experiments", number), one


def _repeated(values: list[Any]) -> int | None:
    """The place of the first value that is there a second time; None if there is none."""
    return next((at for at, value in enumerate(values) if value in values[:at]), None)


class Tracking(Section):
    uri: str | None = None  # of an MLflow server; default: a database in NIGHTSHIFT_HOME
    experiment: str = "nightshift"  # in MLflow, that the nights' runs are of
    model: str = "nightshift-recommender"  # in MLflow's registry, that the versions are of


class Monitoring(Section):
    psi_warn: float = Field(default=0.1, gt=0)  # population stability index from which a column is pointed out
    psi_alert: float = Field(default=0.25, gt=0)  # and from which it is an alert
    min_rows: PositiveInt = 200  # in either window; fewer: insufficient data
    window_days: PositiveInt = 28  # length of the window that is compared with the reference
    max_age_hours: PositiveInt = 48  # of the newest event at the end of the window
    webhook: str | None = None  # http(s) address that alerts are posted to
    retrain: bool = False  # on an alert, trigger a night

    @model_validator(mode="after")
    def _a_warning_comes_before_an_alert(self) -> Monitoring:
        if self.psi_warn > self.psi_alert:
            raise MisfitError(f"{self.psi_warn} is above psi_alert, {self.psi_alert}", "psi_warn")
        return self


class Accepted(Section):
    """A figure of one night that somebody has looked at, and that may be as it is."""

    gate: str  # the step whose gate refused it
    figure: str  # by the name in the gate's message
    run_date: dt.date  # of the night
    why: str = Field(min_length=1)  # shown with the check


class Validation(Section):
    """What the gates may use, and what they learn their bounds from; docs/validation.md says how."""

    memory: str = Field(default="1GB", pattern=r"^\d+ ?[KMGT]i?B$")  # of an audit, or of pairs' sums; the rest on disk
    min_nights: PositiveInt = 8  # of history; with fewer, a learned bound is not applied, and the check says so
    baseline: dict[str, dt.date] = {}  # figure: nights before this day are no history of it; for a change that lasts
    accept: list[Accepted] = []  # figures beyond their learned bounds, on one night, that may be

    def accepted(self, gate: str, figure: str, run_date: dt.date) -> Accepted | None:
        """The entry for a figure, if there is one."""
        wanted = (gate, figure, run_date)
        return next((one for one in self.accept if (one.gate, one.figure, one.run_date) == wanted), None)


class Runner(Section):
    """Where the steps of a night run. A pod's and a cluster's address are Airflow connections."""

    kind: Literal["process", "spark-submit", "pod"] = "process"  # beside Airflow, on a Spark cluster, or in Kubernetes
    image: str | None = None  # of a pod
    gpus: int = Field(default=0, ge=0)  # of a pod
    namespace: str = "default"  # of a pod
    master: str | None = None  # of spark-submit
    environment: dict[str, str] = {}  # variables that the step gets besides

    @model_validator(mode="after")
    def _kind_has_what_it_needs(self) -> Runner:
        if self.kind == "pod" and not self.image:
            raise MisfitError("pod needs the runner's image too", "kind")
        if self.kind == "spark-submit" and not self.master:
            raise MisfitError("spark-submit needs the runner's master too", "kind")
        return self


class Settings(Section):
    name: str  # of this configuration, in reports and logs
    seed: int = 1  # of all that is random
    threads: int = Field(default=0, ge=0)  # of training and inference; 0: all cores
    source: Source
    engine: Engine = Engine()
    lake: Lake = Lake()
    features: Features = Features()  # what is counted, and over how long
    evaluation: Evaluation = Evaluation()
    two_tower: TwoTower = TwoTower()  # the retrieval model that is trained
    graph_filter: GraphFilter = GraphFilter()  # the retrieval model in closed form
    ranker: Ranker = Ranker()  # the trees and networks that order the candidates
    tuning: Tuning = Tuning()
    index: Index = Index()  # the search for the items nearest to a user
    candidates: Candidates = Candidates()
    inference: Inference = Inference()  # how the lists are made
    lists: Lists = Lists()  # what a list may hold, and when lists may be published
    store: Store = Store()
    serving: Serving = Serving()  # the lookup service
    experiments: Experiments = Experiments()
    tracking: Tracking = Tracking()  # where MLflow keeps runs and models
    validation: Validation = Validation()  # what the gates learn from, and what was accepted by hand
    monitoring: Monitoring = Monitoring()  # when drift is pointed out, and who is told
    runners: dict[str, Runner] = {"default": Runner()}  # by step; `default` for the steps not named

    folder: Path = Field(default=Path("."), exclude=True)  # of the file; addresses in it are relative to this

    @model_validator(mode="after")
    def _experiments_count_events_there_are(self) -> Settings:
        known = [kind.name for kind in self.source.event_types]
        for key, one in self.experiments.placed():
            for at, name in enumerate(one.event_types):
                if name not in known:
                    message = f"{name!r} is no event type; known are {', '.join(known)}"
                    raise MisfitError(message, "experiments", *key, "event_types", at)
        return self

    @model_validator(mode="after")
    def _caps_are_by_attributes_there_are(self) -> Settings:
        known = {"kind", *self.source.item_attributes}  # `kind` is in the default, and caps nothing where there is none
        for at, rule in enumerate(self.lists.rules):
            if isinstance(rule, Cap) and rule.by not in known:
                message = f"{rule.by!r} is no item attribute; known are {', '.join(sorted(known))}"
                raise MisfitError(message, "lists", "rules", at, "by")
        return self
