"""The one configuration file, typed and checked when it is loaded."""

from nightshift.config.load import ConfigError, load
from nightshift.config.settings import Settings

__all__ = ["ConfigError", "Settings", "load"]
