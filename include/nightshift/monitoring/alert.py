"""Tell somebody: a log line always, a webhook where one is configured, and whether to train again."""

from __future__ import annotations

import http.client
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from nightshift.config.settings import Monitoring
from nightshift.monitoring.drift import Finding

log = logging.getLogger("nightshift.monitoring")

NAMED = 10  # findings spelled out in an alert


@dataclass(frozen=True)
class Raised:
    """What became of an alert.

    Attributes:
        alerts: a line for each column that is over the threshold.
        webhook: `sent`, or why it was not; None where none is configured or there was nothing to say.
        retrain: whether a new training run is asked for.
    """

    alerts: tuple[str, ...]
    webhook: str | None
    retrain: bool


def raise_alert(
    findings: Sequence[Finding], settings: Monitoring, run_date: str, report: str, timeout: float = 5.0
) -> Raised:
    """Log the findings that are alerts, post them to the webhook, and say whether to train again.

    A webhook that fails is logged and reported in the result; it never hides the alert and never raises. Events that
    do not come in any more are an alert, but no reason to train on them again.
    """
    over = [finding for finding in findings if finding.verdict == "alert"]
    alerts = tuple(f"{finding.frame}.{finding.column}: {finding.reason}" for finding in over)
    if not alerts:
        return Raised((), None, False)
    retrain = settings.retrain and any(finding.kind != "freshness" for finding in over)
    for line in alerts:
        log.warning("drift alert for %s: %s", run_date, line)
    webhook = None
    if settings.webhook:
        webhook = _post(settings.webhook, _message(alerts, run_date, report, retrain), timeout)
    return Raised(alerts, webhook, retrain)


def _message(alerts: Sequence[str], run_date: str, report: str, retrain: bool) -> dict[str, Any]:
    """`text` is what Slack, Mattermost and Teams show; the rest is for programs."""
    more = [f"and {len(alerts) - NAMED} more"] if len(alerts) > NAMED else []
    text = "\n".join([f"Drift alert for {run_date}", *(f"- {line}" for line in [*alerts[:NAMED], *more]), report])
    return {"text": text, "run_date": run_date, "alerts": list(alerts), "report": report, "retrain": retrain}


def _post(address: str, message: dict[str, Any], timeout: float) -> str:
    body = json.dumps(message).encode()
    host = "the webhook"
    try:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("monitoring.webhook is not an http:// or https:// address")
        host = f"{parts.scheme}://{parts.hostname}"  # the path is often a secret: it is not logged
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="POST")
        with urllib.request.urlopen(request, timeout=timeout):
            return "sent"
    except urllib.error.HTTPError as error:
        error.close()
        problem = f"{host} answered {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        problem = f"{host} could not be reached: {getattr(error, 'reason', None) or error}"
    log.error("the drift alert for %s was not delivered: %s", message["run_date"], problem)
    return f"failed: {problem}"
