"""A search: which settings are tried, in what order, and for how long. What a trial does is passed in.

One Optuna study a round and stage, all in one file (Optuna's journal), each beginning with the best that was found
before. Optuna's TPE proposes (Watanabe 2023, arXiv:2304.11127); a trial whose steps' means are surely worse than those
of the best one, step for step (Wilcoxon's signed-rank test), ends after its first or second part. What is proposed
follows from the seed and the trials that have ended. So the time decides only how far a search gets: one that was
killed and goes on makes the trials that it would have made.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage
from optuna.trial import FrozenTrial, TrialState

from nightshift.config import Settings
from nightshift.tuning.space import Range, Stage, UselessError, Values, values_of

log = logging.getLogger("nightshift.tuning")

FIRST_BY_CHANCE = 5  # trials of a study
WORSE = 0.05  # a trial ends when the chance that it is no worse than the best one is below this
AT_THE_END = 2  # evaluations' time that is kept for confirming

Parts = Iterator[Mapping[int, np.ndarray]]
"""Of an evaluation: step -> a value a user. All evaluations have the same steps, and the same users in them."""

Evaluate = Callable[[Values], Parts]
"""The metric under these overrides. Raises UselessError where they leave nothing to learn."""

STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclass(frozen=True)
class Trial:
    """What was tried.

    Attributes:
        name: `base`, or round, stage and number: `1/ranker/7`.
        state: complete; pruned, as it was worse or left nothing to learn; failed, as it was cut off.
        overrides: all that differs from the settings that the search began with.
        value: the mean metric over the users; None unless complete.
    """

    name: str
    state: str
    overrides: dict[str, int | float]
    value: float | None
    seconds: float


@dataclass
class Budget:
    """For how long a search may go on.

    Attributes:
        seconds: from now; what is kept for confirming is part of it.
        trials: at most so many that end, besides `base`, those of earlier runs of the search included.
        interrupted: why no further trial is to be started, if so.
    """

    seconds: float
    trials: int | None = None
    interrupted: Callable[[], str | None] = lambda: None
    clock: Callable[[], float] = time.monotonic
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock()

    @property
    def left(self) -> float:
        """Seconds."""
        return self.seconds - (self.clock() - self.started)


@dataclass(frozen=True)
class Found:
    """What a search has come to.

    Attributes:
        trials: all of them, in their order, `base` first.
        stopped: why it went no further.
    """

    trials: tuple[Trial, ...]
    stopped: str

    @property
    def base(self) -> Trial:
        return self.trials[0]

    @property
    def best(self) -> Trial:
        """The first of those with the highest value."""
        complete = [trial for trial in self.trials if trial.value is not None]
        return max(complete, key=lambda trial: trial.value or 0.0)


class Study:
    """The trials of one search, in a file that others share. Whoever has one is alone with the file.

    Args:
        name: of the search: another one if anything has changed that its figures depend on.
        stages: that the settings lie in.
        settings: that the search begins with.
        keep: is told of every trial, and at the start again of those that had been made before.
    """

    def __init__(
        self,
        file: Path,
        name: str,
        stages: Sequence[Stage],
        settings: Settings,
        evaluate: Evaluate,
        keep: Callable[[Trial], None] = lambda trial: None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        file.parent.mkdir(parents=True, exist_ok=True)
        _mend(file)
        self.storage = JournalStorage(JournalFileBackend(str(file), _Alone(str(file))))
        self.name, self.stages, self.settings = name, stages, settings
        self.evaluate, self.keep = evaluate, keep
        self.trials: list[Trial] = []
        self._steps: dict[str, dict[int, float]] = {}

    def others(self, prefix: str) -> list[str]:
        """Other searches in the file whose names begin so."""
        names = {study.study_name.partition(" ")[0] for study in optuna.get_all_study_summaries(self.storage)}
        return sorted(name for name in names - {self.name} if name.startswith(prefix))

    def search(self, budget: Budget) -> Found:
        """Go on from where the search is, until the budget says stop. `base` is evaluated whatever it says."""
        self.trials = []
        for number in itertools.count(1):
            for stage in self.stages:
                study = self._opened(f"{number}/{stage.name}", stage, budget)
                while (ended := len(_ended(study))) < stage.trials:
                    if stopped := self._stopped(budget, stage):
                        return Found(tuple(self.trials), stopped)
                    self._told(study, self._try(study, stage, ended, budget))
        raise AssertionError("the rounds have no end")

    def _opened(self, name: str, stage: Stage, budget: Budget) -> optuna.Study:
        """The study of a round and stage: begun with the best trial so far, or as it was left."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            pruner = optuna.pruners.WilcoxonPruner(p_threshold=WORSE)
        study = optuna.create_study(
            storage=self.storage,
            study_name=f"{self.name} {name}",
            direction="maximize",
            pruner=pruner,
            load_if_exists=True,
        )
        for trial in study.get_trials(deepcopy=False):
            if trial.state == TrialState.RUNNING:
                log.info("search: trial %s/%d was cut off", name, trial.number)
                study.tell(trial.number, state=TrialState.FAIL)
        if not study.get_trials(deepcopy=False):
            study.add_trial(self._anchor(stage, budget))
        for trial in study.get_trials(deepcopy=False)[0 if not self.trials else 1 :]:
            self._told(study, trial)
        return study

    def _anchor(self, stage: Stage, budget: Budget) -> FrozenTrial:
        """The best trial so far, as the first of a study; before there is any, the evaluation of `base`."""
        if self.trials:
            best = Found(tuple(self.trials), "").best
            overrides, value, steps, seconds = best.overrides, best.value, self._steps[best.name], best.seconds
        else:
            started = budget.clock()
            parts = list(self.evaluate({}))
            overrides, value, seconds = {}, _mean(parts), budget.clock() - started
            steps = {step: float(values.mean()) for part in parts for step, values in part.items()}
        held = values_of(self.settings, [each.key for each in stage.ranges]) | overrides
        return optuna.trial.create_trial(
            value=value,
            params={each.key: held[each.key] for each in stage.ranges},
            distributions=self._distributions(stage),
            intermediate_values=steps,
            user_attrs={"overrides": overrides, "seconds": seconds},
        )

    def _try(self, study: optuna.Study, stage: Stage, ended: int, budget: Budget) -> FrozenTrial:
        """One trial, from the proposal to what came of it."""
        seed = zlib.crc32(f"{self.settings.seed} {study.study_name} {ended}".encode())
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=FIRST_BY_CHANCE)
        anchor = study.get_trials(deepcopy=False)[0]
        trial = study.ask(fixed_distributions=self._distributions(stage))
        overrides = anchor.user_attrs["overrides"] | {key: _short(value) for key, value in trial.params.items()}
        trial.set_user_attr("overrides", overrides)
        started = budget.clock()
        value, state = self._evaluated(trial, overrides, len(anchor.intermediate_values), budget)
        trial.set_user_attr("seconds", budget.clock() - started)
        return study.tell(trial, values=value, state=state)

    def _evaluated(
        self, trial: optuna.Trial, overrides: Values, steps: int, budget: Budget
    ) -> tuple[float | None, TrialState]:
        """The value under these overrides; none where the evaluation was broken off before it had all the steps."""
        parts: list[Mapping[int, np.ndarray]] = []
        try:
            for part in self.evaluate(overrides):
                parts.append(part)
                for step, values in part.items():
                    trial.report(float(values.mean()), step)
                if sum(map(len, parts)) == steps:
                    continue
                if budget.left < AT_THE_END * self.trials[0].seconds:
                    return None, TrialState.FAIL
                if trial.should_prune():
                    return None, TrialState.PRUNED
        except UselessError as error:
            log.info("search: %s", error)
            return None, TrialState.PRUNED
        return _mean(parts), TrialState.COMPLETE

    def _stopped(self, budget: Budget, stage: Stage) -> str | None:
        """Why the next trial is not to be started, if so."""
        if why := budget.interrupted():
            return why
        made = sum(trial.state in ("complete", "pruned") for trial in self.trials[1:])
        if budget.trials is not None and made >= budget.trials:
            return f"{made} trials have been made"
        base = self.trials[0].seconds
        complete = [trial for trial in self.trials[1:] if trial.state == "complete"]
        alike = [trial.seconds for trial in complete if trial.name.split("/")[1] == stage.name]
        needed, left = max(alike, default=base), budget.left - AT_THE_END * base
        if needed > left:
            return f"a trial of {stage.name} takes up to {needed:.1f} s, and {max(left, 0):.1f} s are left"
        return None

    def _told(self, study: optuna.Study, frozen: FrozenTrial) -> None:
        part = study.study_name.partition(" ")[2]
        trial = Trial(
            name=f"{part}/{frozen.number}" if self.trials else "base",
            state=STATES[frozen.state],
            overrides=frozen.user_attrs.get("overrides", {}),
            value=frozen.value if frozen.state == TrialState.COMPLETE else None,
            seconds=round(frozen.user_attrs.get("seconds", 0.0), 2),
        )
        self.trials.append(trial)
        self._steps[trial.name] = dict(frozen.intermediate_values)
        shown = "" if trial.value is None else f" {trial.value:.4f}"
        log.info("search: %s: %s%s, %.1f s", trial.name, trial.state, shown, trial.seconds)
        self.keep(trial)

    def _distributions(self, stage: Stage) -> dict[str, BaseDistribution]:
        return {each.key: _distribution(each, self.settings) for each in stage.ranges}


class _Alone(JournalFileOpenLock):
    """No lock: Optuna's own would outlive a process that is killed."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _mend(file: Path) -> None:
    """Take away what a killed process had begun to write: the next line would be lost with it."""
    if file.exists() and not (written := file.read_bytes()).endswith(b"\n"):
        os.truncate(file, written.rfind(b"\n") + 1)


def _distribution(asked: Range, settings: Settings) -> BaseDistribution:
    (value,) = values_of(settings, [asked.key]).values()
    if isinstance(value, int):
        return IntDistribution(math.ceil(asked.low), math.floor(asked.high), log=asked.log)
    return FloatDistribution(asked.low, asked.high, log=asked.log)


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that were made; without the one that it began with, and those that were cut off."""
    trials = study.get_trials(deepcopy=False)[1:]
    return [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]


def _short(value: int | float) -> int | float:
    """Four digits are enough: what is tried is what is written down."""
    return value if isinstance(value, int) else float(f"{value:.4g}")


def _mean(parts: Sequence[Mapping[int, np.ndarray]]) -> float:
    """Over the users of all parts."""
    return float(np.concatenate([values for part in parts for values in part.values()]).mean())
