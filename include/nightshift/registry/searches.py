"""A search in MLflow: one run for the whole, and within it one for each trial."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from nightshift.registry.tracking import Tracking, tracking_uri
from nightshift.runs import Night, StepError, code_version

log = logging.getLogger("nightshift.registry")

STATUS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
ENDED = frozenset({"FINISHED", "KILLED", "FAILED"})


class SearchRuns:
    """The runs of one search: those there are, and those that are added.

    Attributes:
        parent: the id of the run for the whole.
    """

    def __init__(self, night: Night, search: str, params: Mapping[str, Any]) -> None:
        """Find the search's run, or begin it.

        Args:
            search: its name.
            params: what the whole has in common.

        Raises:
            StepError: MLflow cannot be reached. A search whose results nobody can look at is not worth its time.
        """
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        try:
            tracking = Tracking(night)
            self.client, self.experiment = tracking.client, tracking.experiment()
            found = self._runs(f"tags.`nightshift.search` = '{search}'")
            if found:
                self.parent = str(found[0].info.run_id)
                self.client.update_run(self.parent, status="RUNNING")
            else:
                tags = {
                    "nightshift.search": search,
                    "nightshift.run_date": night.run_date.isoformat(),
                    "nightshift.code": code_version(),
                }
                run = self.client.create_run(self.experiment, run_name=f"search {search}", tags=tags)
                self.parent = str(run.info.run_id)
                self.client.log_batch(self.parent, params=[Param(key, str(value)) for key, value in params.items()])
            self._known = self._children()
        except MlflowException as error:
            told = next(iter(str(error).splitlines()), "")
            raise StepError(f"MLflow at {tracking_uri(night)} keeps no results of the search: {told}") from None

    def keep(self, trial: str, state: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Write a trial down, once."""
        if trial in self._known:
            return
        from mlflow.entities import Metric, Param

        tags = {"mlflow.parentRunId": self.parent, "nightshift.trial": trial, "nightshift.state": state}
        run = self.client.create_run(self.experiment, run_name=trial, tags=tags)
        now = int(run.info.start_time)
        self.client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, float(value), now, 0) for name, value in metrics.items()],
            params=[Param(key, str(value)) for key, value in params.items()],
        )
        self.client.set_terminated(run.info.run_id, STATUS[state])
        self._known.add(trial)

    def end(self, metrics: Mapping[str, float], artifacts: Mapping[str, Any]) -> None:
        """What came of the search.

        Args:
            artifacts: file name -> what is written into it as JSON.
        """
        for name, value in metrics.items():
            self.client.log_metric(self.parent, name, value)
        for name, value in artifacts.items():
            text = json.dumps(value, indent=1, sort_keys=True, default=str) + "\n"
            self.client.log_text(self.parent, text, name)
        self.client.set_terminated(self.parent)

    def _children(self) -> set[str]:
        """The trials that are written down whole; what was cut off while it was written is removed."""
        known = set()
        for run in self._runs(f"tags.`mlflow.parentRunId` = '{self.parent}'"):
            if run.info.status in ENDED:
                known.add(run.data.tags["nightshift.trial"])
            else:
                self.client.delete_run(run.info.run_id)
        return known

    def _runs(self, wanted: str) -> list[Any]:
        found: list[Any] = []
        page = None
        while page is None or page.token:
            page = self.client.search_runs([self.experiment], wanted, page_token=page.token if page else None)
            found += page
        return found
