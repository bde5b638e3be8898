"""Put a worker's parts together from the settings: storage, followers, metrics, what is plugged in, the application."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import nightshift
from nightshift.config import Settings
from nightshift.config.settings import CURRENT
from nightshift.experiments.assignment import Assigner
from nightshift.experiments.exposures import exposure_log
from nightshift.publishing.storage import Storage, store_of
from nightshift.runs import home_of
from nightshift.serving.app import Application
from nightshift.serving.following.ahead import Ahead
from nightshift.serving.following.channel import Follows
from nightshift.serving.following.follower import Follower
from nightshift.serving.guard import admission
from nightshift.serving.guard.access import access_log_of
from nightshift.serving.guard.request_ids import RequestIds
from nightshift.serving.routes.past import FOLDER, PastRuns
from nightshift.serving.routes.query import Limits
from nightshift.serving.seams import Guard, Seams
from nightshift.serving.service import Service
from nightshift.serving.telemetry.board import Board
from nightshift.serving.telemetry.metrics import Metrics
from nightshift.serving.telemetry.tracing import tracer_of


def guard_of(settings: Settings, board_folder: Path) -> Guard | None:
    """Who is let in; None: everybody. Raises `ConfigError` where the key file cannot be used, and none is kept."""
    return admission.guard_of(settings.serving.guard, settings.folder, settings.serving.workers, board_folder)


def seams_of(settings: Settings, home: Path, board_folder: Path) -> Seams:
    """What is plugged into a worker."""
    declared = settings.experiments
    experiments = [one for _, one in declared.placed()]
    channels = {variant.channel for one in experiments for variant in one.variants} - {CURRENT}
    exposures, access = exposure_log(declared, home), access_log_of(settings.serving.access_log, home)
    tracer = tracer_of(settings.serving.tracing)
    return Seams(
        guard=guard_of(settings, board_folder),
        access=access,
        request_ids=RequestIds() if exposures or access or tracer else None,  # where something is found by them
        experiments=Assigner(declared) if experiments or exposures else None,
        exposures=exposures,
        tracer=tracer,
        channels=tuple(sorted(channels)),
        variants={one.name: [variant.name for variant in one.variants] for one in experiments},
    )


def application(settings: Settings, board_folder: Path, when_up: Callable[[], None] = lambda: None) -> Application:
    """The application as it runs in a worker. `board_folder` is shared by all of them."""
    home, serving = home_of(settings), settings.serving
    surfaces = serving.surfaces or (settings.store.surface,)
    board, seams, storage = Board(board_folder), seams_of(settings, home, board_folder), store_of(settings, home)
    metrics = Metrics(surfaces, board)
    how = Follows(
        ask_seconds=serving.store_seconds,
        stale_seconds=serving.stale_seconds,
        lazy=serving.lazy_shards,
        hold=serving.hold_memory,
        max_age=serving.max_age_seconds,
        form=f"{nightshift.__version__} {settings.lists.size} {settings.lists.similar}",
        ahead=Ahead(settings.store.endpoint, settings.store.deadline_seconds, settings.store.transfers),
    )
    saying = threading.Lock()

    def say() -> None:
        with saying:
            metrics.lost(seams.losses())
            board.say(service.state())

    caches = {surface: home / "serving" / surface for surface in surfaces}
    past = past_runs(storage, caches, how) if serving.past_runs else {}

    def looked(surface: str) -> None:
        say()
        if surface in past:
            past[surface].tidy()

    followers = {
        surface: Follower(
            storage,
            surface,
            cache,
            metrics,
            channels=seams.channels,
            how=how,
            looked=partial(looked, surface),
        )
        for surface, cache in caches.items()
    }
    limits = Limits(settings.lists.size, settings.lists.similar, serving.max_batch)
    service = Service(followers, metrics, limits, seams, serving.gzip_from, board, serving.histories)

    def ring() -> None:
        for follower in followers.values():
            follower.ring()

    board.listen(ring)
    return Application(service, serving.poll_seconds, when_up, past)


def past_runs(storage: Storage, caches: Mapping[str, Path], how: Follows) -> dict[str, PastRuns]:
    """Of every surface, the runs that are not live."""
    return {surface: PastRuns(storage, surface, cache / FOLDER, how) for surface, cache in caches.items()}
