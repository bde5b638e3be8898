"""Which code made a run."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import nightshift


@functools.cache
def code_version() -> str:
    """The release and a hash over the library's and the jobs' source, so that an edit without a commit shows."""
    library = Path(nightshift.__file__).parent
    jobs = library.parents[1] / "jobs"
    digest = hashlib.sha256()
    for folder in (library, jobs):
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.relative_to(folder).as_posix().encode())
            digest.update(file.read_bytes())
    return f"{nightshift.__version__}+{digest.hexdigest()[:12]}"
