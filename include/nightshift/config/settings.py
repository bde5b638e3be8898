"""Every setting there is, with its default and its meaning. The sample's values are in `nightshift.yaml`.

Settings that hold SQL (`Sql`) are Spark SQL expressions; `source.*` ones see the source's own columns
by their own names.
"""

from __future__ import annotations

import datetime as dt
import re
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, model_validator

from nightshift.config.sql import check_sql, check_type

Sql = Annotated[str, AfterValidator(check_sql)]
SqlType = Annotated[str, AfterValidator(check_type)]
Share = Annotated[float, Field(ge=0, le=1)]

EVENT_FIELDS = frozenset(
    {"run_date", "event_id", "user_id", "item_id", "event_type", "weight"}
    | {"event_time", "event_date", "quantity", "price", "basket_id"}
)


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

    user: Sql  # the id of who acted, as text; an event without one is quarantined
    item: Sql  # the id of what was acted on, as text
    time: Sql  # a timestamp without zone, read in `source.timezone`
    quantity: Sql = "1"  # of the item, in one event
    price: Sql | None = None  # of one unit
    basket: Sql | None = None  # what was bought together; default: a user's business day


class EventType(Section):
    """Events are of the first type whose `when` holds; a row that fits none goes to quarantine."""

    name: str  # what such events are called in the lake
    when: Sql  # the condition, over the source's own columns
    weight: float  # of one such event in a user's affinity to an item; negative where it takes back


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
    timezone: str = "UTC"  # the business day's
    first_day: dt.date  # the first business day; the first night loads from here
    last_day: dt.date | None = None  # of a source that has ended: nothing is scheduled after it
    when_missing: Literal["empty", "stop"] = "stop"  # a day without a file or rows: closed, or an error
    types: dict[str, SqlType] = {}  # of the file's columns that are not text: a value that is not one is refused
    columns: Columns
    event_types: list[EventType] = Field(min_length=1)
    contract: dict[str, Sql] = {}  # name of a rule: what must hold, else quarantine under that name
    item_attributes: dict[str, Sql] = {}  # `title` is shown to people; `kind` groups variants of one product
    user_attributes: dict[str, Sql] = {}  # name: expression; like `country`
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
    min_gain: float = -0.01  # over the champion: the lower end of the gain's interval must be more than this
    confidence: float = Field(default=0.95, gt=0, lt=1)  # of the gains' intervals, by whose lower ends the gate judges
    min_users: PositiveInt = 50  # fewer test users than this, and no challenger is judged


class TwoTower(Section):
    dimension: PositiveInt = 64  # of the embeddings
    epochs: PositiveInt = 8  # of the first fit, for the earliest cut-off, at most
    refresh_epochs: PositiveInt = 2  # for the later cut-offs, from the model before
    validation_days: int = Field(default=3, ge=0)  # up to the earliest cut-off, to end the first fit by; 0: all epochs
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
    """See nightshift.models.graph_filter.Shape; the defaults are what was best on validation splits of several sets."""

    dimension: PositiveInt = 256  # of the embeddings
    half_life_days: float = Field(default=60.0, gt=0)  # a purchase this much older counts half as much
    user_degree: float = Field(default=0.3, ge=0, le=1)  # how much less an item tells of users who have many
    item_degree: float = Field(default=0.45, ge=0, le=1)  # and of items that many have
    history: float = Field(default=0.4, ge=0, le=1)  # how much less frequent items count in a user's history
    popularity: float = Field(default=0.4, ge=0, le=1)  # how much more readily they are shown
    slope: float = Field(default=0.25, ge=-1, le=2)  # how much more the strong directions count; 0: all alike
    sharpening: float = Field(default=0.3, ge=0, le=1)  # how much of the strongest is taken back


class Ranker(Section):
    trees: PositiveInt = 300  # boosting rounds
    leaves: PositiveInt = 15  # of a tree, at most
    learning_rate: float = Field(default=0.04, gt=0)  # of the boosting
    min_leaf: PositiveInt = 100  # candidates in a leaf, at least
    l2: float = Field(default=10.0, ge=0)  # regularisation of the leaves' values
    feature_share: float = Field(default=0.7, gt=0, le=1)  # of the features, that a tree may use
    user_share: float = Field(default=0.8, gt=0, le=1)  # of the users, that a tree is grown on


class Tuning(Section):
    """The search for better settings of the models: docs/tuning.md."""

    minutes: float = Field(default=30, gt=0)  # that a search may take, unless its command says otherwise
    min_gain: float = 0.0  # of a winner: the lower end of its gain's interval must be more than this
    max_users: PositiveInt = 20_000  # that trials are validated on; of more, those that a hash chooses
    use_winner: bool = True  # nights train with what a search has found, until their gate refuses it


class Index(Section):
    """Kinds, and the figures behind these numbers: docs/performance.md, Searching the index."""

    kind: Literal["auto", "flat", "hnsw", "ivf_pq"] = "auto"  # auto: by the number of items; flat is exact
    exact_up_to: PositiveInt = 50_000  # items; of more, auto takes hnsw
    graph_up_to: PositiveInt = 500_000  # items; of more, auto takes ivf_pq: a graph is built by one thread
    fallback_up_to: PositiveInt = 1_000_000  # items; a kind that misses target_recall gives way to flat up to so many
    target_recall: Share = 0.98  # recall@100 that the search is made thorough enough for, by some of the users
    min_recall: Share = 0.95  # recall@100 against exact search for other users, gated

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
    processes: int = Field(default=0, ge=0)  # at once, a block each; 0: one a core, as far as there are blocks


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


class Lists(Section):
    size: PositiveInt = 20  # items in a user's list
    similar: PositiveInt = 20  # items in an item's list of similar ones
    sellable: Sql = "days_since_last <= 60"  # over the item features: what may be in a list
    rules: list[Rule] = [
        Cap(rule="cap", by="kind", most=3),
        Freshness(rule="freshness"),
        Diversity(rule="diversity"),
    ]  # in order of precedence: docs/reranking.md; default: a cap of 3 by kind, freshness, diversity
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
    surface: str = Field(default="home", pattern=r"^[a-z0-9_-]{1,64}$")  # where lists are shown
    shards: PositiveInt = 2  # files that a run's records are spread over
    keep_runs: PositiveInt = 30  # the latest published; the live run and the ones to go back to stay besides

    @model_validator(mode="after")
    def _address_is_one_we_can_write_to(self) -> Store:
        if self.address and not re.match(r"file:///|s3://[a-z0-9]", self.address):
            raise MisfitError(f"{self.address!r} is neither file:///... nor s3://bucket/prefix", "address")
        if self.endpoint and not (self.address or "").startswith("s3://"):
            message = f"{self.endpoint!r} is an S3 server's, so store.address must be s3://bucket/prefix"
            raise MisfitError(message, "endpoint")
        return self


class Serving(Section):
    host: str = "127.0.0.1"  # to listen on; 0.0.0.0 for all addresses
    port: int = Field(default=8090, ge=1, le=65535)  # to listen on
    poll_seconds: float = Field(default=1.0, gt=0)  # how often the pointer is looked at
    max_batch: PositiveInt = 1000  # users in one request


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
    ranker: Ranker = Ranker()  # the LightGBM model that orders the candidates
    tuning: Tuning = Tuning()
    index: Index = Index()  # the search for the items nearest to a user
    candidates: Candidates = Candidates()
    inference: Inference = Inference()  # how the lists are made
    lists: Lists = Lists()  # what a list may hold, and when lists may be published
    store: Store = Store()
    serving: Serving = Serving()  # the lookup service
    tracking: Tracking = Tracking()  # where MLflow keeps runs and models
    validation: Validation = Validation()  # what the gates learn from, and what was accepted by hand
    monitoring: Monitoring = Monitoring()  # when drift is pointed out, and who is told
    runners: dict[str, Runner] = {"default": Runner()}  # by step; `default` for the steps not named

    folder: Path = Field(default=Path("."), exclude=True)  # of the file; addresses in it are relative to this

    @model_validator(mode="after")
    def _caps_are_by_attributes_there_are(self) -> Settings:
        known = {"kind", *self.source.item_attributes}  # `kind` is in the default, and caps nothing where there is none
        for at, rule in enumerate(self.lists.rules):
            if isinstance(rule, Cap) and rule.by not in known:
                message = f"{rule.by!r} is no item attribute; known are {', '.join(sorted(known))}"
                raise MisfitError(message, "lists", "rules", at, "by")
        return self
