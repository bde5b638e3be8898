"""`make clean` removes the state of its own checkout, and nothing else whatever NIGHTSHIFT_HOME says."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of a checkout as it needs, with a space in its name, and others' state beside it."""
    checkout = tmp_path / "my checkout"
    (checkout / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", checkout)
    shutil.copy(ROOT / "scripts" / "environment", checkout / "scripts")
    for home in (checkout / "var", checkout / "other", tmp_path / "my checkout too", tmp_path / "theirs"):
        (home / "lake").mkdir(parents=True)
    (checkout / "linked").symlink_to(tmp_path / "theirs")
    return checkout


def clean(checkout: Path, home: str | None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT", "AIRFLOW"))}
    environment |= {"NIGHTSHIFT_HOME": home} if home else {}
    return subprocess.run(["make", "clean"], cwd=checkout, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(("home", "gone"), [(None, "var"), ("other", "other"), ("{checkout}/other", "other")])
def test_state_inside_the_checkout_is_removed(checkout: Path, home: str | None, gone: str) -> None:
    left = {path.name for path in checkout.iterdir()} - {gone}
    done = clean(checkout, home and home.format(checkout=checkout))
    assert done.returncode == 0, done.stderr
    assert {path.name for path in checkout.iterdir()} == left


@pytest.mark.parametrize("home", ["{checkout}", ".", "..", "{checkout}/..", "{checkout} too", "../theirs", "linked"])
def test_anything_else_is_refused_and_stays(checkout: Path, home: str) -> None:
    before = sorted(checkout.parent.rglob("*"))
    done = clean(checkout, home.format(checkout=checkout))
    assert done.returncode != 0
    assert "is not inside this checkout: remove it by hand" in done.stderr
    left = [path for path in sorted(checkout.parent.rglob("*")) if "airflow" not in path.name]
    assert left == before
