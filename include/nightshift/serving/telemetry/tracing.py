"""Traces as an option: nothing of OpenTelemetry is imported unless the settings name where they go. See `spans`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightshift.config.settings import Tracing

if TYPE_CHECKING:
    from nightshift.serving.telemetry.spans import Tracer


def tracer_of(settings: Tracing) -> Tracer | None:
    """The tracer that the settings ask for, or None. Call `start` in the process that serves."""
    if settings.endpoint is None:
        return None
    from nightshift.serving.telemetry.spans import Tracer

    return Tracer(settings.endpoint, settings.sample)
