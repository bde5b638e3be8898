"""The one configuration file, typed and checked when it is loaded."""

from nightshift.config.load import ConfigError, load, load_as
from nightshift.config.settings import Settings

__all__ = ["ConfigError", "Settings", "load", "load_as"]
