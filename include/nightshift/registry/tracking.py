"""MLflow: each night's training as a run, and each model worth serving as a version of one registered model.

Registering is idempotent: the same files, of the same night, are the same version.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightshift.registry.promotions import Champion, champion_before
from nightshift.runs import Night, StepError, code_version

log = logging.getLogger("nightshift.registry")

ALIAS = "champion"


@dataclass(frozen=True)
class Registered(Champion):
    """A model version.

    Attributes:
        folder: where its files lie.
        sha256: of the files as they were registered.
    """

    folder: Path
    sha256: str

    @property
    def intact(self) -> bool:
        """Whether the files are those that were registered."""
        return folder_hash(self.folder) == self.sha256


class Tracking:
    """The tracking server that the settings name, else the database in the night's home."""

    def __init__(self, night: Night) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("DO_NOT_TRACK", "true")
        from mlflow import MlflowClient

        logging.getLogger("alembic").setLevel(logging.WARNING)
        self.night = night
        self.settings = night.settings.tracking
        self.home = night.home / "mlflow"
        (self.home / "artifacts").mkdir(parents=True, exist_ok=True)
        self.client = MlflowClient(tracking_uri(night))

    def log_run(
        self,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        curves: Mapping[str, Sequence[Sequence[float]]],
        tables: Mapping[str, int],
        folder: Path,
    ) -> str:
        """Write the night's training down, once for the same files. Returns the run's id."""
        from mlflow.entities import Metric, Param, RunTag

        fingerprint = folder_hash(folder)
        experiment = self.experiment()
        same = f"tags.`nightshift.run_date` = '{self.night.run_date}' and tags.`nightshift.sha256` = '{fingerprint}'"
        finished = [run for run in self.client.search_runs([experiment], same) if run.info.status == "FINISHED"]
        if finished:
            return str(finished[0].info.run_id)
        tags = {
            "nightshift.run_date": self.night.run_date.isoformat(),
            "nightshift.run_id": self.night.run_id,
            "nightshift.sha256": fingerprint,
            "nightshift.code": code_version(),
            **{f"delta.{table}": str(version) for table, version in tables.items()},
        }
        run = self.client.create_run(experiment, run_name=f"{self.night.run_date} {self.night.run_id}")
        run_id = str(run.info.run_id)
        now = int(run.info.start_time)
        points = [Metric(name, float(value), now, 0) for name, value in metrics.items()]
        points += [Metric(name, float(y), now, int(x)) for name, curve in curves.items() for x, y in curve]
        self.client.log_batch(
            run_id,
            metrics=points[:1000],
            params=[Param(key, str(value)) for key, value in params.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        for start in range(1000, len(points), 1000):
            self.client.log_batch(run_id, metrics=points[start : start + 1000])
        self.client.log_artifacts(run_id, str(folder), "model")
        self.client.set_terminated(run_id)
        return run_id

    def register(self, kind: str, folder: Path, run_id: str | None = None) -> Registered:
        """A version of the registered model for these files: the one there is, or a new one.

        A copy of the files is kept under the home, so that a later night needs no server to read it.
        """
        from mlflow.exceptions import MlflowException

        fingerprint = folder_hash(folder)
        kept = self._kept(kind, fingerprint)
        if not kept.exists():
            self._keep(folder, kept)
        name = self.settings.model
        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        for version in self.client.search_model_versions(f"name = '{name}'"):
            if version.tags.get("sha256") == fingerprint and version.tags.get("kind") == kind:
                return Registered(name, str(version.version), kind, kept, fingerprint)
        run_id = run_id or self.log_run({"kind": kind}, {}, {}, {}, folder)
        source = f"{self.client.get_run(run_id).info.artifact_uri}/model"
        tags = {"sha256": fingerprint, "kind": kind, "run_date": self.night.run_date.isoformat()}
        version = self.client.create_model_version(name, source, run_id=run_id, tags=tags)
        log.info("registry: %s version %s (%s)", name, version.version, kind)
        return Registered(name, str(version.version), kind, kept, fingerprint)

    def version(self, version: str) -> Registered:
        """A registered version by its number.

        Raises:
            FileNotFoundError: there is none.
        """
        from mlflow.exceptions import MlflowException

        try:
            found = self.client.get_model_version(self.settings.model, version)
        except MlflowException:
            known = [v.version for v in self.client.search_model_versions(f"name = '{self.settings.model}'")]
            raise FileNotFoundError(f"{self.settings.model} has no version {version!r}; it has {known}") from None
        kind = found.tags.get("kind", "two_stage")
        fingerprint = found.tags["sha256"]
        folder = self._kept(kind, fingerprint)
        if not folder.is_dir():
            log.info("registry: fetching version %s", version)
            self._keep(Path(self.client.download_artifacts(str(found.run_id), "model")), folder)
        return Registered(self.settings.model, str(found.version), kind, folder, fingerprint)

    def _kept(self, kind: str, fingerprint: str) -> Path:
        """Where this home keeps a version's files."""
        return self.home / "models" / f"{kind}-{fingerprint[:16]}"

    def _keep(self, folder: Path, kept: Path) -> None:
        """Copy a version's files to where this home keeps them, whole or not at all."""
        partial = kept.with_suffix(f".{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(folder, partial)
        if kept.exists():
            shutil.rmtree(partial)
        else:
            partial.rename(kept)

    def set_champion(self, champion: Champion) -> None:
        """Let the alias point at a version."""
        self.client.set_registered_model_alias(champion.name, ALIAS, champion.version)

    def experiment(self) -> str:
        """The id of the experiment that all runs are of; made where there is none."""
        found = self.client.get_experiment_by_name(self.settings.experiment)
        if found:
            return str(found.experiment_id)
        location = None if self.settings.uri else (self.home / "artifacts").as_uri()
        return str(self.client.create_experiment(self.settings.experiment, artifact_location=location))


def registered_champion(night: Night) -> Registered | None:
    """The champion that the night found, with its files; None before the first promotion.

    Raises:
        StepError: its files cannot be had. That nobody can look at the champion must not make a challenger one.
    """
    champion = champion_before(night)
    if champion is None:
        return None
    try:
        return Tracking(night).version(champion.version)
    except OSError as error:
        raise StepError(
            f"the champion, version {champion.version}, cannot be had: {error}. Bring its files back, or promote "
            f"another version: python -m jobs.promote --run-date {night.run_date - dt.timedelta(days=1)} --version N"
        ) from error


def tracking_uri(night: Night) -> str:
    return night.settings.tracking.uri or f"sqlite:///{night.home}/mlflow/mlflow.db"


def folder_hash(folder: Path) -> str:
    """A hash over the names and bytes of all files under a folder."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0")
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()
