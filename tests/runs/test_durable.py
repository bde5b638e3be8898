"""A folder that is made is a name in the one above it, and that is flushed: once, when it is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightshift.runs.durable import make_folder


def test_each_new_folder_is_on_the_disk_as_a_name_in_the_one_above(tmp_path: Path, flushed: list[int]) -> None:
    (tmp_path / "there").mkdir()
    make_folder(tmp_path / "there/runs/night")
    assert flushed == [(tmp_path / name).stat().st_ino for name in ("there", "there/runs")]
    make_folder(tmp_path / "there/runs/night")
    assert len(flushed) == 2


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "file/below"):
        with pytest.raises(FileExistsError):
            make_folder(tmp_path / name)
