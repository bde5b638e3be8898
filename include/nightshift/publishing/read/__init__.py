"""Read what is published: which run is live, its manifest, its lists. No Spark, no pandas, and no server needed.

manifests   which runs there are, and which one is live
fetch       a file of a run on this machine, checked
opened      a run to look users and items up in: what the lookup service answers from
batch       a run for batch readers: one user, many users, all of them as Arrow batches
__main__    the same from a terminal: `python -m nightshift.publishing.read --help`
"""

from nightshift.publishing.read.batch import BatchRun, published_before, read_run, read_table
from nightshift.publishing.read.fetch import cached, fetch, tidy, was_fetched
from nightshift.publishing.read.manifests import (
    CorruptRunError,
    LaterFormatError,
    find_manifest,
    list_manifests,
    live_manifest,
    manifests_between,
    must_be_readable,
    parse_manifest,
    read_manifest,
)
from nightshift.publishing.read.opened import OpenRun, open_run

__all__ = [
    "BatchRun",
    "CorruptRunError",
    "LaterFormatError",
    "OpenRun",
    "cached",
    "fetch",
    "find_manifest",
    "list_manifests",
    "live_manifest",
    "manifests_between",
    "must_be_readable",
    "open_run",
    "parse_manifest",
    "published_before",
    "read_manifest",
    "read_run",
    "read_table",
    "tidy",
    "was_fetched",
]
