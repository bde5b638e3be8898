"""What the steps of a night import, those that they put off included; of the steps themselves nothing stays loaded."""

import importlib
import os
import sys

from nightshift.runs.steps import STEPS

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # no thread of its own in a process that forks

PUT_OFF = ("mlflow", "great_expectations", "pyspark.sql.connect.session", "pyspark.sql.functions")

for name in (*[f"jobs.{step}" for step in STEPS], *PUT_OFF):
    importlib.import_module(name)
for step in STEPS:
    del sys.modules[f"jobs.{step}"]
