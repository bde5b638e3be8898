"""Where all state lies."""

from __future__ import annotations

import os
from pathlib import Path

from nightshift.config import Settings


def home_of(settings: Settings) -> Path:
    """The folder that holds all state: `NIGHTSHIFT_HOME`, else `var` beside the configuration."""
    return Path(os.environ.get("NIGHTSHIFT_HOME") or settings.folder / "var").absolute()
