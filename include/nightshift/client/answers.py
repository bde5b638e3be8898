"""The service's answers as typed values. What a later release adds is passed over; what is missing is an error."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a list. Of similar items, `source` and `reason` are None; of a fallback, whatever was not given."""

    item_id: str
    title: str | None = None
    score: float | None = None
    source: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    version: str
    kind: str


@dataclass(frozen=True, slots=True)
class Run:
    """What a list was made by.

    Attributes:
        variant: that answered; `control` where there is no experiment.
        experiments: the user's variant in each.
    """

    surface: str
    run_date: dt.date
    run_id: str
    model: Model
    variant: str = "control"
    experiments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Degraded:
    """Why this is not the user's own list of the live run.

    Attributes:
        level: the service's: `segment`, `popular`, or `stale` (an older run). The client's own: `remembered` (what the
            service last answered) or `fallback`.
        reason: in a sentence.
    """

    level: str
    reason: str


@dataclass(frozen=True, slots=True)
class Recommendations:
    """A user's list, best first. `run`: None where the service did not answer."""

    user_id: str
    items: tuple[Item, ...]
    run: Run | None
    degraded: Degraded | None = None

    @property
    def item_ids(self) -> list[str]:
        return [item.item_id for item in self.items]


@dataclass(frozen=True, slots=True)
class Similar:
    """Items like another, best first. `run`: None where the service did not answer."""

    item_id: str
    title: str | None
    items: tuple[Item, ...]
    run: Run | None
    degraded: Degraded | None = None

    @property
    def item_ids(self) -> list[str]:
        return [item.item_id for item in self.items]


@dataclass(frozen=True, slots=True)
class Purchase:
    """An item that a user bought: when last, and how often."""

    item_id: str
    title: str | None
    bought_on: dt.date
    times: int


@dataclass(frozen=True, slots=True)
class History:
    """What a user bought as of the run date, the latest first. `run`: that tells of it, not that of an experiment."""

    user_id: str
    items: tuple[Purchase, ...]
    run: Run
    degraded: Degraded | None = None

    @property
    def item_ids(self) -> list[str]:
        return [item.item_id for item in self.items]


class NotAnAnswerError(ValueError):
    """A body that is not what the service answers: a proxy's page, or another service's."""


def recommendations(body: bytes) -> Recommendations:
    """Raises `NotAnAnswerError`."""
    answer = _object(body)
    try:
        return _list_of(answer, _run(answer))
    except (KeyError, TypeError, ValueError) as error:
        raise NotAnAnswerError(f"it is no list: {error!r}") from None


def batch(body: bytes, asked: Sequence[str]) -> list[Recommendations]:
    """The lists of the users that were asked for, in that order, each with its own run where experiments are on.

    Raises `NotAnAnswerError`.
    """
    answer = _object(body)
    try:
        run = _run(answer)
        lists = [_list_of(result, _run(result) if "run_id" in result else run) for result in answer["results"]]
    except (KeyError, TypeError, ValueError) as error:
        raise NotAnAnswerError(f"it is no batch: {error!r}") from None
    if [one.user_id for one in lists] != list(asked):
        raise NotAnAnswerError("its lists are not of the users that were asked for")
    return lists


def similar(body: bytes) -> Similar:
    """Raises `NotAnAnswerError`."""
    answer = _object(body)
    try:
        return Similar(answer["item_id"], answer["title"], _items(answer), _run(answer))
    except (KeyError, TypeError, ValueError) as error:
        raise NotAnAnswerError(f"it is no list of similar items: {error!r}") from None


def history(body: bytes) -> History:
    """Raises `NotAnAnswerError`."""
    answer = _object(body)
    try:
        items = tuple(
            Purchase(one["item_id"], one["title"], dt.date.fromisoformat(one["bought_on"]), one["times"])
            for one in answer["items"]
        )
        return History(answer["user_id"], items, _run(answer), _degraded(answer))
    except (KeyError, TypeError, ValueError) as error:
        raise NotAnAnswerError(f"it is no history: {error!r}") from None


def status(body: bytes) -> dict[str, Any]:
    """Raises `NotAnAnswerError`."""
    return _object(body)


def problem(body: bytes) -> str:
    """The detail of a problem+json (RFC 9457); of anything else its beginning."""
    try:
        return str(_object(body)["detail"])
    except (NotAnAnswerError, KeyError):
        return body[:200].decode(errors="replace").strip()


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        raise NotAnAnswerError(f"it is not JSON: {body[:60]!r}") from None
    if not isinstance(found, dict):
        raise NotAnAnswerError(f"it is no JSON object: {body[:60]!r}")
    return found


def _list_of(answer: dict[str, Any], run: Run) -> Recommendations:
    return Recommendations(answer["user_id"], _items(answer), run, _degraded(answer))


def _degraded(answer: dict[str, Any]) -> Degraded | None:
    degraded = answer.get("degraded")
    return Degraded(degraded["level"], degraded["reason"]) if degraded else None


def _items(answer: dict[str, Any]) -> tuple[Item, ...]:
    return tuple(
        Item(entry["item_id"], entry["title"], entry["score"], entry.get("source"), entry.get("reason"))
        for entry in answer["items"]
    )


def _run(answer: dict[str, Any]) -> Run:
    model = answer["model"]
    return Run(
        answer["surface"],
        dt.date.fromisoformat(answer["run_date"]),
        answer["run_id"],
        Model(model["name"], model["version"], model["kind"]),
        answer.get("variant", "control"),
        answer.get("experiments", {}),
    )
