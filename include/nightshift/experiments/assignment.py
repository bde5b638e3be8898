"""Which variant a user gets: on the path of every request, so one hash and a look-up a layer.

One salted BLAKE2b of the user's id gives 16 lanes of 16 bits, and every layer reads a lane of its own. The lanes of one
such hash are as independent as two hashes would be, so what a user gets in one layer says nothing of another; the salt
keeps it apart from other hashes of the same ids, as that which spreads users over shards.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from struct import Struct

from nightshift.config.settings import CONTROL, CURRENT, GLOBAL, Experiment, Experiments, Layer
from nightshift.experiments.buckets import BUCKETS, buckets_of, hashed_with, held_out
from nightshift.experiments.overrides import Override, parse_override

LANES = 16  # the global holdout's, 0, and one for each layer
HELD = 1  # what a layer says of a bucket that is held out; 0: nobody's; from 2: the number of a seat
KEPT = 4096  # assignments a surface that are made once

Table = Sequence[int]


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """What a user gets on a surface. One object serves all users who get the same.

    Attributes:
        variant: of the experiment that decides on the channel; `control` where none does.
        channel: whose run to answer from.
        variants: experiment -> variant, of every experiment that the user takes part in.
        propensities: experiment -> the probability of that variant, of a user who takes part; not of one that was asked
            for.
        holdouts: layers whose experiments the user is kept out of; `global`: of all.
        overridden: whether a tester asked for it: such an exposure counts nowhere.
        enrolled: whether the user takes part in an experiment, or is one of those who are kept out.
        json: `variants` as a JSON object.
    """

    surface: str
    variant: str = CONTROL
    channel: str = CURRENT
    variants: Mapping[str, str] = field(default_factory=dict)
    propensities: Mapping[str, float] = field(default_factory=dict)
    holdouts: tuple[str, ...] = ()
    overridden: bool = False
    enrolled: bool = False
    json: bytes = b"{}"


class Assigner:
    """The experiments of a configuration, ready to assign.

    It makes a plan of each surface that it is asked for: ask for none that there is not.
    """

    def __init__(self, settings: Experiments) -> None:
        self.settings = settings
        self._begun = hashed_with(settings.salt).copy
        self._buckets = {
            one.name: buckets_of(one, settings.salt) for layer in settings.layers for one in layer.experiments
        }
        self._plans: dict[str, _Plan] = {}

    def assign(self, user_id: str, surface: str, override: Override | None = None) -> Assignment:
        """What the user gets: always the same while the experiments stay as they are."""
        plan = self._plans.get(surface) or self._plan(surface)
        if plan.is_empty:
            return plan.nobody
        digest = self._begun()
        digest.update(user_id.encode())
        code = plan.code(*plan.lanes(digest.digest()))
        found = plan.made.get(code) or plan.make(code)
        return found if override is None else plan.overridden(found, override)

    def override(self, text: str) -> Override:
        """What a tester asks for. Raises `OverrideError`."""
        return parse_override(self.settings, text)

    def _plan(self, surface: str) -> _Plan:
        plan = self._plans[surface] = _Plan(surface, self.settings, self._buckets)
        return plan


@dataclass(frozen=True)
class _Seat:
    """A variant of an experiment that runs on the surface."""

    experiment: Experiment
    variant: str
    channel: str
    propensity: float
    buckets: Sequence[int]


class _Plan:
    """What there is on a surface.

    Attributes:
        lanes: takes a hash apart into a bucket for each layer that has an experiment here, by the order of their lanes.
        code: from these buckets to a number that says what each of the layers has for them.
        made: the assignments by that number.
    """

    def __init__(self, surface: str, settings: Experiments, buckets: Mapping[str, Mapping[str, list[int]]]) -> None:
        self.surface, self.nobody = surface, Assignment(surface)
        here = [layer for layer in settings.layers if any(runs_on(one, surface) for one in layer.experiments)]
        self.is_empty = not here
        used = {layer.lane: layer for layer in here}
        if here and settings.holdout:
            used[0] = Layer(name=GLOBAL, lane=1, holdout=settings.holdout)
        self._layers = [used[lane] for lane in sorted(used)]
        self._seats = [_seats(layer, surface, buckets) for layer in self._layers]
        tables, radix = [], 1
        for layer, seats in zip(self._layers, self._seats, strict=True):
            tables.append(_table(layer, seats, radix))
            radix *= HELD + 1 + len(seats)
        self.code = _adding(tables)
        self.lanes = Struct("<" + "".join("H" if lane in used else "2x" for lane in range(LANES))).unpack
        self.made: dict[int, Assignment] = {}

    def make(self, code: int) -> Assignment:
        """The assignment that a code stands for."""
        seats: list[_Seat] = []
        held: list[str] = []
        rest = code
        for layer, of in zip(self._layers, self._seats, strict=True):
            rest, number = divmod(rest, HELD + 1 + len(of))
            held += [layer.name] if number == HELD else []
            seats += of[number - HELD - 1 : number - HELD] if number > HELD else []
        if GLOBAL in held:
            found = _assignment(self.surface, [], (GLOBAL,))
        else:
            found = _assignment(self.surface, seats, tuple(held))
        if len(self.made) < KEPT:
            self.made[code] = found
        return found

    def overridden(self, found: Assignment, override: Override) -> Assignment:
        """The assignment with the variants asked for, as far as they run here, in the place of their layers' own."""
        seats: list[_Seat] = []
        asked: set[str] = set()
        for of in self._seats:
            mine = [seat for seat in of if override.variants.get(seat.experiment.name) == seat.variant]
            asked |= {seat.experiment.name for seat in mine}
            seats += mine or [seat for seat in of if found.variants.get(seat.experiment.name) == seat.variant]
        return _assignment(self.surface, seats, (), asked) if asked else found


def runs_on(experiment: Experiment, surface: str) -> bool:
    return not experiment.surfaces or surface in experiment.surfaces


def _seats(layer: Layer, surface: str, buckets: Mapping[str, Mapping[str, list[int]]]) -> list[_Seat]:
    seats = []
    for experiment in (one for one in layer.experiments if runs_on(one, surface)):
        taken = buckets[experiment.name]
        total = max(1, sum(map(len, taken.values())))
        for variant in experiment.variants:
            mine = taken[variant.name]
            seats.append(_Seat(experiment, variant.name, variant.channel, len(mine) / total, mine))
    return seats


def _table(layer: Layer, seats: Sequence[_Seat], radix: int) -> Table:
    """What the layer says of each bucket, times `radix`: sums of several layers' can be taken apart again.

    It is looked up at random, so it is as small as it can be: an eighth of a list's memory where bytes hold it.
    """
    table = [0] * BUCKETS
    for number, taken in enumerate([held_out(layer), *(seat.buckets for seat in seats)], start=HELD):
        for bucket in taken:
            table[bucket] = number * radix
    return bytes(table) if max(table) < 256 else table


def _adding(tables: Sequence[Table]) -> Callable[..., int]:
    """The sum over the tables. A loop over two of them would take as long as the hash."""
    match tables:
        case [first]:
            return lambda a: first[a]
        case [first, second]:
            return lambda a, b: first[a] + second[b]
        case [first, second, third]:
            return lambda a, b, c: first[a] + second[b] + third[c]
        case [first, second, third, fourth]:
            return lambda a, b, c, d: first[a] + second[b] + third[c] + fourth[d]
        case []:
            return lambda: 0
    four, rest = _adding(tables[:4]), _adding(tables[4:])
    return lambda a, b, c, d, *others: four(a, b, c, d) + rest(*others)


def _assignment(surface: str, seats: list[_Seat], held: tuple[str, ...], asked: set[str] | None = None) -> Assignment:
    asked = asked or set()
    decides = next((seat for seat in seats if seat.experiment.decides), None)
    variants = {seat.experiment.name: seat.variant for seat in seats}
    return Assignment(
        surface,
        decides.variant if decides else CONTROL,
        decides.channel if decides else CURRENT,
        variants,
        {seat.experiment.name: seat.propensity for seat in seats if seat.experiment.name not in asked},
        held,
        bool(asked),
        bool(variants or held),
        json.dumps(variants, separators=(",", ":")).encode(),
    )
