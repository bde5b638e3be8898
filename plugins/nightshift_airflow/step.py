"""The operator that runs one step of a night, wherever the configuration says that it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from nightshift.config import load
from nightshift.runs import GateError, RunDateError, resolve_run_date
from nightshift_airflow.links import NightReportLink
from nightshift_airflow.runners import StepFailed, runner_for

BULKY = ("counts", "staged")  # parts of a summary that the night's folder keeps and XCom need not


class StepOperator(BaseOperator):
    """Run `python -m jobs.<step>` for the run's business day, and return its summary.

    Args:
        step: the job's name; the task's, unless given.
        options: further options of the job; templated. Empty ones are left out.
        dated: whether the job is of a business day; it is then told the run date and the run's id.

    A gate that refuses fails the task at once: trying again with the same input would not help.
    """

    template_fields = ("options",)
    operator_extra_links = (NightReportLink(),)
    ui_color = "#e8eef7"

    def __init__(
        self,
        *,
        step: str | None = None,
        options: Mapping[str, str] | None = None,
        dated: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.step = step or self.task_id
        self.options = dict(options or {})
        self.dated = dated
        self._runner: Any = None

    def execute(self, context: Any) -> dict[str, Any]:
        arguments = self._run_date(context) if self.dated else []
        for name, value in self.options.items():
            if value not in ("", "None"):
                arguments += [f"--{name}", value]
        self._runner = runner_for(load(), self.step)
        try:
            summary = self._runner.run(self.step, arguments, self.log, context)
        except StepFailed as failure:
            if failure.exit_code == GateError.exit_code:
                raise AirflowFailException(str(failure)) from None
            raise AirflowException(str(failure)) from None
        return {key: value for key, value in summary.items() if key not in BULKY}

    def _run_date(self, context: Any) -> list[str]:
        dag_run = context["dag_run"]
        try:
            day = resolve_run_date(context["params"], dag_run.partition_key, dag_run.logical_date)
        except RunDateError as error:
            raise AirflowFailException(str(error)) from None
        return ["--run-date", day.isoformat(), "--run-id", dag_run.run_id]

    def on_kill(self) -> None:
        if self._runner is not None:
            self._runner.kill()
